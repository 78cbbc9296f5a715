//! Tasks and their runs.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instances::{At, existing};
use super::{Answer, done};
use crate::handle::Handle;
use crate::task::{LastRun, Manner, NewTasks, Task, TaskRun};

pub(super) fn router() -> Router<Handle> {
    Router::new()
        .route("/instances/{project}/{instance}/tasks", get(tasks).post(create_tasks))
        .route("/instances/{project}/{instance}/tasks/{task}", get(task).patch(change_task).delete(delete_task))
        .route("/instances/{project}/{instance}/tasks/{task}/runs", get(runs).post(record_run))
        .route("/instances/{project}/{instance}/tasks/{task}/failing-runs", put(fail_runs).delete(recover_runs))
}

/// Project ID, instance ID and task ID.
type AtTask = Path<(String, String, String)>;

async fn tasks(State(sim): State<Handle>, Path((project, instance)): At) -> Answer<Vec<Task>> {
    Ok(Json(existing(&sim, &project, &instance)?.tasks()))
}

async fn create_tasks(
    State(sim): State<Handle>,
    Path((project, instance)): At,
    Json(new): Json<NewTasks>,
) -> Json<Value> {
    Json(json!({"task_ids": sim.instance(&project, &instance).create(&new)}))
}

async fn task(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Answer<Task> {
    Ok(Json(existing(&sim, &project, &instance)?.task(&task)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskChange {
    running: Option<bool>,
    last_run: Option<LastRun>,
    name: Option<String>,
    manners: Option<Vec<Manner>>,
}

async fn change_task(
    State(sim): State<Handle>,
    Path((project, instance, task)): AtTask,
    Json(change): Json<TaskChange>,
) -> Answer<Task> {
    let instance = existing(&sim, &project, &instance)?;
    if let Some(running) = change.running {
        instance.set_running(&task, running)?;
    }
    if let Some(last_run) = change.last_run {
        instance.set_last_run(&task, last_run)?;
    }
    if let Some(name) = change.name {
        instance.rename_task(&task, &name)?;
    }
    if let Some(manners) = change.manners {
        instance.set_manners(&task, manners)?;
    }
    Ok(Json(instance.task(&task)?))
}

async fn delete_task(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Answer {
    existing(&sim, &project, &instance)?.delete_task(&task)?;
    Ok(done())
}

async fn runs(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Answer<Vec<TaskRun>> {
    Ok(Json(existing(&sim, &project, &instance)?.runs(&task)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRun {
    execute_status: LastRun,
    code: Option<u16>,
}

async fn record_run(
    State(sim): State<Handle>,
    Path((project, instance, task)): AtTask,
    Json(run): Json<NewRun>,
) -> Answer<Vec<TaskRun>> {
    let instance = existing(&sim, &project, &instance)?;
    instance.record_run(&task, run.execute_status, run.code)?;
    Ok(Json(instance.runs(&task)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailingRuns {
    code: u16,
    every_ms: Option<u64>,
}

async fn fail_runs(
    State(sim): State<Handle>,
    Path((project, instance, task)): AtTask,
    Json(failing): Json<FailingRuns>,
) -> Answer<Task> {
    let instance = existing(&sim, &project, &instance)?;
    instance.fail_runs(&task, failing.code, failing.every_ms.map(Duration::from_millis))?;
    Ok(Json(instance.task(&task)?))
}

async fn recover_runs(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Answer<Task> {
    let instance = existing(&sim, &project, &instance)?;
    instance.recover_runs(&task)?;
    Ok(Json(instance.task(&task)?))
}
