//! The record of one task, and the rules by which an observation or an outcome changes it.

use std::time::Duration;

use jiff::Timestamp;

use crate::crd::{TaskFailure, failure_codes};
use crate::fdi::{Action, RunState, Task};
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// With which tasks a task may share a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isolation {
    /// With any.
    #[default]
    None,
    /// Only with the others of this half of a refused batch.
    Bisected(u64),
    /// With none: it was, or may have been, the cause of a refused batch.
    Quarantined,
}

/// Why an attempt failed, in a word that users read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCode {
    /// The service's own code.
    Service(String),
    NotSettled,
    OutcomeUnknown,
    Contested,
}

impl FailureCode {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Service(code) => code,
            Self::NotSettled => failure_codes::NOT_SETTLED,
            Self::OutcomeUnknown => failure_codes::OUTCOME_UNKNOWN,
            Self::Contested => failure_codes::CONTESTED,
        }
    }

    /// Reads what a status stores.
    fn parse(text: &str) -> Self {
        match text {
            failure_codes::NOT_SETTLED => Self::NotSettled,
            failure_codes::OUTCOME_UNKNOWN => Self::OutcomeUnknown,
            failure_codes::CONTESTED => Self::Contested,
            code => Self::Service(code.to_owned()),
        }
    }
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    pub action: Action,
    pub code: FailureCode,
    pub message: String,
    /// A further attempt fails too until a person has changed something.
    pub permanent: bool,
    pub at: Timestamp,
}

/// Failed attempts in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The task's name as the status had it before a restart, else empty: the list has it.
    pub name: String,
    pub action: Action,
    pub code: FailureCode,
    pub message: String,
    pub attempts: u32,
    /// Since when it fails: the longest comes first in the status.
    pub since: Timestamp,
    pub next_attempt: Timestamp,
    /// The next attempt may come this much sooner, so that it shares calls and lists with others.
    pub slack: Duration,
    pub permanent: bool,
}

impl Failure {
    /// Counts as failed until something changes: permanent cause, or all quick attempts used up.
    pub fn is_exhausted(&self, timings: &Timings) -> bool {
        self.permanent || self.attempts >= timings.max_attempts
    }

    /// One more failed attempt. Once the task counts as failed the same failure changes nothing but
    /// the next attempt, so that slow retries write no status.
    fn after(previous: Option<Self>, attempt: FailedAttempt, pace: Pace<'_>) -> Self {
        let FailedAttempt { action, code, message, permanent, at } = attempt;
        let timings = pace.timings;
        let exhausted = previous
            .as_ref()
            .filter(|before| before.code == code && before.action == action && before.is_exhausted(timings));
        let attempts = match (&previous, exhausted) {
            (_, Some(same)) => same.attempts,
            (Some(previous), None) => previous.attempts.saturating_add(1),
            (None, None) => 1,
        };
        let slow = permanent || attempts >= timings.max_attempts;
        let wait = pace.jittered(if slow { timings.slow_retry } else { timings.backoff.exponential(attempts) });
        Self {
            message: exhausted.map_or(message, |same| same.message.clone()),
            since: previous.as_ref().map_or(at, |before| before.since),
            name: previous.map(|before| before.name).unwrap_or_default(),
            action,
            code,
            attempts,
            next_attempt: add(at, wait),
            slack: wait / SLACK_PART,
            permanent,
        }
    }
}

/// An attempt may come sooner by this part of its wait.
const SLACK_PART: u32 = 10;

/// How long waits are. The jitter is one for all tasks of an instance, so that what failed together
/// is tried again together; it differs between instances.
#[derive(Debug, Clone, Copy)]
pub struct Pace<'a> {
    pub timings: &'a Timings,
    pub jitter: f64,
}

impl Pace<'_> {
    fn jittered(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.jitter)
    }
}

