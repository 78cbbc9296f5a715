//! `spec.selector`: tasks chosen by what the service says about them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fdi;

/// Chooses tasks by name, tag, type and application. A task has to match every field that is set;
/// within a list one entry is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.names) || has(self.tags) || has(self.types) || has(self.sourceApps) || has(self.targetApps)", "message": "must set at least one of names, tags, types, sourceApps and targetApps"}
]))]
pub struct TaskSelector {
    /// Names, case-sensitive: `*` stands for any characters, `?` for one. 1 to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<Arc<str>>,
    /// Tags (`task_tag`), exact. 1 to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub tags: Vec<Arc<str>>,
    /// Types: `Scheduled` (`TIMING`), `RealTime` (`REALTIME`) or `Composite` (`ext_type` `CDC`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "atomic"))]
    pub types: Vec<TaskType>,
    /// IDs of the applications that the tasks read from (`source_app_id`). 1 to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub source_apps: Vec<Arc<str>>,
    /// IDs of the applications that the tasks write to (`target_app_id`). 1 to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_apps: Vec<Arc<str>>,
    /// Tasks that the selector does not choose, whatever else it says: those that match any entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<TaskExclusion>,
    /// Most tasks that the selector may match, 1 to 1000. If it matches more, it chooses none, and
    /// the group is not Ready (`SelectionTooLarge`). Default: 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max_tasks: MaxTasks,
}

/// Most tasks that a selector may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MaxTasks(pub i32);

impl Default for MaxTasks {
    fn default() -> Self {
        Self(1000)
    }
}

impl MaxTasks {
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }
}

/// Tasks that a selector does not choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskExclusion {
    /// Names, case-sensitive: `*` stands for any characters, `?` for one. At most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<Arc<str>>,
    /// IDs. At most 1000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 64), regex(pattern = "^[A-Za-z0-9_-]{1,64}$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub task_ids: Vec<Arc<str>>,
    /// Tags, exact. At most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub tags: Vec<Arc<str>>,
}

/// `Scheduled`, `RealTime` or `Composite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaskType {
    Scheduled,
    RealTime,
    Composite,
}

impl From<TaskType> for fdi::TaskType {
    fn from(type_: TaskType) -> Self {
        match type_ {
            TaskType::Scheduled => Self::Scheduled,
            TaskType::RealTime => Self::RealTime,
            TaskType::Composite => Self::Composite,
        }
    }
}

impl TaskSelector {
    pub(super) fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        let chosen = [&self.names, &self.tags, &self.source_apps, &self.target_apps];
        let excluded = self.exclude.iter().flat_map(|exclude| [&exclude.names, &exclude.task_ids, &exclude.tags]);
        chosen.into_iter().chain(excluded).flatten()
    }

    pub(super) fn needs_attributes(&self) -> bool {
        let exclude = self.exclude.as_ref();
        !self.tags.is_empty()
            || !self.source_apps.is_empty()
            || !self.target_apps.is_empty()
            || exclude.is_some_and(|exclude| !exclude.tags.is_empty())
    }

    /// Objects may be older than the validation by the API server.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.tags.is_empty()
            && self.types.is_empty()
            && self.source_apps.is_empty()
            && self.target_apps.is_empty()
    }
}
