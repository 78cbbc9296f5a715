//! Where one task stands: what the status says of it, whether a call is due, and when to look again. One judgement for
//! `plan`, `status` and `wake`, so that they cannot disagree.

use std::time::Duration;

use jiff::Timestamp;

use super::codes;
use super::memory::{Failure, LastCall, Memory, Missing};
use crate::time::backoff::after;
use crate::fdi::{RunState, TaskId};
use crate::reconcile::observation::View;
use crate::reconcile::timings::Timings;

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub bucket: Bucket,
    /// A call for it is due now.
    pub due: Option<Urgency>,
    /// When it is to be looked at again, beside the regular poll.
    pub look: Option<Timestamp>,
}

/// The bucket of `status.tasks` in which an owned task is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    Ready,
    Pending(PendingFor),
    Failed(FailedFor),
}

/// What a pending task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingFor {
    /// The first look.
    Look,
    /// Its call.
    Call,
    /// Its switch-over.
    Settling,
    /// The end of the time in which a call against today's wish may still act.
    ContraryCall,
    /// The next attempt.
    Retry,
    /// Its appearance in the list.
    Appearance,
}

/// Why a task counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedFor {
    Refused,
    Contested,
    NotFound,
}

/// The order of calls: groups just edited, then drift, then retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    Edit,
    Drift,
    Retry,
}

impl Standing {
    fn rests(bucket: Bucket) -> Self {
        Self { bucket, due: None, look: None }
    }

    fn waits(bucket: Bucket, look: Timestamp) -> Self {
        Self { bucket, due: None, look: Some(look) }
    }
}

impl Memory {
    pub(super) fn standing(
        &self,
        id: &TaskId,
        wish: RunState,
        edited: bool,
        view: Option<&View>,
        now: Timestamp,
        timings: &Timings,
    ) -> Standing {
        let Some(view) = view else { return Standing::rests(Bucket::Pending(PendingFor::Look)) };
        let Some(task) = view.task(id) else { return self.absent(now, timings) };
        if let Some(call) = &self.call {
            let bucket = match &self.failure {
                _ if call.action.target() != wish => Bucket::Pending(PendingFor::ContraryCall),
                // The slow retry of a failed task changes nothing until it is accepted.
                Some(failure) if !call.accepted => Self::failed_bucket(failure, timings),
                _ => Bucket::Pending(PendingFor::Settling),
            };
            return Standing::waits(bucket, next_look(call, view.requested, timings));
        }
        if task.state == wish {
            return Standing::rests(Bucket::Ready);
        }
        match &self.failure {
            None => {
                let urgency = match (edited, self.drifting) {
                    (_, true) => Urgency::Drift,
                    (true, _) => Urgency::Edit,
                    (false, false) => Urgency::Retry,
                };
                Standing { bucket: Bucket::Pending(PendingFor::Call), due: Some(urgency), look: None }
            }
            Some(failure) => {
                let bucket = Self::failed_bucket(failure, timings);
                let due = (now >= failure.next).then_some(Urgency::Retry);
                Standing { bucket, due, look: Some(failure.next).filter(|&next| next > now) }
            }
        }
    }

    fn absent(&self, now: Timestamp, timings: &Timings) -> Standing {
        let Some(Missing { since, lists, .. }) = &self.missing else {
            return Standing::rests(Bucket::Pending(PendingFor::Appearance));
        };
        let alarm = after(*since, timings.missing_grace);
        match (*lists >= 2, now >= alarm) {
            (true, true) => Standing::rests(Bucket::Failed(FailedFor::NotFound)),
            (false, true) => Standing::waits(Bucket::Pending(PendingFor::Appearance), now),
            (_, false) => Standing::waits(Bucket::Pending(PendingFor::Appearance), alarm),
        }
    }

    fn failed_bucket(failure: &Failure, timings: &Timings) -> Bucket {
        match (failure.code == codes::CONTESTED, failure.is_spent(timings)) {
            (true, _) => Bucket::Failed(FailedFor::Contested),
            (_, true) => Bucket::Failed(FailedFor::Refused),
            _ => Bucket::Pending(PendingFor::Retry),
        }
    }
}

/// When to look for what came of a call: at once when its answer was lost, else 1, 2, 4, 8, 8 … seconds after it (the first
/// of these that the present view is older than), at the latest when the settle window ends.
fn next_look(call: &LastCall, viewed: Timestamp, timings: &Timings) -> Timestamp {
    if !call.accepted && viewed < call.ended {
        return call.ended;
    }
    let end = after(call.ended, timings.settle_window);
    let mut look = call.ended;
    let mut waits = timings.look_again.iter();
    let mut wait = timings.settle_window;
    loop {
        wait = waits.next().copied().unwrap_or(wait).max(Duration::from_millis(1));
        look = after(look, wait);
        if look > viewed || look >= end {
            return look.min(end);
        }
    }
}
