//! Projects and instances.

use axum::extract::{Path, State};
use axum::routing::put;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, ControlError, done};
use crate::handle::Handle;
use crate::instance::InstanceHandle;
use crate::wire::Refusal;

pub(super) fn router() -> Router<Handle> {
    Router::new()
        .route("/projects/{project}", put(set_project))
        .route("/instances/{project}/{instance}", put(set_instance).delete(delete_instance))
        .route("/instances/{project}/{instance}/refusal", put(refuse_batches).delete(accept_batches))
        .route("/instances/{project}/{instance}/accepted-keys", put(accept_only_keys).delete(accept_all_keys))
}

/// Project ID and instance ID.
pub(super) type At = Path<(String, String)>;

/// The instance, which must be there.
pub(super) fn existing(sim: &Handle, project: &str, instance: &str) -> Result<InstanceHandle, ControlError> {
    sim.find_instance(project, instance).ok_or_else(|| {
        ControlError::NotFound(format!("there is no simulated instance \"{instance}\" in project \"{project}\""))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

async fn set_project(State(sim): State<Handle>, Path(project): Path<String>, Json(name): Json<Name>) -> Json<Value> {
    sim.set_project(&project, &name.name);
    done()
}

async fn set_instance(State(sim): State<Handle>, Path((project, instance)): At) -> Json<Value> {
    sim.instance(&project, &instance);
    done()
}

async fn delete_instance(State(sim): State<Handle>, Path((project, instance)): At) -> Answer {
    existing(&sim, &project, &instance)?;
    sim.delete_instance(&project, &instance);
    Ok(done())
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
) -> Answer {
    let refusal = Refusal::fdi(refusal.status, &refusal.code, &refusal.message);
    existing(&sim, &project, &instance)?.refuse_batches(Some(refusal));
    Ok(done())
}

async fn accept_batches(State(sim): State<Handle>, Path((project, instance)): At) -> Answer {
    existing(&sim, &project, &instance)?.refuse_batches(None);
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptedKeys {
    keys: Vec<String>,
}

async fn accept_only_keys(
    State(sim): State<Handle>,
    Path((project, instance)): At,
    Json(accepted): Json<AcceptedKeys>,
) -> Answer {
    let keys: Vec<&str> = accepted.keys.iter().map(String::as_str).collect();
    existing(&sim, &project, &instance)?.accept_only_keys(&keys);
    Ok(done())
}

async fn accept_all_keys(State(sim): State<Handle>, Path((project, instance)): At) -> Answer {
    existing(&sim, &project, &instance)?.accept_all_keys();
    Ok(done())
}
