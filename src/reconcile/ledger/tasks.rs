//! The records of all tasks of an instance.

use std::collections::BTreeMap;

use crate::fdi::{RunState, TaskId};
use crate::reconcile::ledger::task::TaskRecord;

/// Of most tasks nothing is to be remembered but that they are as desired. Those take no more
/// memory than an entry of a tree, half as much as one of a hash map, for there may be a hundred
/// thousand of them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Tasks {
    settled: BTreeMap<TaskId, RunState>,
    /// How many were settled when the tree was last made as small as it can be.
    compacted: usize,
    others: BTreeMap<TaskId, Box<TaskRecord>>,
}

impl Tasks {
    /// What is remembered of a task beside that it is settled.
    pub fn get(&self, id: &TaskId) -> Option<&TaskRecord> {
        self.others.get(id).map(|record| &**record)
    }

    /// True when all that is remembered is that the task was observed in this state as desired.
    pub fn settled_in(&self, id: &TaskId, state: RunState) -> bool {
        self.settled.get(id) == Some(&state)
    }

    /// Nothing is remembered of the task.
    pub fn is_unknown(&self, id: &TaskId) -> bool {
        !self.others.contains_key(id) && !self.settled.contains_key(id)
    }

    /// Whether more is remembered of some task than that it is settled.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Changes the record of one task.
    pub fn update<R>(&mut self, id: &TaskId, change: impl FnOnce(&mut TaskRecord) -> R) -> R {
        let mut record = match self.others.remove(id) {
            Some(record) => *record,
            None => TaskRecord::settled(self.settled.remove(id)),
        };
        let result = change(&mut record);
        if record != TaskRecord::settled(record.settled) {
            self.others.insert(id.clone(), Box::new(record));
        } else if let Some(state) = record.settled {
            self.settled.insert(id.clone(), state);
        }
        result
    }

    /// Makes the tree as small as it can be, if many tasks have settled since it was: a tree that
    /// grew one by one is half empty.
    pub fn compact(&mut self) {
        if self.settled.len() > self.compacted + self.compacted / 8 {
            self.settled = std::mem::take(&mut self.settled).into_iter().collect();
            self.compacted = self.settled.len();
        }
        self.compacted = self.compacted.min(self.settled.len());
    }

    /// Forgets tasks.
    pub fn retain(&mut self, keep: impl Fn(&TaskId, Option<&TaskRecord>) -> bool) {
        self.settled.retain(|id, _| keep(id, None));
        self.others.retain(|id, record| keep(id, Some(&**record)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::ledger::task::Isolation;

    #[test]
    fn a_task_with_nothing_but_its_state_takes_little_room_and_gets_more_when_there_is_more() {
        let id = TaskId::new("t1").unwrap();
        let mut tasks = Tasks::default();
        tasks.update(&id, |record| record.settled = Some(RunState::Running));
        assert!(tasks.get(&id).is_none() && tasks.settled_in(&id, RunState::Running));
        tasks.update(&id, |record| record.isolation = Isolation::Quarantined);
        assert!(!tasks.settled_in(&id, RunState::Running));
        assert_eq!(tasks.get(&id).unwrap().settled, Some(RunState::Running), "it is carried over");
        tasks.update(&id, |record| record.isolation = Isolation::None);
        assert!(tasks.settled_in(&id, RunState::Running), "and back");
        tasks.retain(|_, record| record.is_some());
        assert!(!tasks.settled_in(&id, RunState::Running));
    }
}
