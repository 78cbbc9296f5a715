//! The last complete list of an instance.

use jiff::Timestamp;

use crate::fdi::{Attributes, RunState, Task, TaskId, Tasks};

/// A complete list of the tasks of an instance.
#[derive(Debug, Clone)]
pub struct TaskList {
    /// When the list was requested: what happened before is in it, what happened later may not be.
    pub requested_at: Timestamp,
    tasks: Tasks,
}

impl TaskList {
    pub fn new(requested_at: Timestamp, tasks: Tasks) -> Self {
        Self { requested_at, tasks }
    }

    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Whether it has what is wanted of the tasks.
    pub fn has(&self, attributes: Attributes) -> bool {
        attributes == Attributes::Omit || self.tasks.attributes() == Attributes::Keep
    }

    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.task(id)
    }

    pub fn has_same_tasks(&self, other: &Self) -> bool {
        self.tasks.is_same(&other.tasks)
    }

    pub fn total(&self) -> usize {
        self.tasks.len()
    }

    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.state == Some(RunState::Running)).count()
    }
}
