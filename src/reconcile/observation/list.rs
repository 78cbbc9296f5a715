//! The last complete list of an instance.

use jiff::Timestamp;

use crate::fdi::{Attributes, RunState, Task, TaskId};

/// A complete list of the tasks of an instance.
#[derive(Debug, Clone)]
pub struct TaskList {
    /// When the list was requested: what happened before is in it, what happened later may not be.
    pub requested_at: Timestamp,
    /// Sorted by ID.
    tasks: Box<[Task]>,
    attributes: Attributes,
}

impl TaskList {
    pub fn new(requested_at: Timestamp, attributes: Attributes, mut tasks: Vec<Task>) -> Self {
        tasks.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Self { requested_at, tasks: tasks.into_boxed_slice(), attributes }
    }

    /// All tasks, sorted by ID.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Whether it has what is wanted of the tasks.
    pub fn has(&self, attributes: Attributes) -> bool {
        attributes == Attributes::Omit || self.attributes == Attributes::Keep
    }

    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.binary_search_by(|task| task.id.cmp(id)).ok().map(|index| &self.tasks[index])
    }

    pub fn has_same_tasks(&self, other: &Self) -> bool {
        self.tasks == other.tasks
    }

    pub fn total(&self) -> usize {
        self.tasks.len()
    }

    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.state == Some(RunState::Running)).count()
    }
}
