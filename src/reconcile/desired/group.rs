//! What one group wants, before and after it is decided what it owns.

use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::{CachedGroup, DeletionPolicy, FINALIZER, FdiTaskGroupStatus};
use crate::fdi::{Attributes, RunState, TaskId};
use crate::reconcile::selection::{self, ChoosingGroup, Selection, Selections, UnresolvedName};

/// One group as it is stored.
#[derive(Debug, Clone)]
pub struct StoredGroup {
    pub object: Arc<CachedGroup>,
    pub status: Arc<FdiTaskGroupStatus>,
    /// Since when no status of the group could be written.
    pub unreported_since: Option<Timestamp>,
    /// It existed before this process watched it: a predecessor may have sent calls for it.
    pub predates: bool,
}

/// What one group wants.
#[derive(Debug, Clone)]
pub struct DesiredGroup {
    pub name: String,
    pub uid: Arc<str>,
    pub generation: i64,
    /// The state its tasks are to have: `Stopped` while a group with `deletionPolicy: Stop` is
    /// being deleted.
    pub run_state: RunState,
    /// What its names and its selector choose; `None` where it has neither, or while no list was
    /// compared with them.
    pub selection: Option<Arc<Selection>>,
    /// Tasks that its selector chooses and another group owns.
    pub overridden: usize,
    /// Tasks that this group owns: by ID in the order of the spec, then by name, then selected.
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
    pub requested_at: Option<Box<str>>,
    /// The status that the API server has, or will show once it has caught up with our last write.
    pub status: Arc<FdiTaskGroupStatus>,
    /// Since when no status of the group could be written.
    pub unreported_since: Option<Timestamp>,
    /// It existed before this process watched it: a predecessor may have sent calls for it.
    pub predates: bool,
    /// Why the stored spec could not be decoded.
    pub decode_error: Option<Box<str>>,
    /// The object itself, for events and writes.
    pub object: Arc<CachedGroup>,
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

/// One group, before it is decided what it owns. It counts as listing too much, and then as listing
/// nothing, when there is no room for all of it.
pub(super) fn read(stored: StoredGroup, selections: &Selections, room: &mut usize) -> DesiredGroup {
    let StoredGroup { object, status, unreported_since, predates } = stored;
    let spec = &object.spec;
    let metadata = &object.metadata;
    // What is to be stopped before a deletion is not forgotten for want of room.
    let listed = spec.task_ids.len() + spec.task_names.len();
    let exceeds = listed > *room && metadata.deletion_timestamp.is_none();
    *room = room.saturating_sub(if exceeds { 0 } else { listed });
    let deletion_timestamp = metadata.deletion_timestamp;
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
    let uid = Arc::clone(&metadata.uid);
    let generation = metadata.generation;
    DesiredGroup {
        name: metadata.name.to_string(),
        selection: selections.get(&uid, generation).cloned(),
        uid,
        generation,
        overridden: 0,
        run_state: if deletion_timestamp.is_some() { RunState::Stopped } else { spec.desired_state.into() },
        owned: Vec::new(),
        conflicts: Vec::new(),
        invalid: Vec::new(),
        exceeding: if exceeds { listed } else { 0 },
        duplicates: 0,
        // Nothing is known of the state that its tasks are to have, except during its deletion.
        suspended: spec.suspend || (spec.decode_error.is_some() && deletion_timestamp.is_none()),
        finalizer,
        deletion_timestamp,
        requested_at: metadata.requested_at.clone(),
        status,
        unreported_since,
        predates,
        decode_error: spec.decode_error.clone(),
        object: Arc::clone(&object),
    }
}

impl DesiredGroup {
    /// No call is sent for the group: it is suspended, or its finalizer has to be there first,
    /// without which it could be gone before its calls are answered.
    pub fn holds_calls(&self) -> bool {
        self.suspended || self.finalizer == FinalizerAction::Add || self.decode_error.is_some()
    }

    /// The store shows the status that was last written, and a next one can be written.
    pub fn is_reported(&self) -> bool {
        let shown = self.object.status.as_ref().is_some_and(|stored| Arc::ptr_eq(stored, &self.status));
        shown && self.unreported_since.is_none()
    }

    /// True once a status of this generation is written.
    pub fn acknowledged(&self) -> bool {
        self.status.observed_generation == self.generation
    }

    pub(super) fn as_choosing(&self) -> ChoosingGroup<'_> {
        ChoosingGroup { uid: &self.uid, generation: self.generation, spec: &self.object.spec, status: &self.status }
    }

    /// What a list has to keep of tasks, so that this group can choose.
    pub fn attributes(&self) -> Attributes {
        selection::attributes(&self.object.spec)
    }

    /// What its names and its selector choose is not known: no list was compared with this spec.
    pub fn awaits_selection(&self) -> bool {
        self.object.spec.chooses_from_list() && self.selection.is_none()
    }

    /// The names that stand for no task.
    pub fn unresolved(&self) -> &[UnresolvedName] {
        self.selection.as_ref().filter(|_| self.exceeding == 0).map_or(&[], |selection| &selection.unresolved)
    }

    /// All its tasks, and all that it lists and does not own, duplicates counted once.
    pub fn total(&self) -> usize {
        self.owned.len() + self.conflicts.len() + self.invalid.len() + self.unresolved().len() + self.exceeding
    }
}
