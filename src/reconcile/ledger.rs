//! What is remembered per task between passes: the last call, failed attempts, drift, suspicion. Pure; rebuilt from the
//! statuses after a restart.

mod memory;
mod standing;
mod tasks;

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::time::backoff::{after, doubling, jittered};
use crate::crd::{ConditionStatus, FdiTaskGroupStatus, reasons, types};
use crate::fdi::{Answer, Batch, CallError, Class, Outcome, RunState, TaskId};
use crate::reconcile::{Desired, GroupWish};
use crate::reconcile::observation::{Sight, View};
use crate::reconcile::timings::Timings;

pub use memory::{Cohort, Failure};
use memory::{LastCall, Memory};
pub use standing::{Bucket, FailedFor, PendingFor, Standing, Urgency};
use tasks::Tasks;

/// Codes of failures that the operator itself finds.
pub mod codes {
    /// An accepted call did not show in the list within the settle window.
    pub const NOT_SETTLED: &str = "NotSettled";
    /// The service's answer did not say what became of the task.
    pub const OUTCOME_UNKNOWN: &str = "OutcomeUnknown";
    /// The task is not in the service's list.
    pub const TASK_NOT_FOUND: &str = "TaskNotFound";
    /// Somebody else keeps switching the task back.
    pub const CONTESTED: &str = "Contested";
    /// The listed text is no task ID.
    pub const INVALID_TASK_ID: &str = "InvalidTaskId";
}

/// The memory of one instance.
#[derive(Debug)]
pub struct Ledger {
    timings: Timings,
    tasks: Tasks,
    groups: HashMap<String, GroupMemory>,
    calls_sent: u64,
    cohorts: u64,
    halves_refused: u32,
}

#[derive(Debug, Clone)]
struct GroupMemory {
    generation: i64,
    requested_at: Option<String>,
    wish: RunState,
    /// When the present wish was first seen.
    edited: Timestamp,
    /// When the first of the edits that have not converged yet was seen; their time to settle is still to be told.
    opened: Option<Timestamp>,
    /// Since when another group owns some of its tasks.
    conflict: Option<Timestamp>,
}

/// What a finished call means beyond its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The service answered per task, or refused the batch for a task in it.
    Answered,
    /// The batch was refused as a whole, and it is not known yet whether for a task in it or for the instance.
    Suspected,
    /// The cause concerns the whole instance.
    Instance(CallError),
}

impl Ledger {
    pub fn new(timings: Timings) -> Self {
        Self { timings, tasks: Tasks::default(), groups: HashMap::new(), calls_sent: 0, cohorts: 0, halves_refused: 0 }
    }

    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// How many batch calls were sent since the start; every third goes to what has waited longest.
    pub fn calls_sent(&self) -> u64 {
        self.calls_sent
    }

