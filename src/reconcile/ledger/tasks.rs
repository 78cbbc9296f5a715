//! The memories of all tasks of an instance.

use std::collections::HashMap;

use super::memory::Memory;
use crate::fdi::{RunState, TaskId};

/// Of most tasks there is nothing to remember but that they are as wished. Those take no more room than an entry of a map,
/// for there may be a hundred thousand of them. Boxed, because a map keeps the room that it once needed.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    settled: HashMap<TaskId, RunState>,
    others: HashMap<TaskId, Box<Memory>>,
}

impl Tasks {
    /// What is remembered of a task beside that it is settled.
    pub fn get(&self, id: &TaskId) -> Option<&Memory> {
        self.others.get(id).map(|memory| &**memory)
    }

    /// True when there is nothing to remember but that the task was observed in this state as wished.
    pub fn settled_in(&self, id: &TaskId, state: RunState) -> bool {
        self.settled.get(id) == Some(&state)
    }

    /// Changes what is remembered of one task.
    pub fn change<R>(&mut self, id: &TaskId, change: impl FnOnce(&mut Memory) -> R) -> R {
        let mut memory = match self.others.remove(id) {
            Some(memory) => *memory,
            None => Memory::settled(self.settled.remove(id)),
        };
        let result = change(&mut memory);
        if memory != Memory::settled(memory.settled) {
            self.others.insert(id.clone(), Box::new(memory));
        } else if let Some(state) = memory.settled {
            self.settled.insert(id.clone(), state);
        }
        result
    }

    /// Forgets tasks.
    pub fn retain(&mut self, keep: impl Fn(&TaskId, Option<&Memory>) -> bool) {
        self.settled.retain(|id, _| keep(id, None));
        self.others.retain(|id, memory| keep(id, Some(&**memory)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::reconcile::ledger::Cohort;

    #[test]
    fn a_task_with_nothing_but_its_state_takes_little_room_and_gets_more_when_there_is_more() {
        let id = TaskId::new("t1").unwrap();
        let mut tasks = Tasks::default();
        tasks.change(&id, |memory| memory.settled = Some(RunState::Running));
        assert!(tasks.get(&id).is_none() && tasks.settled_in(&id, RunState::Running));
        tasks.change(&id, |memory| memory.cohort = Cohort::Alone);
        assert!(!tasks.settled_in(&id, RunState::Running));
        assert_eq!(tasks.get(&id).unwrap().settled, Some(RunState::Running), "it is carried over");
        tasks.change(&id, |memory| memory.cohort = Cohort::Any);
        assert!(tasks.settled_in(&id, RunState::Running), "and back");
        tasks.retain(|_, memory| memory.is_some());
        assert!(!tasks.settled_in(&id, RunState::Running));
    }
}
