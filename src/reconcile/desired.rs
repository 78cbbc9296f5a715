//! Step 1, pure: what the groups of one instance want, and which group owns which task.

mod group;
mod ownership;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::group::{DesiredGroup, FinalizerAction, StoredGroup};
use crate::crd::{FdiInstance, FdiInstanceStatus, requested_at};
use crate::fdi::{Attributes, Batch, TaskId};
use crate::reconcile::selection::{ChoosingGroup, Selections};

/// Most tasks that the groups of one instance may list together; a real instance has at most 1,000.
/// What is beyond costs neither memory nor time.
pub const CLAIMED_MAX: usize = 20_000;

/// What the store holds about one instance at one moment, with our own last writes where the store
/// does not show them yet.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub instance: Option<(Arc<FdiInstance>, FdiInstanceStatus)>,
    pub groups: Vec<StoredGroup>,
}

/// What one instance and all its groups want, oldest group first.
#[derive(Debug, Clone)]
pub struct Desired {
    instance: Option<DesiredInstance>,
    groups: Vec<DesiredGroup>,
    owners: HashMap<TaskId, usize>,
    selections: Selections,
}

/// The part of an `FdiInstance` that the pure steps need.
#[derive(Debug, Clone)]
pub struct DesiredInstance {
    pub object: Arc<FdiInstance>,
    pub status: FdiInstanceStatus,
    pub generation: i64,
    pub requested_at: Option<Box<str>>,
}

/// Reads the specs in the snapshot and decides who owns what. `selections` are what names and
/// selectors choose.
pub fn resolve(mut snapshot: Snapshot, selections: &Selections) -> Desired {
    snapshot.sort();
    let instance = snapshot.instance.map(|(object, status)| DesiredInstance {
        generation: object.metadata.generation.unwrap_or_default(),
        requested_at: requested_at(&object.metadata),
        object,
        status,
    });
    let mut room = CLAIMED_MAX;
    let read = |stored| group::read(stored, selections, &mut room);
    let mut groups: Vec<DesiredGroup> = snapshot.groups.into_iter().map(read).collect();
    let owners = ownership::decide(&mut groups);
    Desired { instance, groups, owners, selections: selections.clone() }
}

impl Snapshot {
    /// Oldest group first; groups being deleted last.
    fn sort(&mut self) {
        self.groups.sort_by(|a, b| {
            let (a, b) = (&a.object.metadata, &b.object.metadata);
            let deleted = a.deletion_timestamp.is_some().cmp(&b.deletion_timestamp.is_some());
            deleted.then_with(|| a.creation_timestamp.cmp(&b.creation_timestamp)).then_with(|| a.name.cmp(&b.name))
        });
    }
}

impl Desired {
    /// What is desired by now, if that differs: reading every spec once more costs as much as all
    /// other pure steps.
    pub fn newer(&self, mut snapshot: Snapshot) -> Option<Self> {
        snapshot.sort();
        let same_instance = match (&self.instance, &snapshot.instance) {
            (Some(own), Some((object, status))) => Arc::ptr_eq(&own.object, object) && own.status == *status,
            (None, None) => true,
            _ => false,
        };
        let same_group = |(own, stored): (&DesiredGroup, &StoredGroup)| {
            Arc::ptr_eq(&own.object, &stored.object)
                && (own.unreported_since, own.predates) == (stored.unreported_since, stored.predates)
                && own.status == stored.status
        };
        let same = same_instance
            && self.groups.len() == snapshot.groups.len()
            && self.groups.iter().zip(&snapshot.groups).all(same_group);
        (!same).then(|| resolve(snapshot, &self.selections))
    }

    /// The same objects with other selections.
    #[must_use]
    pub fn reselected(self, selections: &Selections) -> Self {
        let group = |group: DesiredGroup| StoredGroup {
            object: group.object,
            status: group.status,
            unreported_since: group.unreported_since,
            predates: group.predates,
        };
        let instance = self.instance.map(|instance| (instance.object, instance.status));
        resolve(Snapshot { instance, groups: self.groups.into_iter().map(group).collect() }, selections)
    }

    /// The groups that choose tasks from the list, oldest first.
    pub fn choosing(&self) -> Vec<ChoosingGroup<'_>> {
        let choosing = self.groups.iter().filter(|group| group.object.spec.chooses_from_list());
        choosing.map(DesiredGroup::as_choosing).collect()
    }

    /// What lists have to keep of tasks, so that every group can choose.
    pub fn attributes(&self) -> Attributes {
        let needed = self.groups.iter().any(|group| group.attributes() == Attributes::Keep);
        if needed { Attributes::Keep } else { Attributes::Omit }
    }

    pub fn instance(&self) -> Option<&DesiredInstance> {
        self.instance.as_ref()
    }

    /// Oldest first; groups being deleted last.
    pub fn groups(&self) -> &[DesiredGroup] {
        &self.groups
    }

    /// The group that owns a task, if any claims it.
    pub fn owner(&self, id: &TaskId) -> Option<&DesiredGroup> {
        self.owners.get(id).map(|&index| &self.groups[index])
    }

    /// The ID as a group's spec holds it, so that equal IDs share one text in memory.
    pub fn interned(&self, id: &TaskId) -> Option<&TaskId> {
        self.owners.get_key_value(id).map(|(interned, _)| interned)
    }

    /// Every owned task with the group that owns it.
    pub fn owned(&self) -> impl Iterator<Item = (&DesiredGroup, &TaskId)> {
        self.groups.iter().flat_map(|group| group.owned.iter().map(move |id| (group, id)))
    }

    /// Values of `requestedAt`, on instance and groups, that their statuses have not echoed yet.
    pub fn unanswered_requests(&self) -> Vec<Box<str>> {
        let instance = self.instance.iter().map(|i| (&i.requested_at, &i.status.last_handled_reconcile_at));
        let groups = self.groups.iter().map(|g| (&g.requested_at, &g.status.last_handled_reconcile_at));
        instance
            .chain(groups)
            .filter(|(requested, handled)| requested != handled)
            .filter_map(|(requested, _)| requested.clone())
            .collect()
    }

    /// Whether every task of a batch is still to get this action, so that the batch may be sent.
    pub fn wants(&self, batch: &Batch) -> bool {
        let wanted = |id: &TaskId| {
            let owner = self.owner(id);
            owner.is_some_and(|group| group.run_state.action() == batch.action() && !group.holds_calls())
        };
        self.instance.is_some() && !self.instance_suspended() && batch.ids().iter().all(wanted)
    }

    /// True when no call may be sent for any group.
    pub fn instance_suspended(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.object.spec.suspend)
    }
}

#[cfg(test)]
mod tests;
