//! `FdiTaskGroup`: which tasks of one instance are to be Running or Stopped.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::Condition;
use super::lenient::lenient;
use crate::fdi::RunState;

/// Keeps a group of FDI tasks of one ROMA Connect instance running or stopped.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fdi.romaconnect.dev",
    version = "v1alpha1",
    kind = "FdiTaskGroup",
    doc = "Keeps a group of FDI tasks of one ROMA Connect instance running or stopped.",
    namespaced,
    status = "FdiTaskGroupStatus",
    shortname = "ftg",
    category = "romaconnect",
    derive = "PartialEq",
    validation = kube::core::Rule::new("self.metadata.name.size() <= 63").message("metadata.name must have at most 63 characters"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instanceRef.name"),
    printcolumn(name = "Desired", type_ = "string", json_path = ".spec.desiredState"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.readyTasks", description = "Tasks observed in the desired state, of all listed"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.tasks.failed", description = "Tasks that could not be moved"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct FdiTaskGroupSpec {
    /// The `FdiInstance` in the same namespace whose tasks these are. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "instanceRef must not change: create another FdiTaskGroup for another instance"}]))]
    pub instance_ref: InstanceRef,
    /// The run state that every listed task is to have.
    pub desired_state: DesiredState,
    /// IDs of the tasks, 1 to 1000 (an instance holds at most 1000). Duplicates collapse.
    #[schemars(length(min = 1, max = 1000), inner(length(max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub task_ids: Vec<Arc<str>>,
    /// Observe and report, but send no call. A suspended group still owns its tasks.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the tasks when this object is deleted. Orphan: they are left as they are. Stop: they are
    /// stopped first (a finalizer holds the object until they are).
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Why the stored spec could not be read, when it could not.
    #[serde(skip)]
    pub decode_error: Option<String>,
}

lenient!(FdiTaskGroupSpec, |error: serde_json::Error| Self {
    decode_error: Some(error.to_string()),
    ..Self::default()
});

/// Names an `FdiInstance` in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceRef {
    /// Name of the `FdiInstance`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Running or Stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    Running,
    #[default]
    Stopped,
}

impl From<DesiredState> for RunState {
    fn from(state: DesiredState) -> Self {
        match state {
            DesiredState::Running => Self::Running,
            DesiredState::Stopped => Self::Stopped,
        }
    }
}

impl From<RunState> for DesiredState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Running => Self::Running,
            RunState::Stopped => Self::Stopped,
        }
    }
}

/// Orphan or Stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Orphan,
    Stop,
}

/// What the operator observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self", default)]
pub struct FdiTaskGroupStatus {
    /// The generation of the spec that this status was computed from; -1 before the first look.
    pub observed_generation: i64,
    /// Ready and Synced always; Reconciling and Stalled only while True.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many tasks are where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
    /// Tasks observed in the desired state, of all listed, such as `9/10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready_tasks: Option<String>,
    /// The run state that the tasks were to have when this status was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,
    /// When the last call was sent that may still act on a task against `desiredState`. Present only for
    /// as long as it may: until then the group is not Ready, also after a restart of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opposing_call_time: Option<Time>,
    /// Tasks that could not be moved, failed longest first; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<TaskFailure>,
    /// How many more failures there are than `failures` has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub failures_omitted: Option<i32>,
    /// The value of the annotation `reconcile.fluxcd.io/requestedAt` that was last acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

lenient!(FdiTaskGroupStatus, |_| Self::default());

impl Default for FdiTaskGroupStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            tasks: None,
            ready_tasks: None,
            desired_state: None,
            opposing_call_time: None,
            failures: Vec::new(),
            failures_omitted: None,
            last_handled_reconcile_at: None,
        }
    }
}

/// Every listed task is in exactly one of ready, pending, failed and conflicting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskCounts {
    /// All listed tasks, duplicates counted once: the sum of the next four.
    #[schemars(range(min = 0, max = 1000))]
    pub total: i32,
    /// Observed in the desired state.
    #[schemars(range(min = 0, max = 1000))]
    pub ready: i32,
    /// Not there yet: a call is due, sent or settling, or is tried again soon.
    #[schemars(range(min = 0, max = 1000))]
    pub pending: i32,
    /// Could not be moved: see `failures`.
    #[schemars(range(min = 0, max = 1000))]
    pub failed: i32,
    /// Owned by an older group.
    #[schemars(range(min = 0, max = 1000))]
    pub conflicting: i32,
    /// Owned tasks whose latest run ended in ERROR, whatever their run state. Does not gate Ready.
    #[schemars(range(min = 0, max = 1000))]
    pub last_run_failed: i32,
}

/// One task that could not be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// ID of the task.
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, where the service tells it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub task_name: String,
    /// What was tried: `start` or `stop`.
    #[schemars(length(max = 16))]
    pub action: String,
    /// The service's code (FDI.…) or one of the operator's own.
    #[schemars(length(max = 64))]
    pub code: String,
    /// What the service said, and what to do.
    #[schemars(length(max = 256))]
    pub message: String,
    /// How often it was tried. Stands still once the task counts as failed.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub attempts: i32,
    /// When it is tried next. Absent once the task counts as failed: then every 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}
