//! All that is remembered of one instance between reconciles, and the order in which it changes.

use std::sync::Arc;

use jiff::Timestamp;

use crate::fdi::Outcome;
use crate::reconcile::desired::Desired;
use crate::reconcile::ledger::{CallScope, Ledger};
use crate::reconcile::observation::{Observation, Observed};
use crate::reconcile::outcome::{CompletedCall, Outcomes};
use crate::reconcile::timings::Timings;

/// The memory of one instance. Its methods are the only driver of [`Observation`] and [`Ledger`]: the
/// operator, `fdi-operator plan` and the tests call the same ones.
#[derive(Debug)]
pub struct InstanceState {
    pub timings: Arc<Timings>,
    pub observation: Observation,
    pub ledger: Ledger,
}

impl InstanceState {
    pub fn new(timings: Arc<Timings>) -> Self {
        Self { observation: Observation::new(Arc::clone(&timings)), ledger: Ledger::new(Arc::clone(&timings)), timings }
    }

    /// Compares with what is desired now.
    pub fn sync(&mut self, desired: &Desired, now: Timestamp) {
        self.observation.sync(desired, now);
        self.ledger.sync(desired, now);
    }

    /// Takes in what step 2 found.
    pub fn record_list(&mut self, desired: &Desired, observed: Observed, now: Timestamp) {
        self.observation.record_list(observed, now);
        self.ledger.observe(desired, self.observation.list(), now);
        if self.observation.call_failure().is_some() && !self.ledger.needs_calls(desired, self.observation.list(), now)
        {
            self.observation.clear_call_failure();
        }
    }

    /// Takes in the calls of step 4.
    #[must_use]
    pub fn record_calls(&mut self, outcomes: Outcomes) -> Outcomes {
        let corrected = outcomes.calls().iter().flat_map(|call| self.record_call(call)).collect();
        if let Some((error, at)) = outcomes.not_sent() {
            self.observation.record_not_sent(error.clone(), *at);
        }
        outcomes.with_drift_corrected(corrected)
    }

    /// Takes in one call; the tasks that it put right after somebody else had switched them.
    fn record_call(&mut self, call: &CompletedCall) -> Vec<crate::fdi::TaskId> {
        match self.ledger.record(&call.batch, &call.result, call.ended) {
            CallScope::Tasks => self.observation.record_call_success(call.ended),
            CallScope::Undetermined => self.observation.record_call(call.ended),
            CallScope::Instance(error) => self.observation.record_call_failure(error, call.ended),
        }
        let outcomes = call.result.iter().flat_map(|response| &response.outcomes);
        let accepted = outcomes.filter(|(_, outcome)| *outcome == Outcome::Accepted);
        accepted.filter(|(id, _)| self.ledger.take_drift_corrected(id)).map(|(id, _)| id.clone()).collect()
    }
}
