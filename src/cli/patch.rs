//! Minimal patches of one object, under a field manager of their own.

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::error::CommandError;
use super::target::Target;

/// Owner of what commands write, in `metadata.managedFields`. Not the operator's own name, and not
/// one that Flux removes the fields of, as it does for kubectl.
pub const FIELD_MANAGER: &str = "fdi-operator-cli";

/// How often an object is read again because others change it.
const MAX_ATTEMPTS: u32 = 10;

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    Changed,
    /// It had the value already, and nothing was written.
    Unchanged,
}

/// Sets `spec.FIELD`, unless it has the value already. The patch names the version that was read,
/// so an edit of somebody else in between is read first, and never overwritten unseen.
pub async fn set(client: &Client, target: &mut Target, field: &str, value: &Value) -> Result<Edited, CommandError> {
    let what = format!("edit {}", target.full_name());
    let api = target.api(client);
    for _ in 0..MAX_ATTEMPTS {
        if target.object.data["spec"][field] == *value {
            return Ok(Edited::Unchanged);
        }
        let metadata = &target.object.metadata;
        let patch = json!({"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "spec": {field: value}});
        match api.patch(&target.name(), &params(), &Patch::Merge(patch)).await {
            Ok(stored) if stored.data["spec"][field] == *value => {
                target.object = stored;
                return Ok(Edited::Changed);
            }
            Ok(_) => {
                let cause =
                    format!("the API server stored another value of spec.{field}: an admission webhook changes it");
                return Err(CommandError::Refused { what, cause });
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(target.not_found()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let now: Option<DynamicObject> =
                    api.get_opt(&target.name()).await.map_err(|error| CommandError::request(&what, error))?;
                let same = now.filter(|now| now.metadata.uid == target.object.metadata.uid);
                target.object = same.ok_or_else(|| target.not_found())?;
            }
            Err(error) => return Err(CommandError::request(&what, error)),
        }
    }
    let cause = "others change it all the time; try again".to_owned();
    Err(CommandError::Refused { what, cause })
}

/// Sets an annotation.
pub async fn annotate(client: &Client, target: &mut Target, key: &str, value: &str) -> Result<(), CommandError> {
    let what = format!("annotate {}", target.full_name());
    let patch = json!({"metadata": {"uid": target.object.metadata.uid, "annotations": {key: value}}});
    match target.api(client).patch(&target.name(), &params(), &Patch::Merge(patch)).await {
        Ok(stored) => {
            target.object = stored;
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Err(target.not_found()),
        Err(error) => Err(CommandError::request(&what, error)),
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
