//! Which group owns which task.
//!
//! What a group lists by ID or name beats what another selects; among equals the oldest group wins
//! (creation time, then name; all groups of an instance share its namespace). A group being deleted
//! owns only what no other claims, and only while it still has to stop it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::group::{Conflict, DesiredGroup, FinalizerAction};
use crate::fdi::TaskId;

/// Decides for all groups, which come oldest first with those being deleted at the end. Returns the
/// index of the owner of each task.
pub(super) fn decide(groups: &mut [DesiredGroup]) -> HashMap<TaskId, usize> {
    let mut owners = HashMap::with_capacity(groups.iter().map(DesiredGroup::claims).sum());
    let alive = groups.iter().take_while(|group| group.deletion_timestamp.is_none()).count();
    for part in [0..alive, alive..groups.len()] {
        for index in part.clone() {
            let (older, group) = groups.split_at_mut(index);
            claim_listed(&mut group[0], older, &mut owners);
        }
        for index in part {
            claim_selected(&mut groups[index], index, &mut owners);
        }
    }
    owners
}

/// Enters what a group lists by ID and by name. `older` are the groups that come before it.
fn claim_listed(group: &mut DesiredGroup, older: &[DesiredGroup], owners: &mut HashMap<TaskId, usize>) {
    let object = Arc::clone(&group.object);
    let listed = if group.exceeding > 0 { &[] } else { &object.spec.task_ids[..] };
    let may_own = group.may_own();
    group.owned.reserve_exact(if may_own { listed.len() } else { 0 });
    // What it lists and does not own: nearly always nothing.
    let mut others: HashSet<TaskId> = HashSet::new();
    let mut invalid: HashSet<&str> = HashSet::new();
    for text in listed {
        let Ok(id) = TaskId::new(Arc::clone(text)) else {
            if invalid.insert(text) {
                group.invalid.push(text.to_string());
            } else {
                group.duplicates += 1;
            }
            continue;
        };
        match owners.entry(id) {
            Entry::Vacant(entry) if may_own => {
                group.owned.push(entry.key().clone());
                entry.insert(older.len());
            }
            Entry::Occupied(entry) if *entry.get() == older.len() => group.duplicates += 1,
            entry if !others.insert(entry.key().clone()) => group.duplicates += 1,
            Entry::Occupied(entry) => conflict(group, entry.key(), older, *entry.get()),
            Entry::Vacant(_) => {}
        }
    }
    let Some(selection) = group.selection.clone().filter(|_| group.exceeding == 0) else { return };
    for id in selection.named() {
        match owners.entry(id.clone()) {
            Entry::Vacant(entry) if may_own => {
                group.owned.push(id.clone());
                entry.insert(older.len());
            }
            Entry::Occupied(entry) if *entry.get() != older.len() && others.insert(id.clone()) => {
                conflict(group, id, older, *entry.get());
            }
            _ => {}
        }
    }
}

fn conflict(group: &mut DesiredGroup, task: &TaskId, older: &[DesiredGroup], owner: usize) {
    if group.deletion_timestamp.is_none() {
        group.conflicts.push(Conflict { task: task.clone(), owner: older[owner].name.clone() });
    }
}

/// Enters what the selector of the group at `index` chooses, as far as nobody else owns it.
fn claim_selected(group: &mut DesiredGroup, index: usize, owners: &mut HashMap<TaskId, usize>) {
    let Some(selection) = group.selection.clone().filter(|_| group.exceeding == 0) else { return };
    let may_own = group.may_own();
    for id in selection.selected() {
        match owners.entry(id.clone()) {
            Entry::Vacant(entry) if may_own => {
                group.owned.push(id.clone());
                entry.insert(index);
            }
            // It lists the task by ID as well, and another group owns it: that is a conflict.
            Entry::Occupied(entry) if *entry.get() != index => {
                group.overridden += usize::from(!group.conflicts.iter().any(|conflict| conflict.task == *id));
            }
            _ => {}
        }
    }
}

impl DesiredGroup {
    fn may_own(&self) -> bool {
        self.deletion_timestamp.is_none() || self.finalizer == FinalizerAction::Hold
    }

    /// How many tasks it claims at most.
    fn claims(&self) -> usize {
        let selected = self.selection.as_ref().map_or(0, |selection| selection.matched());
        if self.exceeding > 0 { 0 } else { self.object.spec.task_ids.len() + selected }
    }
}
