//! What is remembered per task between reconciles: the last call, failed attempts, drift, isolation. Pure;
//! rebuilt from the statuses after a restart.

pub mod phase;
pub mod task;
mod tasks;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::phase::{Assessment, Basis};
use self::task::{FailedAttempt, Failure, FailureCode, Isolation, Sighting, TaskRecord, UnsettledCall};
use self::tasks::Tasks;
use crate::crd::{Condition, FdiTaskGroupStatus, condition_types, find_condition, reasons};
use crate::fdi::{Batch, BatchResponse, CallError, Class, Outcome, RunState, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::observation::TaskList;
use crate::reconcile::timings::Timings;
use crate::time::backoff::elapsed;

/// The memory of one instance's tasks.
#[derive(Debug)]
pub struct Ledger {
    timings: Arc<Timings>,
    tasks: Tasks,
    groups: HashMap<String, GroupRecord>,
    calls_sent: u64,
    bisections: u64,
    rejected_bisections: u32,
}

#[derive(Debug, Clone)]
struct GroupRecord {
    generation: i64,
    requested_at: Option<String>,
    run_state: RunState,
    /// When the present desired state was first seen.
    last_edit: Timestamp,
    /// When the first of the edits was seen that have not converged yet.
    first_pending_edit: Option<Timestamp>,
    /// Since when another group owns some of its tasks.
    conflict_since: Option<Timestamp>,
}

/// When a group with edits that have not converged was edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edits {
    pub first: Timestamp,
    pub last: Timestamp,
}

/// What a completed call says beyond its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallScope {
    /// The service answered per task, or refused the batch for a task in it.
    Tasks,
    /// The batch was refused as a whole; whether for a task in it or for the instance is not known yet.
    Undetermined,
    /// The cause concerns the whole instance.
    Instance(CallError),
}

impl Ledger {
    pub fn new(timings: Arc<Timings>) -> Self {
        Self {
            timings,
            tasks: Tasks::default(),
            groups: HashMap::new(),
            calls_sent: 0,
            bisections: 0,
            rejected_bisections: 0,
        }
    }

    /// How many batch calls were sent since the start; every third goes to the task that has waited longest.
    pub fn calls_sent(&self) -> u64 {
        self.calls_sent
    }

    /// Compares with today's specs: an edit or `requestedAt` clears the back-offs of that group's
    /// tasks, a group seen for the first time brings its memory along in its status, tasks that nobody
    /// lists any more are forgotten.
    pub fn sync(&mut self, desired: &Desired, now: Timestamp) {
        for group in desired.groups() {
            self.sync_group(group, now);
        }
        let uids: HashSet<&str> = desired.groups().iter().map(|group| group.uid.as_str()).collect();
        self.groups.retain(|uid, _| uids.contains(uid.as_str()));
        let window = self.timings.settle_window;
        // A call that may still act is remembered for its window even when nobody lists the task for a moment.
        self.tasks.retain(|id, record| {
            desired.owner(id).is_some() || record.is_some_and(|record| record.may_still_act(now, window))
        });
    }

