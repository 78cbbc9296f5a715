//! The phase of one task: what the status says of it, whether a call is due, and when to list
//! again. One assessment for `plan`, `status` and `schedule`, so that they cannot disagree.

use std::time::Duration;

use jiff::Timestamp;

use crate::fdi::{RunState, Task};
use crate::reconcile::ledger::task::{CallState, Failure, FailureCode, Missing, TaskRecord, UnsettledCall};
use crate::reconcile::observation::TaskList;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assessment {
    pub phase: Phase,
    /// A call for it is due now.
    pub due: Option<Due>,
    /// When it is to be listed again, beside the regular poll.
    pub check_at: Option<Timestamp>,
    /// The last list has the task.
    pub listed: bool,
    /// The last list shows it running.
    pub on: bool,
}

/// A call that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now(Priority),
    /// Only together with another: it is soon enough.
    WithOthers,
}

/// The count of `status.tasks` that an owned task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Ready,
    Pending(PendingReason),
    Failed(FailedReason),
}

/// What a pending task needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingReason {
    /// The first observation, or one that is newer than its last call.
    Observation,
    /// Its call.
    Call,
    /// A list that shows what became of its call, whose response was lost.
    Confirmation,
    /// The effect of its call.
    Settling,
    /// The end of the time in which a call in the opposite direction may still act.
    OpposingCall,
    /// The next attempt.
    Retry,
    /// Its appearance in the list.
    Listing,
    /// A status that the operator knows.
    UnknownState,
}

/// Why a task counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedReason {
    Refused,
    Contested,
    NotFound,
    /// Several tasks have the name.
    Ambiguous,
}

/// The order of calls: groups just edited, then drift, then retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Edit,
    Drift,
    Retry,
}

impl Assessment {
    /// Nothing is due.
    pub fn settled(phase: Phase) -> Self {
        Self { phase, due: None, check_at: None, listed: false, on: false }
    }

    fn until(phase: Phase, check_at: Timestamp) -> Self {
        Self { phase, due: None, check_at: Some(check_at), listed: false, on: false }
    }
}

/// What an assessment is made from beside the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis<'a> {
    /// As the list shows it.
    pub task: Option<&'a Task>,
    pub desired: RunState,
    /// Its group has an edit that has not converged.
    pub edited: bool,
    /// Its group is being deleted.
    pub deleting: bool,
    pub missing: Option<Missing>,
    pub list: Option<&'a TaskList>,
    pub now: Timestamp,
}

impl TaskRecord {
    pub(super) fn assess(&self, basis: Basis<'_>, timings: &Timings) -> Assessment {
        let Basis { task, desired, edited, list, now, .. } = basis;
        let Some(list) = list else { return Assessment::settled(Phase::Pending(PendingReason::Observation)) };
        let Some(task) = task else {
            let pending = Assessment::settled(Phase::Pending(PendingReason::Listing));
            return basis.missing.map_or(pending, |missing| missing.assess(list, basis.deleting, timings, now));
        };
        let Some(state) = task.state else { return Assessment::settled(Phase::Pending(PendingReason::UnknownState)) };
        if let Some(call) = &self.call
            && let Some(phase) = self.unsettled_phase(call, (state, desired), list.requested_at, timings)
        {
            return Assessment::until(phase, next_check(call, list.requested_at, timings));
        }
        if state == desired {
            return Assessment::settled(Phase::Ready);
        }
        match &self.failure {
            None => {
                let priority = match (edited, self.drifting) {
                    (_, true) => Priority::Drift,
                    (true, _) => Priority::Edit,
                    (false, false) => Priority::Retry,
                };
                let phase = Phase::Pending(PendingReason::Call);
                Assessment { phase, due: Some(Due::Now(priority)), check_at: None, listed: false, on: false }
            }
            Some(failure) => {
                let due = if now >= failure.next_attempt {
                    Some(Due::Now(Priority::Retry))
                } else {
                    (add(now, failure.slack) >= failure.next_attempt).then_some(Due::WithOthers)
                };
                let check_at = Some(failure.next_attempt).filter(|&next| next > now);
                Assessment { phase: failure.phase(timings), due, check_at, listed: false, on: false }
            }
        }
    }

    /// The phase while the effect of the last call is not known; `None` where that call does not
    /// matter.
    fn unsettled_phase(
        &self,
        call: &UnsettledCall,
        (listed, desired): (RunState, RunState),
        listed_at: Timestamp,
        timings: &Timings,
    ) -> Option<Phase> {
        let observed = listed_at >= call.ended;
        Some(match call.state {
            // Repeating it is safe; but what an older list shows as desired may no longer be so.
            CallState::Answered if observed || listed != desired => return None,
            CallState::Answered => Phase::Pending(PendingReason::Observation),
            _ if call.action.target() != desired => Phase::Pending(PendingReason::OpposingCall),
            CallState::Unconfirmed if observed || listed != desired => return None,
            CallState::Unconfirmed => Phase::Pending(PendingReason::Observation),
            // The slow retry of a failed task changes nothing until it is accepted.
            CallState::Lost => {
                let failure = self.failure.as_ref().map(|failure| failure.phase(timings));
                failure.unwrap_or(Phase::Pending(PendingReason::Confirmation))
            }
            CallState::Accepted => Phase::Pending(PendingReason::Settling),
        })
    }
}

impl Missing {
    /// A task that `list` does not show, or a name that no task has in it.
    pub fn assess(self, list: &TaskList, deleting: bool, timings: &Timings, now: Timestamp) -> Assessment {
        // Nobody hurries an alarm; a deletion hurries.
        let grace = if deleting { Duration::ZERO } else { timings.missing_grace };
        let grace_ends = add(self.since, grace);
        match (self.lists >= 2, now >= grace_ends) {
            (true, true) => Assessment::settled(Phase::Failed(FailedReason::NotFound)),
            (false, true) => {
                let second = add(list.requested_at, timings.confirm_missing);
                Assessment::until(Phase::Pending(PendingReason::Listing), second)
            }
            (_, false) => Assessment::until(Phase::Pending(PendingReason::Listing), grace_ends),
        }
    }
}

impl Failure {
    fn phase(&self, timings: &Timings) -> Phase {
        match (self.code == FailureCode::Contested, self.is_exhausted(timings)) {
            (true, _) => Phase::Failed(FailedReason::Contested),
            (_, true) => Phase::Failed(FailedReason::Refused),
            _ => Phase::Pending(PendingReason::Retry),
        }
    }
}

/// When to list for the effect of a call: as soon as it has ended, then after 0.1, 0.25, 0.5, 1, 2,
/// 4, 8, 8 … seconds more, at the latest when the settle window ends. A list that comes a quarter
/// of the wait too soon serves as well, so that many calls share their lists.
fn next_check(call: &UnsettledCall, listed_at: Timestamp, timings: &Timings) -> Timestamp {
    if listed_at < call.ended {
        return call.ended;
    }
    let end = add(call.ended, timings.settle_window);
    let mut check = call.ended;
    let mut waits = timings.settle_polls.iter();
    let mut wait = timings.settle_window;
    loop {
        wait = waits.next().copied().unwrap_or(wait).max(Duration::from_millis(1));
        check = add(check, wait);
        if check > add(listed_at, wait / 4) || check >= end {
            return check.min(end);
        }
    }
}
