//! After the last step: what the pass found, in numbers.

use jiff::Timestamp;

use super::{Outcomes, Statuses, Unwritten};
use crate::reconcile::ledger::Ledger;
use crate::metrics::{Instance, Tasks};
use crate::reconcile::observation::Sight;

/// Sets the instance's metrics, and observes how long edits took that have converged now.
pub(super) fn tell(
    metrics: &Instance,
    statuses: &Statuses<'_>,
    outcomes: &Outcomes,
    sight: &Sight,
    ledger: &mut Ledger,
    written: Result<(), Unwritten>,
    now: Timestamp,
) {
    let mut tasks = Tasks::default();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for report in statuses.groups() {
        tasks.ready += count(report.tally.ready);
        tasks.pending += count(report.tally.pending());
        tasks.failed += count(report.tally.failed);
        tasks.conflicting += count(report.tally.conflicting);
    }
    metrics.tasks(tasks);
    for call in outcomes.calls() {
        metrics.batch(call.batch.ids().len());
    }
    metrics
        .pass(sight.trouble().is_none() && outcomes.calls().iter().all(|call| call.result.is_ok()) && written.is_ok());
    for uid in statuses.converged() {
        if let Some(lag) = ledger.take_converged(uid, now) {
            metrics.settled(lag);
        }
    }
}
