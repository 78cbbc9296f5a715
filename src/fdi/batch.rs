//! One batch: an action and the 1–10 distinct tasks that it is for. No other batch can be built.

use crate::fdi::task::{Action, TaskId};

/// Most IDs that the service takes in one call (API page "Starting or Stopping Tasks in Batches").
/// The older API definition says 9999 and is wrong.
pub const BATCH_MAX: usize = 10;

/// An action and 1 to [`BATCH_MAX`] distinct task IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    action: Action,
    ids: Vec<TaskId>,
}

impl Batch {
    /// `None` when `ids` is empty, longer than [`BATCH_MAX`], or names a task twice.
    pub fn new(action: Action, ids: Vec<TaskId>) -> Option<Self> {
        let distinct = ids.iter().enumerate().all(|(i, id)| !ids[..i].contains(id));
        ((1..=BATCH_MAX).contains(&ids.len()) && distinct).then_some(Self { action, ids })
    }

    pub fn action(&self) -> Action {
        self.action
    }

    pub fn ids(&self) -> &[TaskId] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: usize) -> Vec<TaskId> {
        (0..n).map(|i| TaskId::new(format!("t{i}")).unwrap()).collect()
    }

    #[test]
    fn a_batch_of_none_eleven_or_repeated_ids_cannot_be_built() {
        assert!(Batch::new(Action::Start, ids(0)).is_none());
        assert!(Batch::new(Action::Start, ids(11)).is_none());
        assert!(Batch::new(Action::Start, [ids(1), ids(1)].concat()).is_none());
        assert!(Batch::new(Action::Start, ids(1)).is_some());
        assert_eq!(Batch::new(Action::Stop, ids(10)).unwrap().ids().len(), BATCH_MAX);
    }
}