    fn sync_group(&mut self, group: &DesiredGroup, now: Timestamp) {
        let known = self.groups.get(&group.uid);
        let edited = known.map_or(!group.acknowledged(), |known| known.generation != group.generation);
        let requested = known.map_or_else(
            || group.requested_at.is_some() && group.requested_at != group.status.last_handled_reconcile_at,
            |known| known.requested_at != group.requested_at,
        );
        if known.is_none() {
            self.restore(group, now);
        }
        if edited || requested {
            for id in &group.owned {
                self.tasks.update(id, TaskRecord::clear_backoff);
            }
        }
        let record = self.groups.entry(group.uid.clone()).or_insert_with(|| GroupRecord {
            generation: group.generation,
            requested_at: group.requested_at.clone(),
            run_state: group.run_state,
            last_edit: now,
            first_pending_edit: edited.then_some(now),
            conflict_since: None,
        });
        if record.generation != group.generation || record.run_state != group.run_state {
            record.first_pending_edit.get_or_insert(now);
            record.last_edit = now;
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

    /// Takes over what a group's status stores from before a restart.
    fn restore(&mut self, group: &DesiredGroup, now: Timestamp) {
        let status = &group.status;
        if !group.acknowledged() {
            // Calls for the previous spec may have been in flight when the process ended: their outcome is unknown.
            if is_true(status, condition_types::RECONCILING) && status.observed_generation >= 0 {
                for id in &group.owned {
                    self.tasks.update(id, |record| record.assume_lost_call(group.run_state, now));
                }
            }
            return;
        }
        for stored in &status.failures {
            let Ok(id) = TaskId::new(stored.task_id.as_str()) else { continue };
            if group.owned.contains(&id) {
                self.tasks.update(&id, |record| record.restore_failure(stored, now, &self.timings));
            }
        }
        if is_true(status, condition_types::READY) {
            for id in &group.owned {
                self.tasks.update(id, |record| record.settled = Some(group.run_state));
            }
        }
    }

    /// Takes in a list: what has settled, what has not in time, what drifted, what is missing.
    pub fn observe(&mut self, desired: &Desired, list: Option<&TaskList>, now: Timestamp) {
        let Some(list) = list else { return };
        for (group, id) in desired.owned() {
            let task = list.task(id);
            if task.is_some_and(|task| task.state == Some(group.run_state))
                && self.tasks.settled_in(id, group.run_state)
            {
                continue;
            }
            let sighting = Sighting {
                task,
                requested_at: list.requested_at,
                desired: group.run_state,
                suspended: group.suspended || desired.instance_suspended(),
                now,
            };
            self.tasks.update(id, |record| record.observe(sighting, &self.timings));
        }
    }

    /// Whether a call is due for some task, or one is unsettled.
    pub fn needs_calls(&self, desired: &Desired, list: Option<&TaskList>, now: Timestamp) -> bool {
        let needs_call = |(group, id): (&DesiredGroup, &TaskId)| {
            let unsettled = self.tasks.get(id).is_some_and(|record| record.call.is_some());
            !group.suspended && (unsettled || self.assess(group, id, list, now).due.is_some())
        };
        !desired.instance_suspended() && desired.owned().any(needs_call)
    }

    /// Takes in a completed call. `ended` is when its response came or was given up.
    pub fn record(&mut self, batch: &Batch, result: &Result<BatchResponse, CallError>, ended: Timestamp) -> CallScope {
        self.calls_sent += 1;
        match result {
            Ok(response) => {
                for (id, outcome) in &response.outcomes {
                    self.record_outcome(batch, id, outcome, ended);
                }
                CallScope::Tasks
            }
            Err(error) => match error.class {
                Class::Split | Class::SplitOnce => self.record_refused_batch(batch, error, ended),
                Class::Unavailable => {
                    for id in batch.ids() {
                        let call = UnsettledCall::unknown(batch.action(), ended);
                        self.tasks.update(id, |record| record.call = Some(call));
                    }
                    CallScope::Instance(error.clone())
                }
                // The service did not act on the request: nothing is lost, nothing is remembered.
                Class::SignIn | Class::Config | Class::Throttled => CallScope::Instance(error.clone()),
            },
        }
    }

    fn record_outcome(&mut self, batch: &Batch, id: &TaskId, outcome: &Outcome, ended: Timestamp) {
        let (action, timings) = (batch.action(), &self.timings);
        if *outcome == Outcome::Accepted {
            self.rejected_bisections = 0;
        }
        self.tasks.update(id, |record| {
            record.isolation = match (outcome, record.isolation) {
                // A poison task stays alone in its batch until it has succeeded once.
                (Outcome::Refused(_) | Outcome::Unknown, Isolation::Quarantined) => Isolation::Quarantined,
                _ => Isolation::None,
            };
            let (code, message, permanent) = match outcome {
                Outcome::Accepted => {
                    record.call = Some(UnsettledCall::accepted(action, ended));
                    return;
                }
                Outcome::Refused(refusal) => {
                    record.call = None;
                    (FailureCode::Service(refusal.code.clone()), refusal.message.clone(), refusal.permanent)
                }
                Outcome::Unknown => {
                    record.call = Some(UnsettledCall::unknown(action, ended));
                    let message = "the response did not say what became of the task; the operator lists it before it sends anything";
                    (FailureCode::OutcomeUnknown, message.to_owned(), false)
                }
            };
            record.record_failure(FailedAttempt { action, code, message, permanent, at: ended }, timings);
        });
    }

    /// The whole batch was refused. Part of it may have been done all the same, so every outcome is
    /// unknown; the batch is halved until the poison task is isolated. For n tasks that takes at most
    /// 2·n − 1 calls, whatever the number of poison tasks.
    ///
    /// A batch whose code is not known to be about a task is split once: when both halves are refused
    /// too and nothing was accepted in between, the cause counts as the instance's; until something is
    /// accepted, each further refusal counts so at once. The bisection goes on all the same, one call
    /// per back-off of the instance: several poison tasks in one batch look like an instance-wide
    /// cause, and the other tasks must not be blocked.
    fn record_refused_batch(&mut self, batch: &Batch, error: &CallError, ended: Timestamp) -> CallScope {
        let undetermined = error.class == Class::SplitOnce;
        let code = FailureCode::Service(error.code.clone());
        let poison = |record: &TaskRecord| record.failure.as_ref().is_some_and(|failure| failure.code == code);
        let known = batch.ids().iter().all(|id| self.tasks.get(id).is_some_and(poison));
        let whole = batch.ids().len() > 1 && batch.ids().iter().all(|id| self.isolation(id) == Isolation::None);
        let mut scope = if undetermined { CallScope::Undetermined } else { CallScope::Tasks };
        if undetermined && !known && (!whole || self.rejected_bisections >= 2) {
            self.rejected_bisections += 1;
            if self.rejected_bisections >= 2 {
                scope = CallScope::Instance(error.clone());
            }
        }
        let action = batch.action();
        let (left, right) = batch.ids().split_at(batch.ids().len() / 2);
        for half in [left, right] {
            self.bisections += 1;
            let isolation = if half.len() == 1 { Isolation::Quarantined } else { Isolation::Bisected(self.bisections) };
            for id in half {
                self.tasks.update(id, |record| {
                    record.call = Some(UnsettledCall::unknown(action, ended));
                    record.isolation = isolation;
                });
            }
        }
        if let [id] = batch.ids() {
            let attempt =
                FailedAttempt { action, code, message: error.message.clone(), permanent: error.permanent, at: ended };
            self.tasks.update(id, |record| record.record_failure(attempt, &self.timings));
        }
        scope
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

    /// When the group's present desired state was first seen.
    pub fn last_edit(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid).map(|group| group.last_edit)
    }

    /// Since when another group owns some of the group's tasks.
    pub fn conflict_since(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid)?.conflict_since
    }

    /// Since when a task is not in the list.
    pub fn missing_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.tasks.get(id)?.missing.as_ref().map(|missing| missing.since)
    }

