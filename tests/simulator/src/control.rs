//! The control API `/_sim/…`: the methods of [`Handle`] over HTTP, in JSON. Described in the crate's README.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::handle::Handle;
use crate::instance::{InstanceHandle, UnknownTask};
use crate::log::{Entry, Filter};
use crate::policy::Policies;
use crate::sign_in::{AccessKey, User};
use crate::task::{LastRun, Manner, NewTasks, Task};
use crate::wire::Refusal;

/// Why a control request is not done.
pub(crate) enum Wrong {
    NotFound(String),
    Invalid(String),
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NotFound(message) => (StatusCode::NOT_FOUND, message),
            Self::Invalid(message) => (StatusCode::BAD_REQUEST, message),
        };
        (status, Json(json!({"error": message}))).into_response()
    }
}

impl From<UnknownTask> for Wrong {
    fn from(unknown: UnknownTask) -> Self {
        Self::NotFound(unknown.to_string())
    }
}

pub(crate) type Done = Result<Json<Value>, Wrong>;

fn done() -> Json<Value> {
    Json(json!({}))
}

pub(crate) fn router() -> Router<Handle> {
    Router::new()
        .route("/", get(overview))
        .route("/projects/{project}", put(set_project))
        .route("/instances/{project}/{instance}", put(set_instance).delete(delete_instance))
        .route("/instances/{project}/{instance}/tasks", get(tasks).post(create_tasks))
        .route("/instances/{project}/{instance}/tasks/{task}", patch(change_task).delete(delete_task).get(task))
        .route("/instances/{project}/{instance}/policies", get(instance_policies).patch(set_instance_policies))
        .route("/instances/{project}/{instance}/refusal", put(refuse_batches).delete(accept_batches))
        .route("/policies", get(policies).patch(set_policies))
        .route("/faults", get(faults).post(set_fault).delete(clear_faults))
        .route("/faults/{id}", delete(clear_fault))
        .route("/connections", put(connections))
        .route("/tokens", post(set_token))
        .route("/tokens/revoke", post(revoke_token))
        .route("/tokens/expire", post(expire_token))
        .route("/keys/{access}", put(set_key).delete(remove_key))
        .route("/users", put(set_user))
        .route("/users/{domain}/{name}", delete(remove_user))
        .route("/clock", get(clock))
        .route("/calls", get(calls))
        .route("/counts", get(counts))
        .fallback(|| async { Wrong::NotFound("the control API has no such path or method".into()) })
        .method_not_allowed_fallback(|| async { Wrong::NotFound("the control API has no such path or method".into()) })
}

