//! `FdiTaskGroup`: which tasks of one instance are to be Running or Stopped.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::Condition;
use super::lenient::{describe, field, lenient};
use super::names::{DNS_NAME, is_dns_name};
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
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.tasks.failed", description = "Tasks that could not be started or stopped"),
    printcolumn(name = "Failing", type_ = "integer", json_path = ".status.tasks.failing", description = "Tasks that are on and whose latest run ended in ERROR"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", description = "No call is sent for the group; a suspended FdiInstance suspends all its groups"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    selectable = ".spec.instanceRef.name",
    selectable = ".spec.desiredState",
    selectable = ".spec.suspend"
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct FdiTaskGroupSpec {
    /// The `FdiInstance`, in the same namespace, that has these tasks. Immutable.
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "instanceRef must not change: create another FdiTaskGroup for another instance"}]))]
    pub instance_ref: InstanceRef,
    /// The run state that every listed task is to have: `Running` or `Stopped`.
    ///
    /// `Running` starts a task: a scheduled one then runs at its planned times, a real-time or
    /// composite one runs all the time. `Stopped` stops it: a scheduled one is not executed any
    /// more, a real-time or composite one ends. It is the task's switch, not the result of its
    /// runs: a task whose runs fail is still `Running` (see `status.failedRuns`). The service does
    /// not document whether a run that is going on ends when its task is stopped, nor how much data
    /// the first run after a start reads again.
    pub desired_state: DesiredState,
    /// IDs of the tasks, 1 to 1000 of them (an instance has at most 1000 tasks).
    ///
    /// The ROMA Connect console shows the ID in the details of a task; the names of tasks are not
    /// used. An ID that is listed twice counts once. If several groups list an ID, the oldest group
    /// owns the task and the others report a conflict.
    #[schemars(length(min = 1, max = 1000), inner(length(max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub task_ids: Vec<Arc<str>>,
    /// `true`: observe the tasks and report, but start and stop none. The group still owns its
    /// tasks, so no other group can control them. Default: `false`.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the tasks when this object is deleted. `Orphan` (default): they stay as they
    /// are. `Stop`: the operator stops them first and holds the object with a finalizer until all
    /// are observed stopped, for 10 minutes at most.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Why the stored spec could not be decoded, if so.
    #[serde(skip)]
    pub decode_error: Option<String>,
}

lenient!(FdiTaskGroupSpec, Self::decode);

impl FdiTaskGroupSpec {
    /// A spec that cannot be decoded as a whole still says which tasks the group owns, and whether
    /// they are to be stopped when it is deleted.
    fn decode(stored: &Value) -> Self {
        let decoded = Self::deserialize(stored).map_err(|error| describe(&error)).and_then(Self::validate);
        decoded.unwrap_or_else(|error| Self {
            instance_ref: field::<InstanceRef>(stored, "instanceRef").valid().unwrap_or_default(),
            task_ids: field(stored, "taskIds"),
            deletion_policy: field(stored, "deletionPolicy"),
            suspend: field(stored, "suspend"),
            decode_error: Some(error),
            ..Self::default()
        })
    }

    /// Objects may be older than the validation by the API server.
    fn validate(self) -> Result<Self, String> {
        if self.instance_ref.clone().valid().is_none() {
            return Err("spec.instanceRef.name must be the name of an FdiInstance".to_owned());
        }
        Ok(self)
    }
}

impl InstanceRef {
    fn valid(self) -> Option<Self> {
        is_dns_name(&self.name).then_some(self)
    }
}

/// Refers to an `FdiInstance` in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceRef {
    /// Name of the `FdiInstance`.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_NAME))]
    pub name: String,
}

/// `Running` or `Stopped`.
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

