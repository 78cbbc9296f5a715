//! Step 1, pure: what the groups of one instance want, and which group owns which task.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::ObjectMeta;

use crate::crd::{
    DeletionPolicy, FINALIZER, FdiInstance, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupStatus, REQUESTED_AT,
};
use crate::fdi::text::truncate;
use crate::fdi::{Batch, RunState, TaskId};

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

/// One group as it is stored.
#[derive(Debug, Clone)]
pub struct StoredGroup {
    pub object: Arc<FdiTaskGroup>,
    pub status: FdiTaskGroupStatus,
    /// Since when no status of the group could be written.
    pub unreported_since: Option<Timestamp>,
    /// It existed before this process watched it: a predecessor may have sent calls for it.
    pub predates: bool,
}

/// What one instance and all its groups want, oldest group first.
#[derive(Debug, Clone)]
pub struct Desired {
    instance: Option<DesiredInstance>,
    groups: Vec<DesiredGroup>,
    owners: HashMap<TaskId, usize>,
}

/// The part of an `FdiInstance` that the pure steps need.
#[derive(Debug, Clone)]
pub struct DesiredInstance {
    pub object: Arc<FdiInstance>,
    pub status: FdiInstanceStatus,
    pub generation: i64,
    pub requested_at: Option<String>,
}

/// What one group wants.
#[derive(Debug, Clone)]
pub struct DesiredGroup {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    /// The state its tasks are to have: `Stopped` while a group with `deletionPolicy: Stop` is
    /// being deleted.
    pub run_state: RunState,
    /// Tasks that this group owns, in the order of the spec.
    pub owned: Vec<TaskId>,
    /// Tasks that it lists but another group owns.
    pub conflicts: Vec<Conflict>,
    /// Listed texts that are no task IDs (only possible in objects older than the validation).
    pub invalid: Vec<String>,
    /// How many tasks it lists beyond what the groups of one instance may list together: all or
    /// none.
    pub exceeding: usize,
    /// How many list entries repeat an earlier one.
    pub duplicates: usize,
    pub suspended: bool,
    pub finalizer: FinalizerAction,
    /// Set while the group is being deleted.
    pub deletion_timestamp: Option<Timestamp>,
    pub requested_at: Option<String>,
    /// The status that the API server has, or will show once it has caught up with our last write.
    pub status: FdiTaskGroupStatus,
    /// Since when no status of the group could be written.
    pub unreported_since: Option<Timestamp>,
    /// It existed before this process watched it: a predecessor may have sent calls for it.
    pub predates: bool,
    /// Why the stored spec could not be decoded.
    pub decode_error: Option<String>,
    /// The object itself, for events and writes.
    pub object: Arc<FdiTaskGroup>,
}

/// A task that a group lists but another group owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub task: TaskId,
    /// Name of the group that owns it.
    pub owner: String,
}

/// What is to be done about our finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalizerAction {
    /// It is as it should be.
    None,
    /// `deletionPolicy: Stop`, and it is not there yet.
    Add,
    /// It is there without need: `Orphan`, or suspended during deletion.
    Remove,
    /// Being deleted with `Stop`: it stays until the tasks are stopped.
    Hold,
}

/// Reads the specs in the snapshot and decides who owns what.
///
/// Of all groups that claim an ID the oldest that is not being deleted owns it (creation time, then
/// name; all groups of an instance share its namespace). A group being deleted owns only what
/// nobody else claims, and only while it still has to stop it.
pub fn resolve(mut snapshot: Snapshot) -> Desired {
    snapshot.sort();
    let instance = snapshot.instance.map(|(object, status)| DesiredInstance {
        generation: object.metadata.generation.unwrap_or_default(),
        requested_at: requested_at(&object.metadata),
        object,
        status,
    });
    let listed: usize = snapshot.groups.iter().map(|group| group.object.spec.task_ids.len()).sum();
    let mut room = CLAIMED_MAX;
    let mut owners = HashMap::with_capacity(listed.min(CLAIMED_MAX));
    let mut groups = Vec::with_capacity(snapshot.groups.len());
    for stored in snapshot.groups {
        let mut group = read_group(stored, &mut room);
        claim(&mut group, &groups, &mut owners);
        groups.push(group);
    }
    Desired { instance, groups, owners }
}

