//! Policies, changed field by field.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::instances::{At, existing};
use super::{Answer, ControlError};
use crate::handle::Handle;
use crate::policy::Policies;

pub(super) fn router() -> Router<Handle> {
    Router::new()
        .route("/policies", get(policies).patch(change_policies))
        .route("/instances/{project}/{instance}/policies", get(instance_policies).patch(change_instance_policies))
}

type Change = Json<BTreeMap<String, Value>>;

async fn policies(State(sim): State<Handle>) -> Json<Policies> {
    Json(sim.policies())
}

async fn change_policies(State(sim): State<Handle>, Json(change): Change) -> Answer<Policies> {
    let new = patched(&sim.policies(), change)?;
    sim.set_policies(|policies| *policies = new);
    Ok(Json(sim.policies()))
}

async fn instance_policies(State(sim): State<Handle>, Path((project, instance)): At) -> Answer<Policies> {
    Ok(Json(existing(&sim, &project, &instance)?.policies()))
}

async fn change_instance_policies(
    State(sim): State<Handle>,
    Path((project, instance)): At,
    Json(change): Change,
) -> Answer<Policies> {
    let instance = existing(&sim, &project, &instance)?;
    let new = patched(&instance.policies(), change)?;
    instance.set_policies(|policies| *policies = new);
    Ok(Json(instance.policies()))
}

/// The policies with the given fields changed.
fn patched(policies: &Policies, change: BTreeMap<String, Value>) -> Result<Policies, ControlError> {
    let invalid = |error: serde_json::Error| ControlError::Invalid(format!("the policies are invalid: {error}"));
    let mut all = serde_json::to_value(policies).map_err(invalid)?;
    for (name, value) in change {
        all[name] = value;
    }
    serde_json::from_value(all).map_err(invalid)
}