    /// Takes note of today's wishes: an edit or `requestedAt` clears the waits of that group's tasks, a group seen for the
    /// first time brings its memory along in its status, tasks that nobody lists any more are forgotten.
    pub fn greet(&mut self, desired: &Desired, now: Timestamp) {
        for group in desired.groups() {
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
                    self.tasks.change(id, Memory::clear_waits);
                }
            }
            let memory = self.groups.entry(group.uid.clone()).or_insert_with(|| GroupMemory {
                generation: group.generation,
                requested_at: group.requested_at.clone(),
                wish: group.wish,
                edited: now,
                opened: edited.then_some(now),
                conflict: None,
            });
            if memory.generation != group.generation || memory.wish != group.wish {
                memory.opened.get_or_insert(now);
                memory.edited = now;
            }
            memory.generation = group.generation;
            memory.wish = group.wish;
            memory.requested_at.clone_from(&group.requested_at);
            memory.conflict = match (group.conflicting.is_empty(), memory.conflict) {
                (true, _) => None,
                (false, Some(since)) => Some(since),
                // A conflict that was told before a restart is no news.
                (false, None) if told_conflict(&group.status) => Some(Timestamp::MIN),
                (false, None) => Some(now),
            };
        }
        let uids: HashSet<&str> = desired.groups().iter().map(|group| group.uid.as_str()).collect();
        self.groups.retain(|uid, _| uids.contains(uid.as_str()));
        let window = self.timings.settle_window;
        // A call that may still act is remembered for its window even when nobody lists the task for a moment.
        self.tasks.retain(|id, memory| {
            desired.owner(id).is_some() || memory.is_some_and(|memory| memory.outstanding(now, window))
        });
    }

    /// The memory that a group's status holds from before a restart.
    fn restore(&mut self, group: &GroupWish, now: Timestamp) {
        let status = &group.status;
        if !group.acknowledged() {
            // Calls of the previous wish may have been under way when the process ended: their outcome is unknown.
            if holds(status, types::RECONCILING) && status.observed_generation >= 0 {
                for id in &group.owned {
                    self.tasks.change(id, |memory| memory.lost_call(group.wish, now));
                }
            }
            return;
        }
        for stored in &status.failures {
            let Ok(id) = TaskId::new(stored.task_id.as_str()) else { continue };
            if !group.owned.contains(&id) {
                continue;
            }
            let next = stored.next_attempt_time.as_ref().map(|time| time.0);
            let lasting = next.is_none();
            let slow = after(now, jittered(self.timings.slow_retry));
            let attempts = u32::try_from(stored.attempts).unwrap_or(0);
            self.tasks.change(&id, |memory| {
                memory.restore_failure(stored, attempts, lasting, next.unwrap_or(slow), now);
            });
        }
        if holds(status, types::READY) {
            for id in &group.owned {
                self.tasks.change(id, |memory| memory.settled = Some(group.wish));
            }
        }
    }

    /// Takes in a new list: what has settled, what has not in time, what drifted, what is missing.
    pub fn observe(&mut self, desired: &Desired, view: Option<&View>, now: Timestamp) {
        let Some(view) = view else { return };
        for (group, id) in desired.owned() {
            let task = view.task(id);
            if task.is_some_and(|task| task.state == group.wish) && self.tasks.settled_in(id, group.wish) {
                continue;
            }
            let at_will = group.suspended || desired.instance_suspended();
            self.tasks.change(id, |memory| {
                memory.observe(task, view.requested, group.wish, at_will, now, &self.timings);
            });
        }
    }

    /// Ends trouble with calls once no task waits for one: nobody could prove otherwise that it is over.
    pub fn settle_calls(&self, desired: &Desired, sight: &mut Sight, now: Timestamp) {
        if sight.call_trouble().is_none() {
            return;
        }
        let waits = |(group, id): (&GroupWish, &TaskId)| {
            let standing = self.standing(group, id, sight.view(), now);
            let outstanding = self.tasks.get(id).is_some_and(|memory| memory.call.is_some());
            !group.suspended && (standing.due.is_some() || outstanding)
        };
        if desired.instance_suspended() || !desired.owned().any(waits) {
            sight.no_call_needed();
        }
    }

    /// Takes in a finished call. `ended` is when its answer came or was given up.
    pub fn record(&mut self, batch: &Batch, result: &Result<Answer, CallError>, ended: Timestamp) -> Verdict {
        self.calls_sent += 1;
        match result {
            Ok(answer) => {
                for (id, outcome) in &answer.outcomes {
                    self.record_outcome(batch, id, outcome, ended);
                }
                Verdict::Answered
            }
            Err(error) => match error.class {
                Class::Split | Class::SplitOnce => self.record_refused_batch(batch, error, ended),
                Class::Unavailable => {
                    for id in batch.ids() {
                        self.tasks.change(id, |memory| memory.call = Some(LastCall::unknown(batch.action(), ended)));
                    }
                    Verdict::Instance(error.clone())
                }
                // The request was not acted upon: nothing is lost, nothing is remembered.
                Class::SignIn | Class::Config | Class::Throttled => Verdict::Instance(error.clone()),
            },
        }
    }

    fn record_outcome(&mut self, batch: &Batch, id: &TaskId, outcome: &Outcome, ended: Timestamp) {
        let (action, timings) = (batch.action(), &self.timings);
        if *outcome == Outcome::Accepted {
            self.halves_refused = 0;
        }
        self.tasks.change(id, |memory| {
            memory.cohort = match (outcome, memory.cohort) {
                // A culprit travels alone until it has succeeded once.
                (Outcome::Refused(_) | Outcome::Unknown, Cohort::Alone) => Cohort::Alone,
                _ => Cohort::Any,
            };
            match outcome {
                Outcome::Accepted => memory.call = Some(LastCall::accepted(action, ended)),
                Outcome::Refused(refusal) => {
                    memory.call = None;
                    memory.failed(action, &refusal.code, &refusal.message, refusal.lasting, ended, timings);
                }
                Outcome::Unknown => {
                    memory.call = Some(LastCall::unknown(action, ended));
                    let message =
                        "the answer did not say what became of the task; it is looked at before anything is sent";
                    memory.failed(action, codes::OUTCOME_UNKNOWN, message, false, ended, timings);
                }
            }
        });
    }

    /// The whole batch was refused. Part of it may have been done all the same, so every outcome is unknown; the batch is
    /// halved until the culprit stands alone. For n tasks that takes at most 2·n − 1 calls, whatever the number of culprits.
    ///
    /// A code that is not known to be about a task is split once: when both halves are refused too and nothing got through
    /// in between, the cause is taken for the instance's; until something gets through, each further refusal says so at
    /// once. The halving goes on all the same, one call for each wait of the instance: several culprits in one batch look
    /// like an instance-wide cause, and their company must not wait for ever.
    fn record_refused_batch(&mut self, batch: &Batch, error: &CallError, ended: Timestamp) -> Verdict {
        let suspected = error.class == Class::SplitOnce;
        let culprit = |memory: &Memory| memory.failure.as_ref().is_some_and(|failure| failure.code == error.code);
        let known = batch.ids().iter().all(|id| self.tasks.get(id).is_some_and(culprit));
        let whole = batch.ids().len() > 1 && batch.ids().iter().all(|id| self.cohort(id) == Cohort::Any);
        let mut verdict = if suspected { Verdict::Suspected } else { Verdict::Answered };
        if suspected && !known && (!whole || self.halves_refused >= 2) {
            self.halves_refused += 1;
            if self.halves_refused >= 2 {
                verdict = Verdict::Instance(error.clone());
            }
        }
        if let [id] = batch.ids() {
            let lasting = crate::fdi::is_lasting(&error.code);
            self.tasks.change(id, |memory| {
                memory.call = Some(LastCall::unknown(batch.action(), ended));
                memory.cohort = Cohort::Alone;
                memory.failed(batch.action(), &error.code, &error.message, lasting, ended, &self.timings);
            });
            return verdict;
        }
        let (left, right) = batch.ids().split_at(batch.ids().len() / 2);
        for half in [left, right] {
            self.cohorts += 1;
            let cohort = if half.len() == 1 { Cohort::Alone } else { Cohort::Half(self.cohorts) };
            for id in half {
                self.tasks.change(id, |memory| {
                    memory.call = Some(LastCall::unknown(batch.action(), ended));
                    memory.cohort = cohort;
                });
            }
        }
        verdict
    }

    /// Whether the accepted call for this task put right what somebody else had changed. Told once.
    pub fn take_corrected(&mut self, id: &TaskId) -> bool {
        self.tasks.change(id, |memory| std::mem::take(&mut memory.drifting))
    }

    /// The group has converged: how long after its edit, told once per edit.
    pub fn take_converged(&mut self, uid: &str, now: Timestamp) -> Option<std::time::Duration> {
        let group = self.groups.get_mut(uid)?;
        group.opened.take().map(|_| crate::time::backoff::between(group.edited, now))
    }

    /// When the first of the group's edits that are still on their way was seen.
    pub fn opened(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid)?.opened
    }

    /// When the group's present wish was first seen.
    pub fn edited(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid).map(|group| group.edited)
    }

    /// Since when another group owns some of the group's tasks.
    pub fn conflict_since(&self, uid: &str) -> Option<Timestamp> {
        self.groups.get(uid)?.conflict
    }

    /// Since when a task is not in the list.
    pub fn missing_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.tasks.get(id)?.missing.as_ref().map(|missing| missing.since)
    }

    /// The failed attempts of a task.
    pub fn failure(&self, id: &TaskId) -> Option<&Failure> {
        self.tasks.get(id)?.failure.as_ref()
    }

    /// With whom the task may share a batch.
    pub fn cohort(&self, id: &TaskId) -> Cohort {
        self.tasks.get(id).map_or(Cohort::Any, |memory| memory.cohort)
    }

    /// Since when the task waits for its call.
    pub fn due_since(&self, id: &TaskId) -> Option<Timestamp> {
        self.tasks.get(id)?.due_since
    }

    /// Where a task stands now.
    pub fn standing(&self, group: &GroupWish, id: &TaskId, view: Option<&View>, now: Timestamp) -> Standing {
        let edited = self.opened(&group.uid).is_some();
        match self.tasks.get(id) {
            Some(memory) => memory.standing(id, group.wish, edited, view, now, &self.timings),
            None => Memory::default().standing(id, group.wish, edited, view, now, &self.timings),
        }
    }
}

fn holds(status: &FdiTaskGroupStatus, type_: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == type_ && c.status == ConditionStatus::True)
}

fn told_conflict(status: &FdiTaskGroupStatus) -> bool {
    status.conditions.iter().any(|c| c.type_ == types::READY && c.reason == reasons::TASKS_CONFLICT)
}

/// The next attempt after the n-th failed one: soon at first, slowly once it is lasting or spent.
fn next_attempt(attempts: u32, lasting: bool, now: Timestamp, timings: &Timings) -> Timestamp {
    let spent = lasting || attempts >= timings.attempts;
    after(now, jittered(if spent { timings.slow_retry } else { doubling(attempts, timings) }))
}
