//! Step 6, pure: when the next reconcile is due.

use jiff::Timestamp;

use crate::reconcile::desired::Desired;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::outcome::Outcomes;
use crate::reconcile::plan::Plan;
use crate::reconcile::status::Statuses;
use crate::time::backoff::add;

/// The earliest of what each step asks for.
pub fn schedule(
    desired: &Desired,
    plan: &Plan,
    outcomes: &Outcomes,
    statuses: &Statuses<'_>,
    state: &mut InstanceState,
) -> Timestamp {
    let now = statuses.computed_at();
    // Whatever asks for the next reconcile, a reconcile that did nothing cannot be followed by
    // another at once.
    let soonest = if outcomes.calls().is_empty() { add(now, state.timings.min_interval) } else { now };
    if outcomes.unfinished() {
        return soonest;
    }
    let Some(list) = next_poll(desired, statuses.next_check(), state, now) else {
        // Only the deadlines of deletions are left; the instance itself is watched.
        return statuses.next_check().unwrap_or(add(now, state.timings.backoff.max)).max(soonest);
    };
    // While lists fail no call is sent either, however long ago calls could have been tried again.
    let retry = state.observation.call_failure().map(|failure| failure.retry_at);
    let retry = retry.filter(|_| statuses.calls_due() && state.observation.list_failure().is_none());
    [retry, plan.linger_until()].into_iter().flatten().fold(list, Timestamp::min).max(soonest)
}

/// When the instance is to be listed next, if it exists.
pub fn next_poll(
    desired: &Desired,
    next_check: Option<Timestamp>,
    state: &mut InstanceState,
    now: Timestamp,
) -> Option<Timestamp> {
    let seconds = desired.instance()?.object.spec.poll_interval_seconds.clamp(10, 3600);
    let poll = state.timings.poll_interval_unit.saturating_mul(u32::try_from(seconds).unwrap_or(60));
    Some(state.observation.next_list(poll, next_check, now))
}