pub(crate) async fn overview(State(sim): State<Handle>) -> Done {
    let instances: Vec<Value> = sim
        .instances()
        .iter()
        .filter_map(|(project, instance)| {
            let tasks = sim.find_instance(project, instance)?.tasks();
            let running = tasks.iter().filter(|task| task.running).count();
            Some(json!({"project": project, "instance": instance, "tasks": tasks.len(), "running": running}))
        })
        .collect();
    let projects: Vec<Value> = sim.projects().iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    Ok(Json(json!({
        "instances": instances, "projects": projects, "calls": sim.last_seq(), "faults": sim.faults().len(),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

async fn set_project(State(sim): State<Handle>, Path(project): Path<String>, Json(name): Json<Name>) -> Done {
    sim.set_project(&project, &name.name);
    Ok(done())
}

type At = Path<(String, String)>;
type AtTask = Path<(String, String, String)>;

fn known(sim: &Handle, project: &str, instance: &str) -> Result<InstanceHandle, Wrong> {
    sim.find_instance(project, instance)
        .ok_or_else(|| Wrong::NotFound(format!("there is no simulated instance {instance} in project {project}")))
}

async fn set_instance(State(sim): State<Handle>, Path((project, instance)): At) -> Done {
    sim.instance(&project, &instance);
    Ok(done())
}

async fn delete_instance(State(sim): State<Handle>, Path((project, instance)): At) -> Done {
    known(&sim, &project, &instance)?;
    sim.delete_instance(&project, &instance);
    Ok(done())
}

async fn tasks(State(sim): State<Handle>, Path((project, instance)): At) -> Result<Json<Vec<Task>>, Wrong> {
    Ok(Json(known(&sim, &project, &instance)?.tasks()))
}

async fn create_tasks(State(sim): State<Handle>, Path((project, instance)): At, Json(new): Json<NewTasks>) -> Done {
    Ok(Json(json!({"task_ids": sim.instance(&project, &instance).create(&new)})))
}

async fn task(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Result<Json<Task>, Wrong> {
    Ok(Json(known(&sim, &project, &instance)?.task(&task)?))
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
) -> Result<Json<Task>, Wrong> {
    let instance = known(&sim, &project, &instance)?;
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

async fn delete_task(State(sim): State<Handle>, Path((project, instance, task)): AtTask) -> Done {
    known(&sim, &project, &instance)?.delete_task(&task)?;
    Ok(done())
}

async fn policies(State(sim): State<Handle>) -> Json<Policies> {
    Json(sim.policies())
}

/// The policies with the given fields changed.
fn patched(policies: &Policies, change: BTreeMap<String, Value>) -> Result<Policies, Wrong> {
    let invalid = |error: serde_json::Error| Wrong::Invalid(format!("these are no policies: {error}"));
    let mut all = serde_json::to_value(policies).map_err(invalid)?;
    for (name, value) in change {
        all[name] = value;
    }
    serde_json::from_value(all).map_err(invalid)
}

async fn set_policies(
    State(sim): State<Handle>,
    Json(change): Json<BTreeMap<String, Value>>,
) -> Result<Json<Policies>, Wrong> {
    let new = patched(&sim.policies(), change)?;
    sim.set_policies(|policies| *policies = new);
    Ok(Json(sim.policies()))
}

async fn instance_policies(State(sim): State<Handle>, Path((project, instance)): At) -> Result<Json<Policies>, Wrong> {
    Ok(Json(known(&sim, &project, &instance)?.policies()))
}

async fn set_instance_policies(
    State(sim): State<Handle>,
    Path((project, instance)): At,
    Json(change): Json<BTreeMap<String, Value>>,
) -> Result<Json<Policies>, Wrong> {
    let instance = known(&sim, &project, &instance)?;
    let new = patched(&instance.policies(), change)?;
    instance.set_policies(|policies| *policies = new);
    Ok(Json(instance.policies()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRefusal {
    status: u16,
    code: String,
    message: String,
}

async fn refuse_batches(
    State(sim): State<Handle>,
    Path((project, instance)): At,
    Json(refusal): Json<BatchRefusal>,
) -> Done {
    let refusal = Refusal::fdi(refusal.status, &refusal.code, &refusal.message);
    known(&sim, &project, &instance)?.refuse_batches(Some(refusal));
    Ok(done())
}

async fn accept_batches(State(sim): State<Handle>, Path((project, instance)): At) -> Done {
    known(&sim, &project, &instance)?.refuse_batches(None);
    Ok(done())
}

async fn faults(State(sim): State<Handle>) -> Json<Vec<crate::fault::ActiveFault>> {
    Json(sim.faults())
}

async fn set_fault(State(sim): State<Handle>, Json(fault): Json<Fault>) -> Done {
    Ok(Json(json!({"id": sim.fault(fault.on, fault.effect)})))
}

async fn clear_faults(State(sim): State<Handle>) -> Done {
    sim.clear_faults();
    Ok(done())
}

async fn clear_fault(State(sim): State<Handle>, Path(id): Path<u64>) -> Done {
    if sim.clear_fault(id) { Ok(done()) } else { Err(Wrong::NotFound(format!("there is no fault {id}"))) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connections {
    refuse: bool,
}

async fn connections(State(sim): State<Handle>, Json(connections): Json<Connections>) -> Done {
    sim.refuse_connections(connections.refuse);
    Ok(Json(json!({"refused": sim.refused_connections()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// A realistic one is made when absent.
    token: Option<String>,
    project: Option<String>,
    #[serde(default = "a_day")]
    valid_seconds: u64,
}

fn a_day() -> u64 {
    24 * 60 * 60
}

async fn set_token(State(sim): State<Handle>, Json(new): Json<NewToken>) -> Done {
    let value = new.token.unwrap_or_else(|| sim.issue_token(new.project.as_deref().unwrap_or_default()));
    sim.set_token(&value, new.project.as_deref(), Duration::from_secs(new.valid_seconds));
    Ok(Json(json!({"token": value})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichToken {
    /// All when absent.
    token: Option<String>,
}

async fn revoke_token(State(sim): State<Handle>, Json(which): Json<WhichToken>) -> Done {
    match which.token {
        None => sim.revoke_all_tokens(),
        Some(token) if sim.revoke_token(&token) => {}
        Some(_) => return Err(Wrong::NotFound("there is no such token".into())),
    }
    Ok(done())
}

async fn expire_token(State(sim): State<Handle>, Json(which): Json<WhichToken>) -> Done {
    match which.token {
        None => sim.expire_all_tokens(),
        Some(token) if sim.expire_token(&token) => {}
        Some(_) => return Err(Wrong::NotFound("there is no such token".into())),
    }
    Ok(done())
}

async fn set_key(State(sim): State<Handle>, Path(access): Path<String>, Json(key): Json<AccessKey>) -> Done {
    sim.set_key(&access, key);
    Ok(done())
}

async fn remove_key(State(sim): State<Handle>, Path(access): Path<String>) -> Done {
    if sim.remove_key(&access) { Ok(done()) } else { Err(Wrong::NotFound(format!("there is no key {access}"))) }
}

async fn set_user(State(sim): State<Handle>, Json(user): Json<User>) -> Done {
    sim.set_user(user);
    Ok(done())
}

async fn remove_user(State(sim): State<Handle>, Path((domain, name)): At) -> Done {
    if sim.remove_user(&domain, &name) {
        Ok(done())
    } else {
        Err(Wrong::NotFound(format!("there is no user {name} in {domain}")))
    }
}

async fn clock(State(sim): State<Handle>) -> Done {
    Ok(Json(json!({"now": sim.clock().now()})))
}

async fn calls(State(sim): State<Handle>, Query(filter): Query<Filter>) -> Json<Vec<Entry>> {
    Json(sim.calls(&filter))
}

async fn counts(State(sim): State<Handle>, Query(filter): Query<Filter>) -> Json<crate::log::Counts> {
    Json(sim.counts(&filter))
}
