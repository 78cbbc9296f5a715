//! `RunTask`, `StopTask` and `CountTasks`.

use std::time::Duration;

use fdi_simulator::{LastRun, NewTasks, Operation, TaskMode, TaskType, TerminateIdle};
use serde_json::json;

use crate::caller::Caller;

fn last_run(caller: &Caller) -> LastRun {
    caller.instance.tasks()[0].last_run
}

#[test]
fn run_task_answers_an_empty_body_and_runs_once_without_touching_the_switch() {
    let caller = Caller::new();
    let id = caller.instance.create_tasks(1).remove(0);
    caller.instance.set_policies(|policies| policies.run_ms = 3_000);
    let path = format!("/tasks/{id}/run");
    let reply = caller.reply("POST", &Caller::path(&path), "");
    assert_eq!((reply.response.status().as_u16(), reply.response.body().len()), (200, 0));
    let task = caller.instance.task(&id).unwrap();
    assert_eq!((task.running, task.last_run), (false, LastRun::Running));
    caller.sim.clock().advance(Duration::from_secs(3));
    assert_eq!(last_run(&caller), LastRun::Success);
    let call = caller.instance.calls().remove(0);
    assert_eq!((call.operation, call.ids.len(), call.applied.len()), (Operation::Run, 1, 1));
}

#[test]
fn a_run_while_another_is_executing_is_rejected_in_the_log_only() {
    let caller = Caller::new();
    let id = caller.instance.create_tasks(1).remove(0);
    caller.instance.record_run(&id, LastRun::Running, None).unwrap();
    assert_eq!(caller.post(&format!("/tasks/{id}/run")).status, 200);
    assert_eq!(last_run(&caller), LastRun::Running);
    let codes: Vec<u16> = caller.instance.runs(&id).unwrap().iter().map(|run| run.code).collect();
    assert_eq!(codes, [102, 914]);
}

#[test]
fn run_task_refuses_real_time_and_unknown_tasks() {
    let caller = Caller::new();
    let new = NewTasks { ids: vec!["r".into()], task_type: TaskType::Realtime, ..NewTasks::default() };
    caller.instance.create(&new);
    caller.post("/tasks/r/run").is_error(400, "FDI.3026", "Failed to manually start the task.");
    for call in ["run", "terminate"] {
        caller.post(&format!("/tasks/x/{call}")).is_error(404, "FDI.3081", "The task does not exist.");
    }
}

#[test]
fn stop_task_cancels_the_run_that_is_executing_and_leaves_the_switch() {
    let caller = Caller::new();
    let new = NewTasks { ids: vec!["a".into()], running: true, last_run: LastRun::Running, ..NewTasks::default() };
    caller.instance.create(&new);
    let answer = caller.post("/tasks/a/terminate");
    assert_eq!((answer.status, answer.body), (200, json!({"message": "success"})));
    let task = caller.instance.task("a").unwrap();
    assert_eq!((task.running, task.last_run), (true, LastRun::Cancelled));
    assert_eq!(caller.post("/tasks/a/terminate").status, 200, "nothing is executing any more");
    caller.instance.set_policies(|policies| policies.terminate_idle = TerminateIdle::Fdi3027);
    caller.post("/tasks/a/terminate").is_error(400, "FDI.3027", "Failed to manually stop the task.");
    let applied: Vec<usize> = caller.instance.calls().iter().map(|call| call.applied.len()).collect();
    assert_eq!(applied, [1, 0, 0]);
    assert!(caller.instance.calls().iter().all(|call| call.operation == Operation::Terminate));
}

#[test]
fn a_stopped_task_may_go_on_with_its_run_until_that_is_cancelled() {
    let caller = Caller::new();
    let new = NewTasks { ids: vec!["a".into()], running: true, last_run: LastRun::Running, ..NewTasks::default() };
    caller.instance.create(&new);
    caller.instance.set_policies(|policies| policies.stop_cancels_run = false);
    assert_eq!(caller.batch("stop", &["a"]).status, 200);
    let entry = caller.get("/tasks").body["entities"][0].clone();
    assert_eq!((&entry["status"], &entry["execute_status"]), (&json!(0), &json!("RUNNING")));
    caller.post("/tasks/a/terminate");
    assert_eq!(caller.get("/tasks").body["entities"][0]["execute_status"], "CANCELLED");
}

#[test]
fn tasks_are_counted_by_state_common_and_composite_ones_apart() {
    let caller = Caller::new();
    let base = NewTasks::default();
    for (running, last_run, mode) in [
        (true, LastRun::Waiting, TaskMode::Normal),
        (true, LastRun::Error, TaskMode::Flow),
        (false, LastRun::Success, TaskMode::Normal),
        (false, LastRun::Cancelled, TaskMode::Normal),
        (false, LastRun::Unstarted, TaskMode::Normal),
        (true, LastRun::Running, TaskMode::Cdc),
    ] {
        caller.instance.create(&NewTasks { running, last_run, mode, ..base.clone() });
    }
    let details = |running: u32, abnormal: u32, terminated: u32, completed: u32| {
        json!({
            "running_tasks_count": running, "abnormal_tasks_count": abnormal,
            "terminated_tasks_count": terminated, "completed_tasks_count": completed,
        })
    };
    let answer = caller.get("/statistics/tasks");
    let wanted = json!({"common_task_details": details(1, 1, 2, 1), "cdc_task_details": details(1, 0, 0, 0)});
    assert_eq!((answer.status, answer.body), (200, wanted));
}
