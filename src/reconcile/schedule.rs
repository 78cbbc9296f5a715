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
    state: &InstanceState,
) -> Timestamp {
    let now = statuses.computed_at();
    if outcomes.unfinished() {
        return now;
    }
    let Some(instance) = desired.instance() else {
        // Only the deadlines of deletions are left; the instance itself is watched.
        return statuses.next_check().unwrap_or(add(now, state.timings.backoff.max));
    };
    let observation = &state.observation;
    let seconds = instance.object.spec.poll_interval_seconds.clamp(10, 3600);
    let poll = state.timings.poll_interval_unit.saturating_mul(u32::try_from(seconds).unwrap_or(60));
    let list = observation.next_list(poll, statuses.next_check(), now);
    // While lists fail no call is sent either, however long ago calls could have been tried again.
    let retry = observation.call_failure().map(|failure| failure.retry_at);
    let retry = retry.filter(|_| statuses.calls_due() && observation.list_failure().is_none());
    // Edits that this reconcile acknowledges can be acted upon in the next.
    let acknowledged =
        desired.unacknowledged().next().is_some() && statuses.calls_due() && !observation.calls_blocked(now);
    let calls = [retry, plan.linger_until(), acknowledged.then_some(now)];
    calls.into_iter().flatten().fold(list, Timestamp::min).max(now)
}
