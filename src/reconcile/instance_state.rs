//! All that is remembered of one instance between reconciles, and the order in which it changes.

use std::sync::Arc;

use jiff::Timestamp;

use crate::fdi::{Class, Fingerprint, TaskId};
use crate::reconcile::desired::{CLAIMED_MAX, Desired, Snapshot, resolve};
use crate::reconcile::idle::Idle;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::ledger::calls::CallScope;
use crate::reconcile::observation::{Observation, Observed};
use crate::reconcile::outcome::{CompletedCall, Outcomes};
use crate::reconcile::selection::Selections;
use crate::reconcile::timings::Timings;

/// The memory of one instance. Its methods are the only driver of [`Observation`] and [`Ledger`]:
/// the operator, `fdi-operator plan` and the tests call the same ones.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct InstanceState {
    pub timings: Arc<Timings>,
    pub observation: Observation,
    pub ledger: Ledger,
    /// What names and selectors choose.
    pub selections: Selections,
    /// The last reconcile that went through all steps, if it had nothing to do.
    pub idle: Option<Idle>,
    /// A credential that may not read monitor logs, or whose service has none.
    lacks_logs: Option<Fingerprint>,
}

impl InstanceState {
    pub fn new(timings: Arc<Timings>) -> Self {
        Self::with(timings, false)
    }

    /// After a panic: calls of this process that nobody remembers may still act.
    pub fn after_panic(timings: Arc<Timings>) -> Self {
        Self::with(timings, true)
    }

    fn with(timings: Arc<Timings>, resumed: bool) -> Self {
        Self {
            observation: Observation::new(Arc::clone(&timings)),
            ledger: Ledger::new(Arc::clone(&timings), resumed),
            timings,
            selections: Selections::default(),
            idle: None,
            lacks_logs: None,
        }
    }

    /// Step 1: what is desired by now.
    pub fn resolve(&mut self, snapshot: Snapshot, now: Timestamp) -> Desired {
        let desired = resolve(snapshot, &self.selections);
        self.sync(desired, now)
    }

    /// Compares with what is desired now. Returns it with what names and selectors choose.
    #[must_use]
    pub fn sync(&mut self, mut desired: Desired, now: Timestamp) -> Desired {
        self.observation.sync(&desired, now);
        if self.selections.update(&desired.choosing(), self.observation.list(), CLAIMED_MAX, now) {
            desired = desired.reselected(&self.selections);
        }
        self.ledger.sync(&desired, now);
        desired
    }

    /// Takes in what step 2 found. Returns what is desired with what names and selectors choose.
    #[must_use]
    pub fn record_list(&mut self, mut desired: Desired, observed: Observed, now: Timestamp) -> Desired {
        self.observation.record_list(observed, now);
        let list = self.observation.list();
        if self.selections.update(&desired.choosing(), list, CLAIMED_MAX, now) {
            desired = desired.reselected(&self.selections);
            self.ledger.sync(&desired, now);
        }
        self.ledger.observe(&desired, list, now);
        if self.observation.call_failure().is_some() && !self.ledger.needs_calls(&desired, list, now) {
            self.observation.clear_call_failure();
        }
        desired
    }

    /// Whether monitor logs are known to be out of reach of this credential.
    pub fn lacks_logs(&self, credential: Fingerprint) -> bool {
        self.lacks_logs == Some(credential)
    }

    pub fn record_no_logs(&mut self, credential: Fingerprint) {
        self.lacks_logs = Some(credential);
    }

    /// Since when a task fails its runs, if it does, and whether they are planned ones.
    pub fn failed_run(&self, id: &TaskId) -> Option<(Timestamp, bool)> {
        let scheduled = self.observation.list()?.task(id)?.is_scheduled();
        Some((self.ledger.failed_run(id)?.since, scheduled))
    }

    /// Takes in the calls of step 4. What failed together is one failure: the one that asks for the
    /// longest wait.
    #[must_use]
    pub fn record_calls(&mut self, desired: &Desired, outcomes: Outcomes) -> Outcomes {
        let mut corrected = Vec::new();
        let mut failure = outcomes.not_sent().cloned();
        for call in outcomes.calls() {
            self.ledger.note_call(desired, call);
            match self.ledger.record(&call.batch, &call.result, call.ended) {
                CallScope::Tasks => self.observation.record_call_success(call.ended),
                CallScope::Undetermined => self.observation.record_call(call.ended),
                CallScope::Instance(error) => {
                    // A throttled call is taken as not sent: its tasks are listed before they count
                    // as ready.
                    if error.class != Class::Throttled {
                        self.observation.record_call(call.ended);
                    }
                    if failure.as_ref().is_none_or(|(longest, _)| error.retry_after >= longest.retry_after) {
                        failure = Some((error, call.ended));
                    }
                }
            }
            corrected.extend(self.drift_corrected(call));
        }
        if let Some((error, at)) = failure {
            self.observation.record_call_failure(error, at);
        }
        outcomes.with_drift_corrected(corrected)
    }

    /// The tasks that a call put right after somebody else had switched them.
    fn drift_corrected(&mut self, call: &CompletedCall) -> Vec<TaskId> {
        call.accepted().filter(|id| self.ledger.take_drift_corrected(id)).cloned().collect()
    }
}
