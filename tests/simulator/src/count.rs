//! `CountTasks`: how many tasks are in which state.

use serde_json::{Value, json};

use crate::task::{LastRun, Task, TaskMode};

/// The four figures, of common and of composite tasks. The rules are not documented: here a failed
/// run comes first, then the switch, then a successful run.
pub(crate) fn count_answer(tasks: &[Task]) -> Value {
    let details = |composite: bool| {
        let [mut running, mut abnormal, mut terminated, mut completed] = [0; 4];
        for task in tasks.iter().filter(|task| (task.mode == TaskMode::Cdc) == composite) {
            *match (task.last_run, task.running) {
                (LastRun::Error, _) => &mut abnormal,
                (_, true) => &mut running,
                (LastRun::Success, false) => &mut completed,
                (_, false) => &mut terminated,
            } += 1;
        }
        json!({
            "running_tasks_count": running,
            "abnormal_tasks_count": abnormal,
            "terminated_tasks_count": terminated,
            "completed_tasks_count": completed,
        })
    };
    json!({"common_task_details": details(false), "cdc_task_details": details(true)})
}
