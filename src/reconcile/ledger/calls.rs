//! What a completed call changes in the records of its tasks, and how a batch that fails as a whole
//! is bisected.

use jiff::Timestamp;

use super::Ledger;
use crate::fdi::{Batch, BatchResponse, CallError, Class, Outcome, TaskId};
use crate::reconcile::ledger::task::{
    CallState, FailedAttempt, FailureCode, Isolation, Pace, TaskRecord, UnsettledCall,
};

/// How often the response to calls with the same tasks must be lost in a row, while lists work,
/// before one of the tasks is suspected.
const LOST_CALLS_MAX: u32 = 3;

/// What a completed call says beyond its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallScope {
    /// The service answered per task, or refused the batch for a task in it.
    Tasks,
    /// The batch was refused as a whole; whether for a task in it or for the instance is not known
    /// yet.
    Undetermined,
    /// The cause concerns the whole instance.
    Instance(CallError),
}

impl Ledger {
    /// Takes in a completed call. `ended` is when its response came or was given up.
    pub fn record(&mut self, batch: &Batch, result: &Result<BatchResponse, CallError>, ended: Timestamp) -> CallScope {
        self.calls_sent += 1;
        let error = match result {
            Ok(response) => {
                for (id, outcome) in &response.outcomes {
                    self.record_outcome(batch, id, outcome, ended);
                }
                return CallScope::Tasks;
            }
            Err(error) => error,
        };
        let state = if error.class == Class::Unavailable { CallState::Lost } else { CallState::Answered };
        let window = self.timings.settle_window;
        for id in batch.ids() {
            self.tasks.update(id, |record| {
                record.record_call(UnsettledCall { action: batch.action(), ended, state }, window);
                record.lost_calls = if state == CallState::Lost { record.lost_calls.saturating_add(1) } else { 0 };
            });
        }
        match error.class {
            Class::Split => self.bisect(batch, error, ended, true),
            Class::SplitOnce => self.bisect(batch, error, ended, false),
            // The same tasks meet again and again: one of them may be the cause.
            Class::Unavailable if self.lost_again_and_again(batch) => self.bisect(batch, error, ended, false),
            Class::Unavailable | Class::SignIn | Class::Config | Class::Throttled => CallScope::Instance(error.clone()),
        }
    }

    fn lost_again_and_again(&self, batch: &Batch) -> bool {
        let lost = |id| self.tasks.get(id).is_some_and(|record| record.lost_calls >= LOST_CALLS_MAX);
        batch.ids().iter().all(lost)
    }

    fn record_outcome(&mut self, batch: &Batch, id: &TaskId, outcome: &Outcome, ended: Timestamp) {
        let (action, window) = (batch.action(), self.timings.settle_window);
        let pace = Pace { timings: &self.timings, jitter: self.jitter };
        if *outcome == Outcome::Accepted {
            self.rejected_bisections = 0;
        }
        self.tasks.update(id, |record| {
            record.lost_calls = 0;
            record.isolation = match (outcome, record.isolation) {
                // A poison task stays alone in its batch until it has succeeded once.
                (Outcome::Refused(_) | Outcome::Unknown, Isolation::Quarantined) => Isolation::Quarantined,
                _ => Isolation::None,
            };
            let (code, message, permanent) = match outcome {
                Outcome::Accepted => {
                    record.record_call(UnsettledCall { action, ended, state: CallState::Accepted }, window);
                    return;
                }
                Outcome::Refused(refusal) => {
                    record.record_call(UnsettledCall { action, ended, state: CallState::Answered }, window);
                    (FailureCode::Service(refusal.code.clone()), refusal.message.clone(), refusal.permanent)
                }
                Outcome::Unknown => {
                    record.record_call(UnsettledCall { action, ended, state: CallState::Lost }, window);
                    let message = "the response did not say what became of the task; the operator lists it before it sends anything";
                    (FailureCode::OutcomeUnknown, message.to_owned(), false)
                }
            };
            record.record_failure(FailedAttempt { action, code, message, permanent, at: ended }, pace);
        });
    }

    /// The whole batch failed, perhaps for one task in it. Part of it may have been done all the
    /// same; the batch is halved until the poison task is isolated. For n tasks that takes at most
    /// 2·n − 1 calls, whatever the number of poison tasks.
    ///
    /// Where it is not `certain` that a task is the cause, the batch is split once: when both
    /// halves fail too and nothing was accepted in between, the cause counts as the instance's;
    /// until something is accepted, each further failure counts so at once. The bisection goes on
    /// all the same, one call per back-off of the instance: several poison tasks in one batch look
    /// like an instance-wide cause, and the other tasks must not be blocked.
    fn bisect(&mut self, batch: &Batch, error: &CallError, ended: Timestamp, certain: bool) -> CallScope {
        let code = FailureCode::Service(error.code.clone());
        let poison = |record: &TaskRecord| record.failure.as_ref().is_some_and(|failure| failure.code == code);
        let known = batch.ids().iter().all(|id| self.tasks.get(id).is_some_and(poison));
        let whole = batch.ids().len() > 1 && batch.ids().iter().all(|id| self.isolation(id) == Isolation::None);
        let mut scope = if certain { CallScope::Tasks } else { CallScope::Undetermined };
        if !certain && !known && (!whole || self.rejected_bisections >= 2) {
            self.rejected_bisections += 1;
            if self.rejected_bisections >= 2 {
                scope = CallScope::Instance(error.clone());
            }
        }
        let (left, right) = batch.ids().split_at(batch.ids().len() / 2);
        for half in [left, right] {
            self.bisections += 1;
            let isolation = if half.len() == 1 { Isolation::Quarantined } else { Isolation::Bisected(self.bisections) };
            for id in half {
                self.tasks.update(id, |record| record.isolation = isolation);
            }
        }
        // What counts as the instance's cause is held against no task.
        if let ([id], false) = (batch.ids(), matches!(scope, CallScope::Instance(_))) {
            let attempt = FailedAttempt {
                action: batch.action(),
                code,
                message: error.message.clone(),
                permanent: error.permanent,
                at: ended,
            };
            let pace = Pace { timings: &self.timings, jitter: self.jitter };
            self.tasks.update(id, |record| record.record_failure(attempt, pace));
        }
        scope
    }
}
