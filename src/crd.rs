//! The two kinds. Their doc comments are the API reference that `kubectl explain` shows.

mod conditions;
mod group;
mod instance;
mod lenient;
mod schema;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use conditions::{
    Condition, ConditionStatus, condition_types, event_actions, event_reasons, failure_codes, find_condition, reasons,
    whole_seconds,
};
pub use group::{
    DeletionPolicy, DesiredState, FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus, InstanceRef, TaskCounts,
    TaskFailure,
};
pub use instance::{
    Auth, FdiInstance, FdiInstanceSpec, FdiInstanceStatus, InstanceKey, InstanceTasks, RateLimit, SecretAuth, SecretRef,
};

/// Requests a reconcile now, on either kind; the value is echoed in `status.lastHandledReconcileAt`. Flux's own spelling.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Held by a group with `deletionPolicy: Stop`, so that its tasks can be stopped before it goes.
pub const FINALIZER: &str = "fdi.romaconnect.dev/stop-tasks";

/// The CRDs as they are shipped in `crds/`.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![schema::finish(FdiInstance::crd()), schema::finish(FdiTaskGroup::crd())]
}
