//! The control API `/_sim/…`: the methods of [`Handle`] over HTTP, in JSON. The crate's README
//! describes it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::{ActiveFault, Fault};
use crate::handle::Handle;
use crate::instance::UnknownTask;
use crate::log::{Counts, Entry, Filter};

mod instances;
mod policies;
mod sign_in;
mod tasks;

/// Why a control request is refused.
pub(crate) enum ControlError {
    NotFound(String),
    Invalid(String),
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NotFound(message) => (StatusCode::NOT_FOUND, message),
            Self::Invalid(message) => (StatusCode::BAD_REQUEST, message),
        };
        (status, Json(json!({"error": message}))).into_response()
    }
}

impl From<UnknownTask> for ControlError {
    fn from(unknown: UnknownTask) -> Self {
        Self::NotFound(unknown.to_string())
    }
}

pub(crate) type Answer<T = Value> = Result<Json<T>, ControlError>;

/// The answer when there is nothing to say.
fn done() -> Json<Value> {
    Json(json!({}))
}

pub(crate) fn router() -> Router<Handle> {
    let no_such_path = || async { ControlError::NotFound("the control API has no such path or method".into()) };
    Router::new()
        .route("/", get(overview))
        .merge(instances::router())
        .merge(tasks::router())
        .merge(policies::router())
        .merge(sign_in::router())
        .route("/faults", get(faults).post(set_fault).delete(clear_faults))
        .route("/faults/{id}", delete(clear_fault))
        .route("/connections", put(connections))
        .route("/clock", get(clock))
        .route("/calls", get(calls))
        .route("/counts", get(counts))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_path)
}

pub(crate) async fn overview(State(sim): State<Handle>) -> Json<Value> {
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
    Json(json!({
        "instances": instances, "projects": projects, "calls": sim.last_seq(), "faults": sim.faults().len(),
    }))
}

async fn faults(State(sim): State<Handle>) -> Json<Vec<ActiveFault>> {
    Json(sim.faults())
}

async fn set_fault(State(sim): State<Handle>, Json(fault): Json<Fault>) -> Json<Value> {
    Json(json!({"id": sim.fault(fault.on, fault.effect)}))
}

async fn clear_faults(State(sim): State<Handle>) -> Json<Value> {
    sim.clear_faults();
    done()
}

async fn clear_fault(State(sim): State<Handle>, Path(id): Path<u64>) -> Answer {
    if sim.clear_fault(id) { Ok(done()) } else { Err(ControlError::NotFound(format!("there is no fault {id}"))) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connections {
    refuse: Option<bool>,
    hold: Option<bool>,
}

async fn connections(State(sim): State<Handle>, Json(connections): Json<Connections>) -> Json<Value> {
    if let Some(refuse) = connections.refuse {
        sim.refuse_connections(refuse);
    }
    if let Some(hold) = connections.hold {
        sim.hold_connections(hold);
    }
    Json(json!({"refused": sim.refused_connections()}))
}

async fn clock(State(sim): State<Handle>) -> Json<Value> {
    Json(json!({"now": sim.clock().now()}))
}

async fn calls(State(sim): State<Handle>, Query(filter): Query<Filter>) -> Json<Vec<Entry>> {
    Json(sim.calls(&filter))
}

async fn counts(State(sim): State<Handle>, Query(filter): Query<Filter>) -> Json<Counts> {
    Json(sim.counts(&filter))
}
