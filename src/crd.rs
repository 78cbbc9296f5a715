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

/// Annotation that requests a reconcile, on either kind, spelled as Flux does. Its value is echoed
/// in `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Longest value of [`REQUESTED_AT`] that is kept, in bytes.
pub const REQUESTED_AT_MAX: usize = 256;
/// On a group with `deletionPolicy: Stop`, so that its tasks are stopped before it is gone.
pub const FINALIZER: &str = "fdi.romaconnect.dev/stop-tasks";

/// What the API server accepts as the name of an object: labels of a DNS name, joined by dots.
const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The CRDs as they are shipped in `crds/`.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![schema::finish(FdiInstance::crd()), schema::finish(FdiTaskGroup::crd())]
}
