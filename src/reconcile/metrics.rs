//! After the last step: what the reconcile found, in numbers.

use crate::metrics::{InstanceMetrics, TaskGauges};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::outcome::Outcomes;
use crate::reconcile::status::Statuses;

/// Sets the instance's metrics, and observes how long edits took that have converged now.
pub(super) fn record(
    metrics: &InstanceMetrics,
    statuses: &Statuses<'_>,
    outcomes: &Outcomes,
    state: &mut InstanceState,
) {
    let mut tasks = TaskGauges::default();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for report in statuses.groups() {
        tasks.ready += count(report.tally.ready);
        tasks.pending += count(report.tally.pending());
        tasks.failed += count(report.tally.failed);
        tasks.conflicting += count(report.tally.conflicting);
        tasks.failing += count(report.tally.failing);
    }
    let listed = statuses.instance().and_then(|report| report.status.tasks);
    tasks.unmanaged = listed.map_or(0, |listed| i64::from(listed.unmanaged));
    metrics.tasks(tasks);
    for call in outcomes.calls() {
        metrics.batch(call.batch.ids().len());
    }
    let calls_ok = outcomes.calls().iter().all(|call| call.result.is_ok());
    metrics.reconcile(state.observation.list_failure().is_none() && calls_ok);
    for uid in statuses.converged() {
        if let Some(time) = state.ledger.take_convergence_time(uid, statuses.computed_at()) {
            metrics.convergence(time);
        }
    }
}
