//! After step 2, pure: whether a reconcile is done with its list, because nothing has changed since
//! one that found nothing to do. Nearly all polls end here, so deciding what all the groups of an
//! idle instance need costs nothing.

use jiff::Timestamp;

use crate::reconcile::desired::Desired;
use crate::reconcile::idle::Idle;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::Observed;
use crate::reconcile::outcome::Outcomes;
use crate::reconcile::plan::Plan;
use crate::reconcile::schedule;
use crate::reconcile::status::Statuses;
use crate::time::backoff::add;

/// Takes in what step 2 found if it changes nothing. Returns when the next reconcile is due, or
/// else what was found.
pub fn poll(
    desired: &Desired,
    observed: Observed,
    state: &mut InstanceState,
    now: Timestamp,
) -> Result<Timestamp, Box<Observed>> {
    let same_list = match &observed.list {
        None => true,
        Some(Ok(list)) => state.observation.list().is_some_and(|known| known.has_same_tasks(list)),
        Some(Err(_)) => false,
    };
    let next_check = match &state.idle {
        Some(idle) if same_list && idle.holds(desired, now) => idle.next_check,
        _ => return Err(Box::new(observed)),
    };
    state.observation.record_list(observed, now);
    let next = schedule::next_poll(desired, next_check, state, now);
    Ok(next.unwrap_or(now).max(add(now, state.timings.min_interval)))
}

/// After a reconcile: remembers whether it found that nothing is to be called, written or waited
/// for. `stored`: the API server has every status already. Where what names and selectors choose
/// depends on a further list, that is waited for.
pub fn remember(
    desired: &Desired,
    (plan, outcomes): (&Plan, &Outcomes),
    (statuses, stored): (&Statuses<'_>, bool),
    state: &mut InstanceState,
) {
    let idle = stored
        && state.selections.are_settled()
        && *plan == Plan::default()
        && !outcomes.has_any()
        && !state.observation.is_failing()
        && state.observation.list().is_some()
        && state.ledger.is_settled();
    let idle = idle.then(|| Idle::new(desired, statuses.next_check(), statuses.computed_at()));
    state.idle = idle.flatten();
}
