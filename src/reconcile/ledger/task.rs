//! The memory of one task and the rules by which an observation or an outcome changes it.

use std::time::Duration;

use jiff::Timestamp;

use super::{codes, next_attempt};
use crate::time::backoff::after;
use crate::crd::TaskFailure;
use crate::fdi::{Action, RunState, Task};
use crate::reconcile::timings::Timings;

/// With whom a task may share a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cohort {
    /// With anybody.
    #[default]
    Any,
    /// Only with the others of this half of a refused batch.
    Half(u64),
    /// With nobody: it was, or may have been, the cause of a refused batch.
    Alone,
}

/// Failed attempts in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The task's name as the status had it before a restart, else empty: the list knows it.
    pub name: String,
    /// `start` or `stop`.
    pub action: String,
    pub code: String,
    pub message: String,
    pub attempts: u32,
    /// Since when it fails: the longest comes first in the status.
    pub since: Timestamp,
    pub next: Timestamp,
    pub lasting: bool,
}

impl Failure {
    /// Failed for good until something changes: lasting cause, or all quick attempts spent.
    pub fn is_spent(&self, timings: &Timings) -> bool {
        self.lasting || self.attempts >= timings.attempts
    }
}

/// The last call that named the task, while what came of it has not been observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastCall {
    pub action: Action,
    pub ended: Timestamp,
    pub accepted: bool,
}

impl LastCall {
    pub fn accepted(action: Action, ended: Timestamp) -> Self {
        Self { action, ended, accepted: true }
    }

    pub fn unknown(action: Action, ended: Timestamp) -> Self {
        Self { action, ended, accepted: false }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub since: Timestamp,
    pub lists: u32,
    pub last: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub call: Option<LastCall>,
    /// Last observed in this state as wished, with no call outstanding: leaving it again is drift.
    pub settled: Option<RunState>,
    pub failure: Option<Failure>,
    pub missing: Option<Missing>,
    /// When it was found to have been switched by somebody else, within the contest window.
    pub drifts: Vec<Timestamp>,
    pub drifting: bool,
    pub cohort: Cohort,
    pub due_since: Option<Timestamp>,
}

impl Memory {
    /// Of a task of which nothing else is to be remembered.
    pub fn settled(settled: Option<RunState>) -> Self {
        Self { settled, ..Self::default() }
    }

    /// An edit or a request: everything that waits is tried now, counters start anew. A call that may still act stays.
    pub fn clear_waits(&mut self) {
        self.failure = None;
        self.drifts.clear();
        self.missing = None;
        self.cohort = Cohort::Any;
        self.due_since = None;
    }

    /// After a restart: a call against `wish` may have been under way.
    pub fn lost_call(&mut self, wish: RunState, now: Timestamp) {
        let contrary = match wish {
            RunState::Running => Action::Stop,
            RunState::Stopped => Action::Start,
        };
        self.call = Some(LastCall::unknown(contrary, now));
    }

    pub fn restore_failure(
        &mut self,
        stored: &TaskFailure,
        attempts: u32,
        lasting: bool,
        next: Timestamp,
        now: Timestamp,
    ) {
        if stored.code == codes::TASK_NOT_FOUND {
            return;
        }
        self.failure = Some(Failure {
            name: stored.task_name.clone(),
            action: stored.action.clone(),
            code: stored.code.clone(),
            message: stored.message.clone(),
            attempts,
            since: now,
            next,
            lasting,
        });
    }