/// What is known of a call whose effect has not been observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// The service accepted it: it may act until the settle window ends.
    Accepted,
    /// Its response was lost: it may act until the settle window ends, if it acts at all.
    Lost,
    /// The same, and a later list shows no effect: it may be repeated, but not contradicted.
    Unconfirmed,
    /// The service answered with an error: whatever it did is done, and the next list shows it.
    Answered,
}

/// The last call that named the task, while its effect has not been observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsettledCall {
    pub action: Action,
    pub ended: Timestamp,
    pub state: CallState,
}

impl UnsettledCall {
    /// Whether it may act after `now`.
    fn may_still_act(&self, now: Timestamp, window: Duration) -> bool {
        self.state != CallState::Answered && now < add(self.ended, window)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    pub since: Timestamp,
    pub lists: u32,
    last: Timestamp,
}

/// What a list shows of a task, and what is wanted of it.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    pub task: &'a Task,
    /// When the list was requested.
    pub requested_at: Timestamp,
    pub desired: RunState,
    /// No call is sent for the task at present.
    pub suspended: bool,
    /// A predecessor may have sent a call for the task, and this is the first list.
    pub inherited: bool,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskRecord {
    pub call: Option<UnsettledCall>,
    /// Last observed in this state as desired, with no call unsettled: leaving it again is drift.
    pub settled: Option<RunState>,
    pub failure: Option<Failure>,
    /// When it was found to have been switched by somebody else, within the contest window.
    drifts: Vec<Timestamp>,
    pub drifting: bool,
    pub isolation: Isolation,
    /// Calls with this task in a row whose response was lost.
    pub lost_calls: u32,
    pub due_since: Option<Timestamp>,
}

impl Missing {
    /// A list that was requested at `requested_at` does not show the task.
    pub fn after(previous: Option<Self>, requested_at: Timestamp, now: Timestamp) -> Self {
        match previous {
            Some(missing) if missing.last == requested_at => missing,
            Some(missing) => Self { lists: missing.lists.saturating_add(1), last: requested_at, ..missing },
            None => Self { since: now, lists: 1, last: requested_at },
        }
    }
}

impl TaskRecord {
    /// The record of a task of which nothing else is known.
    pub fn settled(settled: Option<RunState>) -> Self {
        Self { settled, ..Self::default() }
    }

    /// An edit or a request: everything that waits is tried now, counters restart. A call that may
    /// still act stays.
    pub fn clear_backoff(&mut self) {
        self.failure = None;
        self.drifts.clear();
        self.isolation = Isolation::None;
        self.lost_calls = 0;
        self.due_since = None;
    }

    /// A call ended. One that the service answered does not end what an earlier one may still do.
    pub fn record_call(&mut self, call: UnsettledCall, window: Duration) {
        let earlier = self.call.as_ref().filter(|earlier| earlier.action == call.action);
        let earlier = earlier.is_some_and(|earlier| earlier.may_still_act(call.ended, window));
        let answered = call.state == CallState::Answered;
        let state = if answered && earlier { CallState::Unconfirmed } else { call.state };
        self.call = Some(UnsettledCall { state, ..call });
    }

    /// A call that this process knows only by what is stored, or that a predecessor may have sent.
    pub fn assume_call(&mut self, action: Action, ended: Timestamp) {
        self.call = Some(UnsettledCall { action, ended, state: CallState::Lost });
    }

    /// Takes over what a status stores about a failure. A task that was missing is counted anew.
    pub fn restore_failure(&mut self, stored: &TaskFailure, now: Timestamp, pace: Pace<'_>) {
        if stored.code == failure_codes::TASK_NOT_FOUND {
            return;
        }
        let Some(action) = Action::parse(&stored.action) else { return };
        let stored_next = stored.next_attempt_time.as_ref().map(|time| time.0);
        let slow = pace.jittered(pace.timings.slow_retry);
        self.failure = Some(Failure {
            name: stored.task_name.clone(),
            action,
            code: FailureCode::parse(&stored.code),
            message: stored.message.clone(),
            attempts: u32::try_from(stored.attempts).unwrap_or(0),
            since: now,
            next_attempt: stored_next.unwrap_or_else(|| add(now, slow)),
            slack: if stored_next.is_some() { pace.timings.backoff.base } else { slow } / SLACK_PART,
            permanent: stored_next.is_none(),
        });
    }

