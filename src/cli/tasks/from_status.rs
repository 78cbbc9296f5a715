//! What the status of a group says about its tasks, without asking FDI.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::Row;
use crate::crd::{DesiredState, FdiTaskGroup};
use crate::fdi::{Action, RunState};

/// The tasks that the group lists by ID, and those that its status names.
pub fn rows(group: &FdiTaskGroup) -> Vec<Row> {
    let status = group.status.clone().unwrap_or_default();
    let row = |id: &str, name: &str| Row {
        id: id.to_owned(),
        name: name.to_owned(),
        group: Some(group.name_any()),
        ..Row::default()
    };
    // By ID, or by name where the service lists no such task.
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let key = |id: &str, name: &str| (id.to_owned(), if id.is_empty() { name.to_owned() } else { String::new() });
    let settled = settled(group).map(|state| state.to_string());
    for id in &group.spec.task_ids {
        rows.insert(key(id, ""), Row { state: settled.clone(), ..row(id, "") });
    }
    let waiting = status.pending.iter().map(|task| (&task.task_id, &task.task_name, &task.action));
    let failed = status.failures.iter().map(|task| (&task.task_id, &task.task_name, &task.action));
    let deviating = status.deviating.iter().map(|task| (&task.task_id, &task.task_name, &task.action));
    for (id, name, action) in waiting.chain(failed).chain(deviating) {
        // A call that is due says in which state the task is not yet.
        let state = Action::parse(action).filter(|_| !id.is_empty()).map(|action| action.target().opposite());
        rows.insert(key(id, name), Row { state: state.map(|state| state.to_string()), ..row(id, name) });
    }
    for run in &status.failed_runs {
        let known = rows.entry(key(&run.task_id, &run.task_name)).or_insert_with(|| row(&run.task_id, &run.task_name));
        known.name.clone_from(&run.task_name);
        (known.failing, known.last_run) = (true, Some("ERROR"));
        known.state = Some(RunState::Running.to_string());
    }
    rows.into_values().collect()
}

/// The state of every task of a group whose status says that all have it.
fn settled(group: &FdiTaskGroup) -> Option<RunState> {
    let status = group.status.as_ref()?;
    let tasks = status.tasks?;
    let current = Some(status.observed_generation) == group.metadata.generation;
    (current && tasks.ready == tasks.total).then(|| DesiredState::into(status.desired_state.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(status: &serde_json::Value) -> FdiTaskGroup {
        serde_json::from_value(json!({"metadata": {"name": "orders", "generation": 1}, "status": status,
            "spec": {"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ["t1", "t2"]}}))
        .unwrap()
    }

    fn states(group: &FdiTaskGroup) -> Vec<(String, Option<String>, bool)> {
        rows(group).into_iter().map(|row| (row.id, row.state, row.failing)).collect()
    }

    #[test]
    fn tasks_of_a_ready_group_are_in_the_desired_state_and_others_unknown() {
        let running = |id: &str, failing| (id.to_owned(), Some("Running".to_owned()), failing);
        let ready = json!({"observedGeneration": 1, "desiredState": "Running", "tasks": {"total": 2, "ready": 2},
            "failedRuns": [{"taskId": "t2", "taskName": "two", "since": "2026-11-26T07:00:00Z"}]});
        assert_eq!(states(&group(&ready)), [running("t1", false), running("t2", true)]);
        let mut older = ready;
        older["observedGeneration"] = json!(0);
        assert_eq!(states(&group(&older))[0], ("t1".to_owned(), None, false));
    }

    #[test]
    fn a_task_that_is_to_be_started_is_stopped_and_a_name_without_task_has_no_state() {
        let status = json!({"observedGeneration": 1, "desiredState": "Running", "tasks": {"total": 3, "ready": 1},
            "pending": [{"taskId": "t1", "action": "start", "since": "2026-11-26T07:00:00Z", "reason": "CallDue"}],
            "failures": [{"taskId": "", "taskName": "gone", "action": "start", "code": "TaskNotFound",
                "message": "", "attempts": 1}]});
        let expected = [("", None), ("t1", Some("Stopped")), ("t2", None)];
        let expected = expected.map(|(id, state)| (id.to_owned(), state.map(str::to_owned), false));
        assert_eq!(states(&group(&status)), expected);
    }
}
