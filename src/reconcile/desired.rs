//! Step 1, pure: what the groups of one instance want, and which group owns which task.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

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
pub fn resolve(snapshot: Snapshot) -> Desired {
    let instance = snapshot.instance.map(|(object, status)| DesiredInstance {
        generation: object.metadata.generation.unwrap_or_default(),
        requested_at: requested_at(&object.metadata),
        object,
        status,
    });
    let mut stored = snapshot.groups;
    stored.sort_by_cached_key(|group| {
        let metadata = &group.object.metadata;
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        (metadata.deletion_timestamp.is_some(), created, metadata.name.clone())
    });
    let mut room = CLAIMED_MAX;
    let groups: Vec<(DesiredGroup, Vec<TaskId>)> =
        stored.into_iter().map(|group| parse_group(group, &mut room)).collect();

    let mut owners: HashMap<TaskId, usize> = HashMap::new();
    for (index, (group, claimed)) in groups.iter().enumerate() {
        let may_own = group.deletion_timestamp.is_none() || group.finalizer == FinalizerAction::Hold;
        for id in claimed.iter().filter(|_| may_own) {
            owners.entry(id.clone()).or_insert(index);
        }
    }
    let names: Vec<String> = groups.iter().map(|(group, _)| group.name.clone()).collect();
    let groups = groups
        .into_iter()
        .enumerate()
        .map(|(index, (mut group, claimed))| {
            for task in claimed {
                match owners.get(&task) {
                    Some(&owner) if owner == index => group.owned.push(task),
                    Some(&owner) if group.deletion_timestamp.is_none() => {
                        group.conflicts.push(Conflict { task, owner: names[owner].clone() });
                    }
                    _ => {}
                }
            }
            group
        })
        .collect();
    Desired { instance, groups, owners }
}

/// One group and the IDs that it claims, as far as there is room for them.
fn parse_group(stored: StoredGroup, room: &mut usize) -> (DesiredGroup, Vec<TaskId>) {
    let StoredGroup { object, status, unreported_since, predates } = stored;
    let spec = &object.spec;
    let metadata = &object.metadata;
    // What is to be stopped before a deletion is not forgotten for want of room.
    let exceeds = spec.task_ids.len() > *room && metadata.deletion_timestamp.is_none();
    let listed = if exceeds { &[] } else { &spec.task_ids[..] };
    *room = room.saturating_sub(listed.len());
    let mut seen = HashSet::with_capacity(listed.len());
    let mut claimed = Vec::with_capacity(listed.len());
    let mut invalid = Vec::new();
    let mut duplicates = 0;
    for text in listed {
        if !seen.insert(text) {
            duplicates += 1;
        } else if let Ok(id) = TaskId::new(Arc::clone(text)) {
            claimed.push(id);
        } else {
            invalid.push(text.to_string());
        }
    }
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
    let group = DesiredGroup {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        run_state: if deletion_timestamp.is_some() { RunState::Stopped } else { spec.desired_state.into() },
        owned: Vec::with_capacity(claimed.len()),
        conflicts: Vec::new(),
        invalid,
        exceeding: if exceeds { spec.task_ids.len() } else { 0 },
        duplicates,
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
    };
    (group, claimed)
}

fn requested_at(metadata: &kube::core::ObjectMeta) -> Option<String> {
    let text = metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    Some(truncate(text, 256))
}

impl Desired {
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
