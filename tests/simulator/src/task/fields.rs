//! The enumerations of the API that describe a task.

use serde::{Deserialize, Serialize};

/// The `action_id` of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Start,
    Stop,
}

impl Action {
    /// The state that this action asks for.
    pub fn running(self) -> bool {
        self == Self::Start
    }
}

/// `task_type`: upper case in lists, lower case in filters and in `ShowTask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskType {
    Realtime,
    /// Runs by a schedule plan.
    #[default]
    Timing,
}

/// `task_mode` of the list filter: common, composite (`ext_type` = `CDC`), orchestrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskMode {
    #[default]
    Normal,
    Cdc,
    Flow,
}

/// `execute_status`: how the latest run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LastRun {
    #[default]
    Unstarted,
    Waiting,
    Running,
    Success,
    Cancelled,
    Error,
}
