//! Step 4, I/O: sends the calls of the plan, within the limits of the instance, for as long as they are what is wanted.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Plan;
use crate::time::clock::Clock;
use crate::fdi::{Answer, Batch, CallError, Class, FdiApi, Outcome, TaskId};
use crate::k8s::leader_election::Permit;
use crate::reconcile::ledger::{Ledger, Verdict};
use crate::reconcile::observation::Sight;
use crate::reconcile::timings::Timings;

/// What became of the calls that were sent.
#[derive(Debug, Default)]
pub struct Outcomes {
    calls: Vec<Finished>,
    corrected: Vec<TaskId>,
    unfinished: bool,
}

/// One call with its answer.
#[derive(Debug)]
pub struct Finished {
    pub batch: Batch,
    pub result: Result<Answer, CallError>,
    pub ended: Timestamp,
}

/// What a running plan listens to.
#[derive(Debug, Clone, Copy)]
pub struct Interrupts<'a> {
    /// Something changed: the rest of the plan is no longer known to be right.
    pub woken: &'a Notify,
    /// The process is to end: no new call.
    pub shutdown: &'a CancellationToken,
    pub permit: &'a Permit,
}

/// Sends the calls in order, several at once where the instance allows it. Ends when the plan is done, when a cause shows
/// that concerns the whole instance, after a time slice, or when the worker is woken: never within a call, and for the last
/// two never before one call was made. At the end of the permission the worker drops the pass, and calls in flight with it.
pub async fn run(
    plan: &Plan,
    api: Option<&Arc<dyn FdiApi>>,
    clock: &Clock,
    timings: &Timings,
    interrupts: Interrupts<'_>,
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let Some(api) = api.filter(|_| !plan.calls().is_empty()) else { return outcomes };
    let mut waiting = plan.calls().iter();
    let mut flights = FuturesUnordered::new();
    let slice = tokio::time::sleep_until(Instant::now() + timings.run_slice);
    tokio::pin!(slice);
    let mut turn = api.turn();
    let (mut stopped, mut sent, mut cut_short) = (false, false, false);
    loop {
        let open = !stopped && waiting.len() > 0;
        if !open && flights.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            () = interrupts.shutdown.cancelled(), if open => (stopped, cut_short) = (true, true),
            Some(finished) = flights.next(), if !flights.is_empty() => {
                let finished: Finished = finished;
                stopped |= concerns_the_instance(&finished.result);
                outcomes.calls.push(finished);
            }
            () = interrupts.woken.notified(), if open && sent => (stopped, cut_short) = (true, true),
            () = &mut slice, if open && sent => (stopped, cut_short) = (true, true),
            leave = &mut turn, if open => {
                if interrupts.permit.check().is_err() {
                    break;
                }
                if let Some(batch) = waiting.next() {
                    sent = true;
                    flights.push(async move {
                        let result = api.start_or_stop(leave, batch).await;
                        Finished { batch: batch.clone(), result, ended: clock.now() }
                    });
                }
                turn = api.turn();
            }
        }
    }
    outcomes.unfinished = cut_short || outcomes.calls.iter().any(|call| splits(&call.result));
    outcomes
}

fn concerns_the_instance(result: &Result<Answer, CallError>) -> bool {
    result.as_ref().is_err_and(|error| error.class != Class::Split)
}

fn splits(result: &Result<Answer, CallError>) -> bool {
    result.as_ref().is_err_and(|error| matches!(error.class, Class::Split | Class::SplitOnce))
}

impl Outcomes {
    pub fn calls(&self) -> &[Finished] {
        &self.calls
    }

    /// Tasks that somebody else had switched and that accepted our call.
    pub fn corrected(&self) -> &[TaskId] {
        &self.corrected
    }

    /// There is more to do at once.
    pub fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// One more finished call, in tests that have a model in place of the service.
    #[cfg(test)]
    pub fn push(&mut self, batch: Batch, result: Result<Answer, CallError>, ended: Timestamp) {
        self.unfinished |= splits(&result);
        self.calls.push(Finished { batch, result, ended });
    }

    /// Writes the outcomes into the memory of tasks and instance.
    #[must_use]
    pub fn record(mut self, ledger: &mut Ledger, sight: &mut Sight, timings: &Timings) -> Self {
        for call in &self.calls {
            match ledger.record(&call.batch, &call.result, call.ended) {
                Verdict::Answered => sight.call_answered(call.ended),
                Verdict::Suspected => sight.call_ended(call.ended),
                Verdict::Instance(error) => sight.call_failed(error, call.ended, timings),
            }
            for (id, outcome) in call.result.iter().flat_map(|answer| &answer.outcomes) {
                if *outcome == Outcome::Accepted && ledger.take_corrected(id) {
                    self.corrected.push(id.clone());
                }
            }
        }
        self
    }
}