impl Snapshot {
    /// Oldest group first; groups being deleted last.
    fn sort(&mut self) {
        let created = |metadata: &ObjectMeta| metadata.creation_timestamp.as_ref().map(|time| time.0);
        self.groups.sort_by(|a, b| {
            let (a, b) = (&a.object.metadata, &b.object.metadata);
            let deleted = a.deletion_timestamp.is_some().cmp(&b.deletion_timestamp.is_some());
            deleted.then_with(|| created(a).cmp(&created(b))).then_with(|| a.name.cmp(&b.name))
        });
    }
}

/// Enters what a group lists. `older` are the groups that come before it.
fn claim(group: &mut DesiredGroup, older: &[DesiredGroup], owners: &mut HashMap<TaskId, usize>) {
    let object = Arc::clone(&group.object);
    let listed = if group.exceeding > 0 { &[] } else { &object.spec.task_ids[..] };
    let alive = group.deletion_timestamp.is_none();
    let may_own = alive || group.finalizer == FinalizerAction::Hold;
    group.owned.reserve_exact(if may_own { listed.len() } else { 0 });
    // What it lists and does not own: nearly always nothing.
    let mut others = HashSet::new();
    for text in listed {
        let Ok(id) = TaskId::new(Arc::clone(text)) else {
            if others.insert(text) {
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
            _ if !others.insert(text) => group.duplicates += 1,
            Entry::Occupied(entry) if alive => {
                let owner = older[*entry.get()].name.clone();
                group.conflicts.push(Conflict { task: entry.key().clone(), owner });
            }
            _ => {}
        }
    }
}

/// One group, before it is decided what it owns. It counts as listing too much, and then as listing
/// nothing, when there is no room for all of it.
fn read_group(stored: StoredGroup, room: &mut usize) -> DesiredGroup {
    let StoredGroup { object, status, unreported_since, predates } = stored;
    let spec = &object.spec;
    let metadata = &object.metadata;
    // What is to be stopped before a deletion is not forgotten for want of room.
    let exceeds = spec.task_ids.len() > *room && metadata.deletion_timestamp.is_none();
    *room = room.saturating_sub(if exceeds { 0 } else { spec.task_ids.len() });
    let deletion_timestamp = metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let present = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let wants_stop = spec.deletion_policy == DeletionPolicy::Stop;
    let finalizer = match (present, deletion_timestamp.is_some(), wants_stop) {
        // Whether it is wanted cannot be read: it stays as it is.
        (true, true, _) if spec.decode_error.is_some() => FinalizerAction::Hold,
        _ if spec.decode_error.is_some() => FinalizerAction::None,
        (false, false, true) => FinalizerAction::Add,
        (true, true, true) if !spec.suspend => FinalizerAction::Hold,
        (true, true, _) | (true, false, false) => FinalizerAction::Remove,
        _ => FinalizerAction::None,
    };
    DesiredGroup {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        run_state: if deletion_timestamp.is_some() { RunState::Stopped } else { spec.desired_state.into() },
        owned: Vec::new(),
        conflicts: Vec::new(),
        invalid: Vec::new(),
        exceeding: if exceeds { spec.task_ids.len() } else { 0 },
        duplicates: 0,
        // Nothing is known of the state that its tasks are to have, except during its deletion.
        suspended: spec.suspend || (spec.decode_error.is_some() && deletion_timestamp.is_none()),
        finalizer,
        deletion_timestamp,
        requested_at: requested_at(metadata),
        status,
        unreported_since,
        predates,
        decode_error: spec.decode_error.clone(),
        object: Arc::clone(&object),
    }
}

fn requested_at(metadata: &ObjectMeta) -> Option<String> {
    let text = metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    Some(truncate(text, 256))
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
        (!same).then(|| resolve(snapshot))
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
    pub fn unanswered_requests(&self) -> Vec<String> {
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

impl DesiredGroup {
    /// No call is sent for the group: it is suspended, or its finalizer has to be there first,
    /// without which it could be gone before its calls are answered.
    pub fn holds_calls(&self) -> bool {
        self.suspended || self.finalizer == FinalizerAction::Add || self.decode_error.is_some()
    }

    /// True once a status of this generation is written.
    pub fn acknowledged(&self) -> bool {
        self.status.observed_generation == self.generation
    }

    /// All listed tasks, duplicates counted once.
    pub fn total(&self) -> usize {
        self.owned.len() + self.conflicts.len() + self.invalid.len() + self.exceeding
    }
}

#[cfg(test)]
mod tests;
