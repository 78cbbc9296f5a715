//! Step 1, pure: what the groups of one instance want, and which group owns which task.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::{
    DeletionPolicy, FINALIZER, FdiInstance, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupStatus, REQUESTED_AT,
};
use crate::fdi::{RunState, TaskId};

/// Namespace and name of an `FdiInstance`, whether it exists or not: the unit of work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the stores hold about one instance at one moment, with our own last writes where the stores do not show them yet.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub instance: Option<(Arc<FdiInstance>, FdiInstanceStatus)>,
    pub groups: Vec<(Arc<FdiTaskGroup>, FdiTaskGroupStatus)>,
}

/// The wish of one instance and of all its groups, oldest group first.
#[derive(Debug, Clone)]
pub struct Desired {
    instance: Option<InstanceWish>,
    groups: Vec<GroupWish>,
    owners: HashMap<TaskId, usize>,
}

/// The part of an `FdiInstance` that the pure steps need.
#[derive(Debug, Clone)]
pub struct InstanceWish {
    pub object: Arc<FdiInstance>,
    pub status: FdiInstanceStatus,
    pub generation: i64,
    pub requested_at: Option<String>,
}

/// What one group wants.
#[derive(Debug, Clone)]
pub struct GroupWish {
    pub name: String,
    pub uid: String,
    pub generation: i64,
    /// The state its tasks are to have: `Stopped` while a group with `deletionPolicy: Stop` is being deleted.
    pub wish: RunState,
    /// Tasks that this group owns, in the order of the spec.
    pub owned: Vec<TaskId>,
    /// Tasks that it lists but another group owns, with the name of that group.
    pub conflicting: Vec<(TaskId, String)>,
    /// Listed texts that are no task IDs (only possible in objects older than the validation).
    pub invalid: Vec<String>,
    /// How many list entries repeat an earlier one.
    pub duplicates: usize,
    pub suspended: bool,
    pub finalizer: Finalizer,
    pub deleting: Option<Deletion>,
    pub requested_at: Option<String>,
    /// The status that the API server has, or will show once it has caught up with our last write.
    pub status: FdiTaskGroupStatus,
    /// Why the stored spec could not be read.
    pub unreadable: Option<String>,
    /// The object itself, for events and writes.
    pub object: Arc<FdiTaskGroup>,
}

/// What is to be done about our finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finalizer {
    /// As it should be.
    Fine,
    /// `deletionPolicy: Stop` and not there yet.
    Add,
    /// There without need: `Orphan`, or suspended during deletion.
    Remove,
    /// Being deleted with `Stop`: to be removed once its tasks are stopped.
    Held,
}

/// A deletion under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    pub since: Timestamp,
}

/// Reads the wishes out of the snapshot and decides who owns what.
///
/// Of all claimants of an ID the oldest group that is not being deleted owns it (creation time, then name; all groups of
/// an instance share its namespace). A group being deleted owns only what nobody else claims, and only while it still has
/// to stop it.
pub fn desired(snapshot: Snapshot) -> Desired {
    let instance = snapshot.instance.map(|(object, status)| InstanceWish {
        generation: object.metadata.generation.unwrap_or_default(),
        requested_at: requested_at(&object.metadata),
        object,
        status,
    });
    let mut groups: Vec<(GroupWish, Vec<TaskId>)> =
        snapshot.groups.into_iter().map(|(object, status)| read(&object, status)).collect();
    groups.sort_by_cached_key(|(group, _)| {
        let created = group.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (group.deleting.is_some(), created, group.name.clone())
    });

    let mut owners: HashMap<TaskId, usize> = HashMap::new();
    for (index, (group, listed)) in groups.iter().enumerate() {
        let may_own = group.deleting.is_none() || group.finalizer == Finalizer::Held;
        for id in listed.iter().filter(|_| may_own) {
            owners.entry(id.clone()).or_insert(index);
        }
    }
    let names: Vec<String> = groups.iter().map(|(group, _)| group.name.clone()).collect();
    let groups = groups
        .into_iter()
        .enumerate()
        .map(|(index, (mut group, listed))| {
            for id in listed {
                match owners.get(&id) {
                    Some(&owner) if owner == index => group.owned.push(id),
                    Some(&owner) if group.deleting.is_none() => group.conflicting.push((id, names[owner].clone())),
                    _ => {}
                }
            }
            group
        })
        .collect();
    Desired { instance, groups, owners }
}