    /// Takes in what a list that was asked for at `requested` shows of the task. `at_will`: nothing is sent at present.
    pub fn observe(
        &mut self,
        task: Option<&Task>,
        requested: Timestamp,
        wish: RunState,
        at_will: bool,
        now: Timestamp,
        timings: &Timings,
    ) {
        let Some(task) = task else {
            self.settled = None;
            let missing = self.missing.get_or_insert(Missing { since: now, lists: 0, last: None });
            if missing.last != Some(requested) {
                missing.lists += 1;
                missing.last = Some(requested);
            }
            return;
        };
        self.missing = None;
        if self.call.as_ref().is_some_and(|call| requested < call.ended) {
            return;
        }
        self.resolve_call(task.state, wish, now, timings);
        if at_will {
            // People may switch at will while nothing is sent: that is no drift, and no contest.
            self.settled = None;
        }
        if self.call.is_none() {
            self.compare(task.state, wish, now, timings);
        }
    }

    /// Whether a call may still act.
    pub fn outstanding(&self, now: Timestamp, window: Duration) -> bool {
        self.call.as_ref().is_some_and(|call| now < after(call.ended, window))
    }

    /// What an observation that was asked for after the last call says about that call.
    fn resolve_call(&mut self, state: RunState, wish: RunState, now: Timestamp, timings: &Timings) {
        let Some(call) = &self.call else { return };
        if call.action.target() == state {
            self.call = None;
            return;
        }
        let expired = now >= after(call.ended, timings.settle_window);
        let contrary = call.action.target() != wish;
        if expired && call.accepted && !contrary {
            let action = call.action;
            self.call = None;
            let message = format!(
                "the service accepted the {action} but the task did not become {} within {} s; see its runs in ROMA Connect",
                action.target(),
                timings.settle_window.as_secs()
            );
            self.failed(action, codes::NOT_SETTLED, &message, false, now, timings);
        } else if expired || (!call.accepted && !contrary) {
            // A lost call in the wished direction may be repeated: starting twice is starting once. A lost or accepted call
            // against the wish is waited out: it may still act, and nothing contrary is sent into it.
            self.call = None;
        }
    }

    /// Compares the observed state with the wish when no call is outstanding.
    fn compare(&mut self, state: RunState, wish: RunState, now: Timestamp, timings: &Timings) {
        if state == wish {
            self.settled = Some(wish);
            self.failure = None;
            self.drifting = false;
            self.due_since = None;
            return;
        }
        if self.settled.take() == Some(wish) {
            self.drifting = true;
            self.drifts.retain(|&drift| now < after(drift, timings.contest_window));
            self.drifts.push(now);
            if self.drifts.len() >= usize::try_from(timings.contest_corrections).unwrap_or(usize::MAX) {
                let message = format!(
                    "somebody else switched the task back {} times within {} min; find out who, or drop it from the group",
                    self.drifts.len(),
                    timings.contest_window.as_secs() / 60
                );
                self.failed(wish.action(), codes::CONTESTED, &message, true, now, timings);
                // The count in the message stands still while the contest goes on.
                self.drifts.truncate(usize::try_from(timings.contest_corrections).unwrap_or(usize::MAX));
            }
        }
        self.due_since.get_or_insert(now);
    }

    /// One more failed attempt. Once the task counts as failed the same failure changes nothing but the next attempt, so that
    /// slow retries write no status.
    pub fn failed(
        &mut self,
        action: Action,
        code: &str,
        message: &str,
        lasting: bool,
        now: Timestamp,
        timings: &Timings,
    ) {
        let previous = self.failure.take();
        let same = previous.as_ref().filter(|f| f.code == code && f.action == action.as_str());
        let attempts = match (&previous, same) {
            (_, Some(same)) if same.is_spent(timings) => same.attempts,
            (Some(previous), _) => previous.attempts.saturating_add(1),
            (None, _) => 1,
        };
        self.failure = Some(Failure {
            name: previous.as_ref().map(|f| f.name.clone()).unwrap_or_default(),
            action: action.as_str().to_owned(),
            code: code.to_owned(),
            message: same.filter(|f| f.is_spent(timings)).map_or_else(|| message.to_owned(), |f| f.message.clone()),
            attempts,
            since: previous.as_ref().map_or(now, |f| f.since),
            next: next_attempt(attempts, lasting, now, timings),
            lasting,
        });
    }
}
