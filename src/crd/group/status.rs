//! The status of an `FdiTaskGroup`: what the operator observed and did.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::conditions::Condition;
use crate::crd::desired_state::DesiredState;
use crate::crd::lenient::lenient;

/// What the operator observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    pub ready_tasks: Option<Box<str>>,
    /// The run state that the tasks were to have when this status was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,
    /// What `spec.taskNames` and `spec.selector` chose from the list of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Box<SelectionStatus>>,
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
    #[schemars(range(min = 0, max = 3000))]
    pub failures_omitted: Option<i32>,
    /// Tasks on their way to the desired state, those that need it longest at the top; at most 20.
    /// `tasks.pending` counts all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub pending: Vec<PendingTask>,
    /// Tasks that are not in the desired state while the group or its instance is suspended; at
    /// most 20.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub deviating: Box<[DeviatingTask]>,
    /// Tasks that are on and whose latest run ended in ERROR, those that have failed longest at the
    /// top; at most 50. `tasks.failing` counts all of them.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub failed_runs: Box<[FailedRun]>,
    /// The latest calls for tasks of the group, newest first; at most 10. Calls for the same cause
    /// within a minute are one entry. It is brought up to date when something else of the status
    /// changes, so the log (`target: audit`) is more complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<HistoryEntry>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that the operator acted
    /// on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<Box<str>>,
}

lenient!(FdiTaskGroupStatus, |stored| Self::deserialize(stored).unwrap_or_default());

/// That of a group for which none was written.
impl Default for FdiTaskGroupStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            tasks: None,
            ready_tasks: None,
            desired_state: None,
            selection: None,
            opposing_call_time: None,
            failures: Vec::new(),
            failures_omitted: None,
            pending: Vec::new(),
            deviating: Box::default(),
            failed_runs: Box::default(),
            history: Vec::new(),
            last_handled_reconcile_at: None,
        }
    }
}

/// What `spec.taskNames` and `spec.selector` chose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectionStatus {
    /// Tasks that a name or the selector matches.
    #[schemars(range(min = 0, max = 10_000))]
    pub matched: i32,
    /// Those of them that the selector matches and another group owns.
    #[schemars(range(min = 0, max = 10_000))]
    pub overridden: i32,
    /// Stands for the matched IDs: it changes when one comes or goes.
    #[schemars(length(max = 64))]
    pub digest: String,
}

/// Numbers of tasks by state. Each listed task counts as one of `ready`, `pending`, `failed` and
/// `conflicting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskCounts {
    /// All listed tasks, each counted once: `ready`, `pending`, `failed` and `conflicting`
    /// together.
    #[schemars(range(min = 0, max = 3000))]
    pub total: i32,
    /// Tasks observed in the desired state.
    #[schemars(range(min = 0, max = 3000))]
    pub ready: i32,
    /// Tasks on their way to the desired state: the call is due, or sent and not settled, or will
    /// be retried.
    #[schemars(range(min = 0, max = 3000))]
    pub pending: i32,
    /// Tasks that could not be started or stopped: see `failures`. They are retried every 10
    /// minutes.
    #[schemars(range(min = 0, max = 3000))]
    pub failed: i32,
    /// Tasks that an older group owns.
    #[schemars(range(min = 0, max = 3000))]
    pub conflicting: i32,
    /// Owned tasks that are on and whose latest run ended in ERROR: see `failedRuns`. Does not
    /// affect `Ready`.
    #[schemars(range(min = 0, max = 3000))]
    pub failing: i32,
}

/// A task that could not be started or stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// ID of the task; empty for a name of `spec.taskNames` that stands for no task.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it, or as in `spec.taskNames`.
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
    /// ID of the task; empty for a name of `spec.taskNames` that stands for no task yet.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub task_id: String,
    /// Name of the task, if the service returns it, or as in `spec.taskNames`.
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

/// Why the operator started or stopped tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// Somebody edited the group.
    Edit,
    /// Somebody else had switched tasks.
    Drift,
    /// An earlier attempt failed, or its response was lost.
    Retry,
    /// The group is being deleted, with `deletionPolicy: Stop`.
    Deletion,
}

impl Trigger {
    /// As statuses and logs show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "Edit",
            Self::Drift => "Drift",
            Self::Retry => "Retry",
            Self::Deletion => "Deletion",
        }
    }
}

/// Calls for tasks of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When the first of the calls ended.
    pub time: Time,
    /// Why: `Edit`, `Drift` (somebody else had switched tasks), `Retry` or `Deletion`.
    pub trigger: Trigger,
    /// Tasks in calls to start them.
    #[schemars(range(min = 0))]
    pub starts: i32,
    /// Tasks in calls to stop them.
    #[schemars(range(min = 0))]
    pub stops: i32,
    /// Those of both that the service refused, or whose outcome is not known.
    #[schemars(range(min = 0))]
    pub failed: i32,
    /// The `metadata.generation` for which the calls were sent.
    pub generation: i64,
}

impl HistoryEntry {
    pub fn new(time: Time, trigger: Trigger, generation: i64) -> Self {
        Self { time, trigger, starts: 0, stops: 0, failed: 0, generation }
    }

    /// Whether both tell the same calls, one perhaps fewer of them.
    pub fn is_same_wave(&self, other: &Self) -> bool {
        (&self.time, self.trigger, self.generation) == (&other.time, other.trigger, other.generation)
    }
}
