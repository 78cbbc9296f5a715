//! `FdiTaskGroup`: which tasks of one instance are to be Running or Stopped.

mod selector;
mod status;

use std::sync::Arc;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired_state::DesiredState;
use super::lenient::{describe, field, lenient};
use super::names::{DNS_NAME, is_dns_name};

pub use selector::{MaxTasks, TaskExclusion, TaskSelector, TaskType};
pub use status::{
    DeviatingTask, FailedRun, FdiTaskGroupStatus, HistoryEntry, PendingTask, SelectionStatus, TaskCounts, TaskFailure,
    Trigger,
};

/// Keeps a group of FDI tasks of one ROMA Connect instance running or stopped.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fdi.romaconnect.dev",
    version = "v1alpha1",
    kind = "FdiTaskGroup",
    doc = "Keeps a group of FDI tasks of one ROMA Connect instance running or stopped.",
    namespaced,
    status = "Arc<FdiTaskGroupStatus>",
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
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.taskIds) || has(self.taskNames) || has(self.selector)", "message": "must set at least one of taskIds, taskNames and selector"}
]))]
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
    /// The ROMA Connect console shows the ID in the details of a task. An ID that is listed twice
    /// counts once. If several groups list an ID, the oldest group owns the task and the others
    /// report a conflict. At least one of `taskIds`, `taskNames` and `selector` is required; the
    /// group has all tasks that they name together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), inner(length(max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub task_ids: Vec<Arc<str>>,
    /// Exact names of tasks, 1 to 1000 of them, case-sensitive.
    ///
    /// A name stands for the task that has it in the list of the instance: a task that is made anew
    /// under the same name takes the place of the old one. A name that no task has is a failure
    /// (`TaskNotFound`), and so is one that several have (`TaskNameAmbiguous`). Ownership is as for
    /// `taskIds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub task_names: Vec<Arc<str>>,
    /// Chooses tasks by what the service says about them.
    ///
    /// A task that another group lists by ID or name belongs to that group, and among several that
    /// select it the oldest owns it: it is then counted in `status.selection.overridden`, which is
    /// no conflict. So "all of them stopped, except those" is two groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Box<TaskSelector>>,
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
    pub decode_error: Option<Box<str>>,
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
            task_names: field(stored, "taskNames"),
            selector: field(stored, "selector"),
            deletion_policy: field(stored, "deletionPolicy"),
            suspend: field(stored, "suspend"),
            decode_error: Some(error.into()),
            ..Self::default()
        })
    }

    /// Objects may be older than the validation by the API server.
    fn validate(self) -> Result<Self, String> {
        if self.instance_ref.clone().valid().is_none() {
            return Err("spec.instanceRef.name must be the name of an FdiInstance".to_owned());
        }
        if self.task_ids.is_empty() && !self.chooses_from_list() {
            return Err("spec must set at least one of taskIds, taskNames and selector".to_owned());
        }
        if self.selector.as_ref().is_some_and(|selector| selector.is_empty()) {
            return Err(
                "spec.selector must set at least one of names, tags, types, sourceApps and targetApps".to_owned()
            );
        }
        Ok(self)
    }

    /// All texts that choose tasks, or exclude them.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        let selector = self.selector.iter().flat_map(|selector| selector.texts());
        self.task_ids.iter().chain(&self.task_names).chain(selector)
    }

    /// It chooses tasks by more than their names and types.
    pub fn needs_attributes(&self) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.needs_attributes())
    }

    /// Which tasks it has depends on the list of the instance, not on the spec alone.
    pub fn chooses_from_list(&self) -> bool {
        !self.task_names.is_empty() || self.selector.is_some()
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

/// `Orphan` or `Stop`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Orphan,
    Stop,
}
