//! Which tasks are on their way to the desired state, and which are not in it while nothing is
//! sent.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::bounded;
use super::facts::{Facts, TASK_NAME_MAX};
use crate::crd::{DeviatingTask, PendingTask, pending_reasons, whole_seconds};
use crate::fdi::TaskId;
use crate::fdi::text::truncate;
use crate::reconcile::ledger::phase::{PendingReason, Phase};
use crate::reconcile::selection::NameProblem;

/// Most tasks of either list.
const TASKS_MAX: usize = 20;
/// Most bytes of JSON for either list. Only one of them is there at a time.
const BYTES_MAX: usize = 6 * 1024;

/// The tasks that are pending, those that need it longest first.
pub(super) fn pending(facts: &Facts<'_, '_>) -> Vec<PendingTask> {
    if facts.suspended() || facts.tally.pending() == 0 || facts.state.observation.list().is_none() {
        return Vec::new();
    }
    let action = facts.group.run_state.action().as_str();
    let stored = |id: &TaskId| {
        let same = |task: &&PendingTask| task.task_id == id.as_str() && task.action == action;
        facts.group.status.pending.iter().find(same).map(|task| task.since.0)
    };
    let mut tasks: Vec<(Timestamp, &str, String, PendingReason)> = Vec::new();
    for (id, assessment) in &facts.assessments {
        if let Phase::Pending(reason) = assessment.phase {
            tasks.push((since(facts, id, stored(id)), id.as_str(), facts.task_name(id), reason));
        }
    }
    for (name, assessment) in &facts.names {
        if let (Phase::Pending(reason), NameProblem::NotFound(missing)) = (assessment.phase, &name.problem) {
            tasks.push((whole_seconds(missing.since), "", truncate(&name.name, TASK_NAME_MAX), reason));
        }
    }
    tasks.sort_unstable_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
    let tasks = tasks.into_iter().map(|(since, id, name, reason)| PendingTask {
        task_id: id.to_owned(),
        task_name: name,
        action: action.to_owned(),
        since: Time(since),
        reason: word(reason).to_owned(),
    });
    bounded::first(tasks, TASKS_MAX, BYTES_MAX)
}

/// The tasks that are not in the desired state while the group or its instance is suspended.
pub(super) fn deviating(facts: &Facts<'_, '_>) -> Vec<DeviatingTask> {
    if !facts.suspended() {
        return Vec::new();
    }
    let action = facts.group.run_state.action().as_str();
    let stored = |id: &TaskId| {
        let same = |task: &&DeviatingTask| task.task_id == id.as_str() && task.action == action;
        facts.group.status.deviating.iter().find(same).map(|task| task.since.0)
    };
    let deviates =
        |id: &&TaskId| facts.task(id).is_some_and(|task| task.state == Some(facts.group.run_state.opposite()));
    let deviating = facts.group.owned.iter().filter(deviates);
    let mut tasks: Vec<(Timestamp, &TaskId)> = deviating.map(|id| (since(facts, id, stored(id)), id)).collect();
    tasks.sort_unstable();
    let tasks = tasks.into_iter().map(|(since, id)| DeviatingTask {
        task_id: id.as_str().to_owned(),
        task_name: facts.task_name(id),
        action: action.to_owned(),
        since: Time(since),
    });
    bounded::first(tasks, TASKS_MAX, BYTES_MAX)
}

/// What was reported stays, so that a status changes only when something else does.
fn since(facts: &Facts<'_, '_>, id: &TaskId, stored: Option<Timestamp>) -> Timestamp {
    let ledger = &facts.state.ledger;
    let edited = || ledger.pending_edits(&facts.group.uid).map(|edits| edits.first);
    let known = || ledger.missing_since(id).or_else(|| ledger.due_since(id)).or_else(edited);
    stored.unwrap_or_else(|| whole_seconds(known().unwrap_or(facts.now)))
}

fn word(reason: PendingReason) -> &'static str {
    match reason {
        PendingReason::Observation => pending_reasons::LIST_DUE,
        // One word, so that calls which fail again and again change no status.
        PendingReason::Call | PendingReason::Confirmation => pending_reasons::CALL_DUE,
        PendingReason::Settling => pending_reasons::SETTLING,
        PendingReason::OpposingCall => pending_reasons::OPPOSING_CALL,
        PendingReason::Retry => pending_reasons::RETRY_DUE,
        PendingReason::Listing => pending_reasons::NOT_LISTED,
        PendingReason::UnknownState => pending_reasons::STATE_UNKNOWN,
    }
}
