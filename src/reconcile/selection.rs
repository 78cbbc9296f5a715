//! Which tasks of the list `spec.taskNames` and `spec.selector` choose. Pure.
//!
//! A task is chosen by the first list that shows that it matches, and is not any more once two
//! lists in a row do not: one list may lag behind. Every list is a complete one; a failed list
//! changes nothing.

mod chosen;
mod digest;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod glob;
mod matcher;
mod update;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;

pub use self::chosen::{ChoosingGroup, NameProblem, Selection, UnresolvedName};
use self::matcher::NamesInList;
use self::update::Evaluation;
use crate::crd::FdiTaskGroupSpec;
use crate::fdi::Attributes;
use crate::reconcile::observation::list::TaskList;

/// What the groups of one instance choose from its list, by uid of the group. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Selections {
    groups: Arc<HashMap<String, Arc<Selection>>>,
    compared: Option<Compared>,
}

/// The list that was compared last.
#[derive(Debug, Clone, Copy)]
struct Compared {
    requested_at: Timestamp,
    content: u64,
}

impl Selections {
    /// What a group chooses; `None` as long as no list was compared with its present spec.
    pub fn get(&self, uid: &str, generation: i64) -> Option<&Arc<Selection>> {
        self.groups.get(uid).filter(|selection| selection.generation == generation)
    }

    /// Whether a further list that shows the same changes nothing.
    pub fn are_settled(&self) -> bool {
        self.groups.values().all(|selection| selection.is_settled())
    }

    /// Compares today's specs with the last list, as far as either is new. Returns whether anything
    /// changed that decides what is desired.
    ///
    /// `groups` come oldest first; together they choose at most `room` tasks.
    pub fn update(
        &mut self,
        groups: &[ChoosingGroup<'_>],
        list: Option<&TaskList>,
        mut room: usize,
        now: Timestamp,
    ) -> bool {
        let Some(list) = list.filter(|_| !groups.is_empty()) else {
            let known = !self.groups.is_empty();
            *self = Self::default();
            return known;
        };
        let same_list = self.compared.is_some_and(|compared| compared.requested_at == list.requested_at);
        let content = self.compared.filter(|_| same_list).map_or_else(|| content(list), |compared| compared.content);
        let same_content = self.compared.is_some_and(|compared| compared.content == content);
        let names = OnceCell::new();
        let mut next = HashMap::with_capacity(self.groups.len());
        // What needs more than the list has waits for a list that has it.
        for &group in groups.iter().filter(|group| list.has(attributes(group.spec))) {
            let known = self.groups.get(group.uid);
            let stands = |known: &&Arc<Selection>| {
                let settled = same_list || (same_content && known.is_settled());
                settled && known.generation == group.generation && known.members.len() <= room
            };
            let selection = known.filter(stands).map_or_else(
                || {
                    let names = names.get_or_init(|| NamesInList::of(list));
                    let evaluation = Evaluation { group, list, names, room, now };
                    Arc::new(evaluation.evaluate(known.map(|known| &**known)))
                },
                Arc::clone,
            );
            room = room.saturating_sub(selection.members.len());
            next.insert(group.uid.to_owned(), selection);
        }
        let changed = next.len() != self.groups.len()
            || next
                .iter()
                .any(|(uid, selection)| self.groups.get(uid).is_none_or(|known| !known.desires_the_same(selection)));
        *self = Self { groups: Arc::new(next), compared: Some(Compared { requested_at: list.requested_at, content }) };
        changed
    }
}

/// What a list has to keep of tasks for a spec.
pub fn attributes(spec: &FdiTaskGroupSpec) -> Attributes {
    if spec.needs_attributes() { Attributes::Keep } else { Attributes::Omit }
}

/// A hash of everything that tasks are chosen by, so that a list which shows nothing new costs no
/// comparison.
fn content(list: &TaskList) -> u64 {
    let mut hasher = DefaultHasher::new();
    for task in list.tasks().iter() {
        (&task.id, &task.name, task.type_, &task.attributes).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