fn read(object: &Arc<FdiTaskGroup>, status: FdiTaskGroupStatus) -> (GroupWish, Vec<TaskId>) {
    let spec = &object.spec;
    let metadata = &object.metadata;
    let mut seen = HashSet::with_capacity(spec.task_ids.len());
    let mut listed = Vec::with_capacity(spec.task_ids.len());
    let mut invalid = Vec::new();
    let mut duplicates = 0;
    for text in &spec.task_ids {
        if !seen.insert(text) {
            duplicates += 1;
        } else if let Ok(id) = TaskId::new(Arc::clone(text)) {
            listed.push(id);
        } else {
            invalid.push(text.to_string());
        }
    }
    let deleting = metadata.deletion_timestamp.as_ref().map(|time| Deletion { since: time.0 });
    let held = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let wants_stop = spec.deletion_policy == DeletionPolicy::Stop && spec.unreadable.is_none();
    let finalizer = match (held, deleting.is_some(), wants_stop) {
        (false, false, true) => Finalizer::Add,
        (true, true, true) if !spec.suspend => Finalizer::Held,
        (true, true, _) | (true, false, false) => Finalizer::Remove,
        _ => Finalizer::Fine,
    };
    let group = GroupWish {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        wish: if deleting.is_some() { RunState::Stopped } else { spec.desired_state.into() },
        owned: Vec::with_capacity(listed.len()),
        conflicting: Vec::new(),
        invalid,
        duplicates,
        suspended: spec.suspend,
        finalizer,
        deleting,
        requested_at: requested_at(metadata),
        status,
        unreadable: spec.unreadable.clone(),
        object: Arc::clone(object),
    };
    (group, listed)
}

fn requested_at(metadata: &kube::core::ObjectMeta) -> Option<String> {
    let text = metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    Some(crate::crd::cut(text, 256))
}

impl Desired {
    pub fn instance(&self) -> Option<&InstanceWish> {
        self.instance.as_ref()
    }

    /// Oldest first; groups being deleted last.
    pub fn groups(&self) -> &[GroupWish] {
        &self.groups
    }

    /// The group that owns a task, if any claims it.
    pub fn owner(&self, id: &TaskId) -> Option<&GroupWish> {
        self.owners.get(id).map(|&index| &self.groups[index])
    }

    /// Groups whose wish is to be acted upon once their status shows it.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &GroupWish> {
        self.groups.iter().filter(|group| !group.suspended && !group.acknowledged())
    }

    /// The ID as a group lists it.
    pub fn listed(&self, id: &TaskId) -> Option<&TaskId> {
        self.owners.get_key_value(id).map(|(listed, _)| listed)
    }

    /// Every owned task with the group that owns it.
    pub fn owned(&self) -> impl Iterator<Item = (&GroupWish, &TaskId)> {
        self.groups.iter().flat_map(|group| group.owned.iter().map(move |id| (group, id)))
    }

    /// Takes note of statuses written since.
    pub fn acknowledge(&mut self, written: Vec<(String, FdiTaskGroupStatus)>) {
        for (uid, status) in written {
            if let Some(group) = self.groups.iter_mut().find(|group| group.uid == uid) {
                group.status = status;
            }
        }
    }

    /// Values of `requestedAt`, on instance and groups, that their statuses have not echoed yet.
    pub fn unanswered_requests(&self) -> Vec<String> {
        let instance = self.instance.iter().map(|i| (&i.requested_at, &i.status.last_handled_reconcile_at));
        let groups = self.groups.iter().map(|g| (&g.requested_at, &g.status.last_handled_reconcile_at));
        instance
            .chain(groups)
            .filter(|(asked, handled)| asked != handled)
            .filter_map(|(asked, _)| asked.clone())
            .collect()
    }

    /// True when no call may be sent for any group.
    pub fn instance_suspended(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.object.spec.suspend)
    }

    /// Nothing refers to this instance any more.
    pub fn is_empty(&self) -> bool {
        self.instance.is_none() && self.groups.is_empty()
    }
}

impl GroupWish {
    /// True once this generation's status says so; no call is sent for it before.
    pub fn acknowledged(&self) -> bool {
        self.status.observed_generation == self.generation
    }

    /// All listed tasks, duplicates counted once.
    pub fn total(&self) -> usize {
        self.owned.len() + self.conflicting.len() + self.invalid.len()
    }
}