    /// Takes in what a list shows of the task.
    pub fn observe(&mut self, sighting: Sighting<'_>, pace: Pace<'_>) {
        let Sighting { task, requested_at, desired, suspended, inherited, now } = sighting;
        if self.call.as_ref().is_some_and(|call| requested_at < call.ended) {
            return;
        }
        // A state that is not known shows neither what a call did nor a drift.
        let Some(state) = task.state else { return };
        self.resolve_call(state, desired, now, pace);
        if inherited && self.call.is_none() && state != desired {
            let state = CallState::Unconfirmed;
            self.call = Some(UnsettledCall { action: desired.action(), ended: now, state });
        }
        if suspended {
            // People may switch the task while nothing is sent: that is no drift, and no contest.
            self.settled = None;
        }
        let repeatable = |call: &UnsettledCall| call.state == CallState::Unconfirmed && call.action == desired.action();
        if self.call.as_ref().is_none_or(repeatable) {
            self.compare(state, desired, now, pace);
        }
    }

    /// Whether a call may still act.
    pub fn may_still_act(&self, now: Timestamp, window: Duration) -> bool {
        self.call.as_ref().is_some_and(|call| call.may_still_act(now, window))
    }

    /// What an observation that was requested after the last call says about that call.
    fn resolve_call(&mut self, state: RunState, desired: RunState, now: Timestamp, pace: Pace<'_>) {
        let Some(call) = &self.call else { return };
        if call.action.target() == state {
            self.call = None;
            self.lost_calls = 0;
            return;
        }
        let timings = pace.timings;
        let opposing = call.action.target() != desired;
        let expired = !call.may_still_act(now, timings.settle_window);
        if expired && call.state == CallState::Accepted && !opposing {
            let action = call.action;
            self.call = None;
            let message = format!(
                "the service accepted the {action} but the task did not become {} within {} s: see its runs in ROMA Connect",
                action.target(),
                timings.settle_window.as_secs()
            );
            let code = FailureCode::NotSettled;
            self.record_failure(FailedAttempt { action, code, message, permanent: false, at: now }, pace);
        } else if expired {
            self.call = None;
        } else if call.state == CallState::Lost && !opposing {
            // Starting twice is starting once. A call in the opposite direction may still act, so
            // nothing is sent against it before its window has ended.
            self.call = Some(UnsettledCall { state: CallState::Unconfirmed, ..*call });
        }
    }

    /// Compares the observed state with the desired one when no call is unsettled.
    fn compare(&mut self, state: RunState, desired: RunState, now: Timestamp, pace: Pace<'_>) {
        if state == desired {
            self.settled = Some(desired);
            self.failure = None;
            self.drifting = false;
            self.lost_calls = 0;
            self.due_since = None;
            return;
        }
        let timings = pace.timings;
        if self.settled.take() == Some(desired) {
            self.drifting = true;
            self.drifts.retain(|&drift| now < add(drift, timings.contest_window));
            self.drifts.push(now);
            let contested = usize::try_from(timings.contest_corrections).unwrap_or(usize::MAX);
            if self.drifts.len() >= contested {
                let message = format!(
                    "somebody else switched the task back {} times within {} min: find out who, or remove it from the group",
                    self.drifts.len(),
                    timings.contest_window.as_secs() / 60
                );
                let (action, code) = (desired.action(), FailureCode::Contested);
                self.record_failure(FailedAttempt { action, code, message, permanent: true, at: now }, pace);
                // The count in the message stays the same while the contest goes on.
                self.drifts.truncate(contested);
            }
        }
        self.due_since.get_or_insert(now);
    }

    /// One more failed attempt.
    pub fn record_failure(&mut self, attempt: FailedAttempt, pace: Pace<'_>) {
        self.failure = Some(Failure::after(self.failure.take(), attempt, pace));
    }
}
