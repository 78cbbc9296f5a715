//! What is remembered per task between reconciles: the last call, failed attempts, drift,
//! isolation. Pure; rebuilt from the statuses after a restart.

pub mod calls;
pub mod history;
mod inheritance;
pub mod phase;
mod restore;
mod runs;
pub mod task;
mod tasks;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::inheritance::Inheritance;
use self::phase::{Assessment, Basis};
use self::runs::{Cause, FailedRun, FailedRuns};
use self::task::{Failure, Isolation, Missing, Pace, Sighting, TaskRecord};
use self::tasks::Tasks;
use crate::crd::{ConditionStatus, FdiTaskGroupStatus, HistoryEntry, condition_types, find_condition, reasons};
use crate::fdi::{RunState, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::observation::TaskList;
use crate::reconcile::timings::Timings;
use crate::time::backoff::elapsed;

/// The memory of one instance's tasks.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Ledger {
    timings: Arc<Timings>,
    /// One factor for all waits of tasks.
    jitter: f64,
    /// This process has sent calls that it does not remember: of every group it may have.
    resumed: bool,
    tasks: Tasks,
    missing: BTreeMap<TaskId, Missing>,
    failed_runs: FailedRuns,
    groups: BTreeMap<Arc<str>, Box<GroupRecord>>,
    calls_sent: u64,
    bisections: u64,
    rejected_bisections: u32,
}

#[derive(Debug, Clone)]
struct GroupRecord {
    generation: i64,
    requested_at: Option<Box<str>>,
    run_state: RunState,
    /// A predecessor may have sent calls for it, and no list has been seen since.
    inherited: bool,
    /// A run of one of its tasks was observed.
    ran: bool,
    /// Calls that the status may not tell yet, newest first.
    recent: Vec<HistoryEntry>,
    /// When the present desired state was first seen.
    last_edit: Timestamp,
    /// When the first of the edits was seen that have not converged yet.
    first_pending_edit: Option<Timestamp>,
    /// Since when another group owns some of its tasks.
    conflict_since: Option<Timestamp>,
    /// When its deletion was first seen, on this process' clock.
    deletion_seen: Option<Timestamp>,
    /// What is known of tasks that names or a selector are still to choose.
    inheritance: Option<Box<Inheritance>>,
}