/// `Orphan` or `Stop`.
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
    /// The `metadata.generation` that this status was computed from; -1 before the first reconcile.
    pub observed_generation: i64,
    /// `Ready`, `Synced` and `RunsHealthy` always; `Reconciling` and `Stalled` only while `True`.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Numbers of tasks by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
    /// Tasks observed in the desired state, of all listed ones, such as `9/10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready_tasks: Option<String>,
    /// The run state that the tasks were to have when this status was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,
    /// When the last call was sent that may still act on a task against `desiredState`. Present
    /// only for as long as it may: until then the group is not Ready, also after a restart of the
    /// operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opposing_call_time: Option<Time>,
    /// Tasks that could not be started or stopped, those that failed first at the top; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<TaskFailure>,
    /// Number of failures beyond the 100 in `failures`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub failures_omitted: Option<i32>,
    /// Tasks on their way to the desired state, those that need it longest at the top; at most 20.
    /// `tasks.pending` counts all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub pending: Vec<PendingTask>,
    /// Tasks that are not in the desired state while the group or its instance is suspended; at
    /// most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub deviating: Vec<DeviatingTask>,
    /// Tasks that are on and whose latest run ended in ERROR, those that have failed longest at the
    /// top; at most 50. `tasks.failing` counts all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub failed_runs: Vec<FailedRun>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that the operator acted
    /// on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

lenient!(FdiTaskGroupStatus, |stored| Self::deserialize(stored).unwrap_or_default());

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
            pending: Vec::new(),
            deviating: Vec::new(),
            failed_runs: Vec::new(),
            last_handled_reconcile_at: None,
        }
    }
}

/// Numbers of tasks by state. Each listed task counts as one of `ready`, `pending`, `failed` and
/// `conflicting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskCounts {
    /// All listed tasks, each counted once: `ready`, `pending`, `failed` and `conflicting`
    /// together.
    #[schemars(range(min = 0, max = 1000))]
    pub total: i32,
    /// Tasks observed in the desired state.
    #[schemars(range(min = 0, max = 1000))]
    pub ready: i32,
    /// Tasks on their way to the desired state: the call is due, or sent and not settled, or will
    /// be retried.
    #[schemars(range(min = 0, max = 1000))]
    pub pending: i32,
    /// Tasks that could not be started or stopped: see `failures`. They are retried every 10
    /// minutes.
    #[schemars(range(min = 0, max = 1000))]
    pub failed: i32,
    /// Tasks that an older group owns.
    #[schemars(range(min = 0, max = 1000))]
    pub conflicting: i32,
    /// Owned tasks that are on and whose latest run ended in ERROR: see `failedRuns`. Does not
    /// affect `Ready`.
    #[schemars(range(min = 0, max = 1000))]
    pub failing: i32,
}

/// A task that could not be started or stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// ID of the task.
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub task_name: String,
    /// The call that failed: `start` or `stop`.
    #[schemars(length(max = 16))]
    pub action: String,
    /// Error code of the service (`FDI.…`), or one of the operator's own.
    #[schemars(length(max = 64))]
    pub code: String,
    /// The message of the service, and what to do.
    #[schemars(length(max = 256))]
    pub message: String,
    /// Number of attempts so far. It stands still once the task counts as failed.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub attempts: i32,
    /// Time of the next attempt. Absent once the task counts as failed: it is then retried every 10
    /// minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}

/// A task on its way to the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingTask {
    /// ID of the task.
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub task_name: String,
    /// What brings it to the desired state: `start` or `stop`.
    #[schemars(length(max = 16))]
    pub action: String,
    /// Since when it needs that.
    pub since: Time,
    /// What is needed next: `CallDue`, `Settling`, `RetryDue`, `OpposingCall`, `ListDue`,
    /// `NotListed` or `StateUnknown`.
    #[schemars(length(max = 64))]
    pub reason: String,
}

/// A task that is not in the desired state while no call is sent for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviatingTask {
    /// ID of the task.
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub task_name: String,
    /// The call that the operator sends once nothing is suspended: `start` or `stop`.
    #[schemars(length(max = 16))]
    pub action: String,
    /// When it was first observed in the other state.
    pub since: Time,
}

/// A task that is on and whose latest run ended in ERROR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRun {
    /// ID of the task.
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub task_name: String,
    /// When the operator first observed a failed run. It stays until a run succeeds, is cancelled,
    /// or the task is switched off.
    pub since: Time,
    /// Why the latest run failed, from the monitor log of the task. Absent where the log says
    /// nothing or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cause: Option<String>,
}
