//! How the runs of a group's tasks go: a condition beside Ready, which it never decides, the tasks
//! that fail, and the events when that changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::bounded;
use super::facts::Facts;
use super::ready::{NOT_LISTED, TASKS_NAMED};
use super::row::Row;
use crate::crd::{
    Condition, ConditionStatus, FailedRun, condition_types, event_actions, event_reasons, messages, reasons,
};
use crate::fdi::text::listed;
use crate::fdi::{RunState, TaskId};
use crate::k8s::events::EventType;
use crate::k8s::status_writer::update::StatusEvent;

/// Most failed runs in a status.
const FAILED_RUNS_MAX: usize = 50;
/// Most bytes of JSON for them.
const BYTES_MAX: usize = 16 * 1024;

/// Whether the runs of the tasks that are on succeed, as far as the tasks are observed at all.
pub(super) fn condition(facts: &Facts<'_, '_>, row: &Row) -> Condition {
    use ConditionStatus::{False, True, Unknown};
    let tally = &facts.tally;
    let (status, reason, message) = if row.ready == Unknown {
        (Unknown, row.reason, format!("how the runs go is not known: {}", row.message))
    } else if facts.state.observation.list().is_none() {
        (Unknown, reasons::NOT_OBSERVED, NOT_LISTED.to_owned())
    } else if tally.failing > 0 {
        let names = facts.failing.iter().map(|(_, id)| name(facts, id));
        let message = format!(
            "the latest run of {} of {} tasks ended in ERROR ({}): status.failedRuns says since when, and why where \
             the service says so; see their runs in ROMA Connect",
            tally.failing,
            facts.group.owned.len(),
            listed(names, TASKS_NAMED)
        );
        (False, reasons::RUNS_FAILED, message)
    } else if tally.on == 0 {
        (Unknown, reasons::NO_RUNS_YET, "no task of the group is on, so none runs".to_owned())
    } else if facts.state.ledger.has_run(&facts.group.uid) {
        (True, reasons::RUNS_SUCCEEDING, messages::RUNS_SUCCEEDING.to_owned())
    } else {
        (Unknown, reasons::NO_RUNS_YET, messages::NO_RUNS_YET.to_owned())
    };
    Condition::new(condition_types::RUNS_HEALTHY, status, reason, &message)
}

/// The failed runs to show, those that have failed longest first.
pub(super) fn list(facts: &Facts<'_, '_>) -> Vec<FailedRun> {
    let runs = facts.failing.iter().map(|&(since, id)| FailedRun {
        task_id: id.as_str().to_owned(),
        task_name: facts.task_name(id),
        since: Time(since),
        cause: facts.state.ledger.failed_run(id).and_then(|run| run.cause().map(str::to_owned)),
    });
    bounded::first(runs, FAILED_RUNS_MAX, BYTES_MAX)
}

/// What changed since the stored status: tasks that fail now, and tasks whose runs succeed again.
pub(super) fn events(facts: &Facts<'_, '_>) -> Vec<StatusEvent> {
    let before = &facts.group.status;
    let reported = usize::try_from(before.tasks.unwrap_or_default().failing).unwrap_or(0);
    if reported == 0 && facts.tally.failing == 0 {
        return Vec::new();
    }
    let event = |kind, reason, message| StatusEvent { kind, reason, action: event_actions::OBSERVE, message };
    let known = |id: &TaskId| before.failed_runs.iter().any(|run| run.task_id == id.as_str());
    let mut events = Vec::new();
    // Where the status could not name all of them, nobody knows which ones are new.
    if reported == before.failed_runs.len() {
        let new: Vec<&str> = facts.failing.iter().filter(|(_, id)| !known(id)).map(|(_, id)| name(facts, id)).collect();
        if !new.is_empty() {
            let message = format!("the latest run of {} tasks ended in ERROR: {}", new.len(), listed(new, TASKS_NAMED));
            events.push(event(EventType::Warning, event_reasons::RUNS_FAILED, message));
        }
    }
    let recovered = |id: &&TaskId| {
        let on = facts.task(id).is_some_and(|task| task.state == Some(RunState::Running));
        on && known(id) && facts.state.ledger.failed_run(id).is_none()
    };
    let recovered: Vec<&str> = facts.group.owned.iter().filter(recovered).map(|id| name(facts, id)).collect();
    if !recovered.is_empty() {
        let message = format!("{} tasks run without errors again: {}", recovered.len(), listed(recovered, TASKS_NAMED));
        events.push(event(EventType::Normal, event_reasons::RUNS_RECOVERED, message));
    }
    events
}

/// As people know the task: its name, or else its ID.
fn name<'m>(facts: &Facts<'_, 'm>, id: &'m TaskId) -> &'m str {
    facts.task(id).map(|task| &*task.name).filter(|name| !name.is_empty()).unwrap_or(id.as_str())
}