/// When a group with edits that have not converged was edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edits {
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Ledger {
    /// `resumed`: after a crash within this process, which has forgotten the calls it sent.
    pub fn new(timings: Arc<Timings>, resumed: bool) -> Self {
        Self {
            jitter: (timings.jitter)(),
            timings,
            resumed,
            tasks: Tasks::default(),
            missing: BTreeMap::new(),
            failed_runs: FailedRuns::default(),
            groups: BTreeMap::new(),
            calls_sent: 0,
            bisections: 0,
            rejected_bisections: 0,
        }
    }

    /// How many batch calls were sent since the start; every third goes to the task that has waited
    /// longest.
    pub fn calls_sent(&self) -> u64 {
        self.calls_sent
    }

    /// Compares with today's specs: an edit or `requestedAt` clears the back-offs of that group's
    /// tasks, a group seen for the first time brings its memory along in its status, tasks that
    /// nobody lists any more are forgotten.
    pub fn sync(&mut self, desired: &Desired, now: Timestamp) {
        for group in desired.groups() {
            self.sync_group(group, now);
        }
        if self.groups.len() > desired.groups().len() {
            let uids: HashSet<&str> = desired.groups().iter().map(|group| &*group.uid).collect();
            self.groups.retain(|uid, _| uids.contains(&**uid));
        }
        let window = self.timings.settle_window;
        // A call that may still act is remembered for its window even when nobody lists the task
        // for a moment.
        self.tasks.retain(|id, record| {
            desired.owner(id).is_some() || record.is_some_and(|record| record.may_still_act(now, window))
        });
        self.missing.retain(|id, _| desired.owner(id).is_some());
        self.failed_runs.retain(|id| desired.owner(id).is_some());
        self.resumed = false;
    }

    fn sync_group(&mut self, group: &DesiredGroup, now: Timestamp) {
        let known = self.groups.get(&group.uid);
        let edited = known.map_or(!group.acknowledged(), |known| known.generation != group.generation);
        let requested = known.map_or_else(
            || group.requested_at.is_some() && group.requested_at != group.status.last_handled_reconcile_at,
            |known| known.requested_at != group.requested_at,
        );
        let flipped_unobserved = known.is_some_and(|known| known.inherited && known.run_state != group.run_state);
        let mut inheritance = match known {
            None => Some(Inheritance::read(group, self.resumed, &self.timings, now)),
            Some(known) => known.inheritance.as_deref().cloned(),
        };
        if let Some(inheritance) = &mut inheritance {
            if known.is_some() && (edited || requested) {
                inheritance.failures.clear();
            }
            if flipped_unobserved {
                inheritance.opposing_call = Some(now);
            }
            let is_new = |id: &&TaskId| known.is_none() || self.tasks.is_unknown(id);
            let ids = group.owned.iter().filter(is_new).cloned().collect();
            self.inherit(group, inheritance, &ids, now);
        }
        if flipped_unobserved {
            self.assume_opposing_call(group, now);
        }
        if edited || requested {
            for id in &group.owned {
                self.tasks.update(id, TaskRecord::clear_backoff);
                self.missing.remove(id);
            }
        }
        let record = self.groups.entry(Arc::clone(&group.uid)).or_insert_with(|| {
            Box::new(GroupRecord {
                generation: group.generation,
                requested_at: group.requested_at.clone(),
                run_state: group.run_state,
                inherited: group.predates || self.resumed,
                ran: reported_runs(&group.status),
                recent: Vec::new(),
                last_edit: now,
                first_pending_edit: edited.then_some(now),
                conflict_since: None,
                deletion_seen: None,
                inheritance: None,
            })
        });
        record.inheritance = inheritance.filter(|_| group.awaits_selection()).map(Box::new);
        if group.deletion_timestamp.is_some() {
            record.deletion_seen.get_or_insert(now);
        }
        if record.generation != group.generation || record.run_state != group.run_state {
            record.first_pending_edit.get_or_insert(now);
            record.last_edit = now;
        }
        if !record.recent.is_empty() {
            history::forget_told(&mut record.recent, &group.status.history, now);
        }
        record.generation = group.generation;
        record.run_state = group.run_state;
        record.requested_at.clone_from(&group.requested_at);
        record.conflict_since = match (group.conflicts.is_empty(), record.conflict_since) {
            (true, _) => None,
            (false, Some(since)) => Some(since),
            // A conflict that was reported before a restart needs no grace again.
            (false, None) if reported_conflict(&group.status) => Some(Timestamp::MIN),
            (false, None) => Some(now),
        };
    }

    /// Takes in a list: what has settled, what has not in time, what drifted, what is missing.
    pub fn observe(&mut self, desired: &Desired, list: Option<&TaskList>, now: Timestamp) {
        let Some(list) = list else { return };
        let mut ran: Option<&DesiredGroup> = None;
        for (group, id) in desired.owned() {
            let listed = list.task(id);
            if self.failed_runs.observe(id, listed, now) && ran.is_none_or(|ran| ran.uid != group.uid) {
                ran = Some(group);
                self.groups.get_mut(&group.uid).into_iter().for_each(|group| group.ran = true);
            }
            let Some(task) = listed else {
                let missing = Missing::after(self.missing.get(id).copied(), list.requested_at, now);
                self.missing.insert(id.clone(), missing);
                self.tasks.update(id, |record| record.settled = None);
                continue;
            };
            if !self.missing.is_empty() {
                self.missing.remove(id);
            }
            if task.state == Some(group.run_state) && self.tasks.settled_in(id, group.run_state) {
                continue;
            }
            let sighting = Sighting {
                task,
                requested_at: list.requested_at,
                desired: group.run_state,
                suspended: group.suspended || desired.instance_suspended(),
                inherited: self.groups.get(&group.uid).is_some_and(|group| group.inherited),
                now,
            };
            let pace = Pace { timings: &self.timings, jitter: self.jitter };
            self.tasks.update(id, |record| record.observe(sighting, pace));
        }
        self.groups.values_mut().for_each(|group| group.inherited = false);
        self.tasks.compact();
    }

    /// Whether a call is due for some task, or one is unsettled. What became of the call for a task
    /// that is gone no list will show.
    pub fn needs_calls(&self, desired: &Desired, list: Option<&TaskList>, now: Timestamp) -> bool {
        let needs_calls = |group: &DesiredGroup| {
            let assess = self.assessor(group, list, now);
            let unsettled = |id: &TaskId| self.tasks.get(id).is_some_and(|record| record.call.is_some());
            let needs_call = |id: &TaskId| {
                let assessment = assess(id);
                assessment.due.is_some() || (assessment.listed && unsettled(id))
            };
            !group.suspended && group.owned.iter().any(needs_call)
        };
        !desired.instance_suspended() && desired.groups().iter().any(needs_calls)
    }

    /// Whether nothing is remembered that time or another list with the same tasks would change.
    pub fn is_settled(&self) -> bool {
        let told =
            |group: &GroupRecord| group.recent.is_empty() && group.first_pending_edit.is_none() && !group.inherited;
        self.missing.is_empty() && !self.tasks.has_others() && self.groups.values().all(|group| told(group))
    }

    /// Whether the accepted call for this task corrected what somebody else had changed. True once.
    pub fn take_drift_corrected(&mut self, id: &TaskId) -> bool {
        self.tasks.update(id, |record| std::mem::take(&mut record.drifting))
    }

    /// The group has converged: how long after its last edit. `Some` once per edit.
    pub fn take_convergence_time(&mut self, uid: &str, now: Timestamp) -> Option<std::time::Duration> {
        let group = self.groups.get_mut(uid)?;
        group.first_pending_edit.take().map(|_| elapsed(group.last_edit, now))
    }

    /// The group's edits that have not converged yet.
    pub fn pending_edits(&self, uid: &str) -> Option<Edits> {
        let group = self.groups.get(uid)?;
        group.first_pending_edit.map(|first| Edits { first, last: group.last_edit })
    }

    /// Since when another group owns some of the group's tasks.
    pub fn conflict_since(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid)?.conflict_since
    }

    /// Since when a task is not in the list.
    pub fn missing_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.missing.get(id).map(|missing| missing.since)
    }

    /// When the deletion of a group was first seen.
    pub fn deletion_seen(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid)?.deletion_seen
    }

    /// When the last call ended that may still act on a task of the group against what is desired.
    pub fn opposing_call(&self, group: &DesiredGroup, now: Timestamp) -> Option<Timestamp> {
        let calls = group.owned.iter().filter_map(|id| self.tasks.get(id)).filter_map(|record| {
            let call = record.call.as_ref()?;
            let opposing = call.action.target() != group.run_state;
            (opposing && record.may_still_act(now, self.timings.settle_window)).then_some(call.ended)
        });
        let unassigned = self.groups.get(&group.uid).and_then(|group| group.inheritance.as_ref()?.opposing_call);
        calls.chain(unassigned).max()
    }

    /// The failed attempts of a task.
    pub fn failure(&self, id: &TaskId) -> Option<&Failure> {
        self.tasks.get(id)?.failure.as_ref()
    }

    /// The failed run of a task, if the latest one failed.
    pub fn failed_run(&self, id: &TaskId) -> Option<&FailedRun> {
        self.failed_runs.get(id)
    }

    /// Whether a task fails its runs and its log was not requested for that.
    pub fn lacks_cause(&self, id: &TaskId) -> bool {
        self.failed_runs.get(id).is_some_and(|run| run.cause == Cause::NotRequested)
    }

    /// Takes in why a run failed; `None`: nobody says it.
    pub fn record_cause(&mut self, id: &TaskId, cause: Option<String>) {
        self.failed_runs.record_cause(id, cause);
    }

    /// Whether a run of one of the group's tasks was observed.
    pub fn has_run(&self, uid: &str) -> bool {
        self.groups.get(uid).is_some_and(|group| group.ran)
    }

    /// With which tasks a task may share a batch.
    pub fn isolation(&self, id: &TaskId) -> Isolation {
        self.tasks.get(id).map_or(Isolation::None, |record| record.isolation)
    }

    /// Since when the task needs its call.
    pub fn due_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.tasks.get(id)?.due_since
    }

    /// The phase of each task of a group, and what it needs next.
    pub fn assessor<'a>(
        &'a self,
        group: &DesiredGroup,
        list: Option<&'a TaskList>,
        now: Timestamp,
    ) -> impl Fn(&TaskId) -> Assessment + use<'a> {
        let edited = self.pending_edits(&group.uid).is_some();
        let (desired, deleting) = (group.run_state, group.deletion_timestamp.is_some());
        let unknown = TaskRecord::default();
        move |id| {
            let (missing, task) = (self.missing.get(id).copied(), list.and_then(|list| list.task(id)));
            let basis = Basis { task, desired, edited, deleting, missing, list, now };
            let assessment = self.tasks.get(id).unwrap_or(&unknown).assess(basis, &self.timings);
            let on = task.is_some_and(|task| task.state == Some(RunState::Running));
            Assessment { listed: task.is_some(), on, ..assessment }
        }
    }
}

fn reported_runs(status: &FdiTaskGroupStatus) -> bool {
    find_condition(&status.conditions, condition_types::RUNS_HEALTHY)
        .is_some_and(|runs| runs.status != ConditionStatus::Unknown)
}

fn reported_conflict(status: &FdiTaskGroupStatus) -> bool {
    find_condition(&status.conditions, condition_types::READY)
        .is_some_and(|ready| ready.reason == reasons::TASKS_CONFLICT)
}