    /// The failed attempts of a task.
    pub fn failure(&self, id: &TaskId) -> Option<&Failure> {
        self.tasks.get(id)?.failure.as_ref()
    }

    /// With which tasks a task may share a batch.
    pub fn isolation(&self, id: &TaskId) -> Isolation {
        self.tasks.get(id).map_or(Isolation::None, |record| record.isolation)
    }

    /// Since when the task needs its call.
    pub fn due_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.tasks.get(id)?.due_since
    }

    /// The phase of a task, and what it needs next.
    pub fn assess(&self, group: &DesiredGroup, id: &TaskId, list: Option<&TaskList>, now: Timestamp) -> Assessment {
        let basis = Basis { id, desired: group.run_state, edited: self.pending_edits(&group.uid).is_some(), list, now };
        match self.tasks.get(id) {
            Some(record) => record.assess(basis, &self.timings),
            None => TaskRecord::default().assess(basis, &self.timings),
        }
    }
}

fn is_true(status: &FdiTaskGroupStatus, type_: &str) -> bool {
    find_condition(&status.conditions, type_).is_some_and(Condition::is_true)
}

fn reported_conflict(status: &FdiTaskGroupStatus) -> bool {
    find_condition(&status.conditions, condition_types::READY)
        .is_some_and(|ready| ready.reason == reasons::TASKS_CONFLICT)
}
