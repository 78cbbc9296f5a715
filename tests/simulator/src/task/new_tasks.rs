//! What tasks to create.

use serde::{Deserialize, Serialize};

use super::fields::{LastRun, TaskMode, TaskType};
use super::manner::Manner;

/// What tasks to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewTasks {
    /// How many, when `ids` is empty.
    pub count: usize,
    /// Exactly these IDs; otherwise each gets one of 32 hexadecimal characters.
    pub ids: Vec<String>,
    /// Their names, in order; tasks beyond those are named `<prefix>-1`, `<prefix>-2` …, numbered
    /// through the instance.
    pub names: Vec<String>,
    pub prefix: String,
    pub running: bool,
    pub last_run: LastRun,
    pub task_type: TaskType,
    pub mode: TaskMode,
    pub source_datasource_id: String,
    pub target_datasource_id: String,
    pub source_app_id: String,
    pub target_app_id: String,
    pub task_tag: Option<String>,
    pub manners: Vec<Manner>,
}

impl Default for NewTasks {
    fn default() -> Self {
        Self {
            count: 1,
            ids: Vec::new(),
            names: Vec::new(),
            prefix: "task".to_owned(),
            running: false,
            last_run: LastRun::default(),
            task_type: TaskType::default(),
            mode: TaskMode::default(),
            source_datasource_id: "source-1".to_owned(),
            target_datasource_id: "target-1".to_owned(),
            source_app_id: "app-1".to_owned(),
            target_app_id: "app-2".to_owned(),
            task_tag: None,
            manners: Vec::new(),
        }
    }
}
