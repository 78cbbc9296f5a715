//! Step 6, pure: when the instance is to be looked at again.

use jiff::Timestamp;

use super::{Desired, Outcomes, Plan, Statuses};
use crate::time::backoff::{after, jittered};
use crate::reconcile::ledger::Ledger;
use crate::reconcile::observation::Sight;

/// The next look: the regular poll, or what wants to be looked at sooner.
pub fn wake(
    desired: &Desired,
    plan: &Plan,
    outcomes: &Outcomes,
    statuses: &Statuses<'_>,
    sight: &Sight,
    ledger: &Ledger,
    now: Timestamp,
) -> Timestamp {
    // The plan was cut short, or a batch was refused for a task in it: what is true now is planned from at once.
    if outcomes.unfinished() {
        return now;
    }
    let timings = ledger.timings();
    let Some(instance) = desired.instance() else {
        // Only the deadlines of deletions are left; the instance itself is watched.
        return statuses.next_look().unwrap_or(after(now, timings.backoff_max));
    };
    let spec = &instance.object.spec;
    let poll =
        timings.poll_second.saturating_mul(u32::try_from(spec.poll_interval_seconds.clamp(10, 3600)).unwrap_or(60));
    let regular = match sight.view() {
        Some(view) if sight.trouble().is_none() => after(view.requested, jittered(poll)),
        _ => after(now, poll),
    };
    let troubled = sight.trouble().map(|trouble| trouble.until);
    // While looks do not work no call is sent either, however long ago calls could have been tried again.
    let calls = sight.call_trouble().map(|trouble| trouble.until);
    let calls = calls.filter(|_| statuses.calls_due() && sight.trouble().is_none());
    // While something waits for a change of the Secret it is read again well within the promised time.
    let credential = (sight.trouble().is_some() || sight.call_trouble().is_some())
        .then(|| after(now, timings.secret_reread.min(poll).mul_f64(0.8)));
    let wanted = match (sight.look_barred(now), statuses.next_look()) {
        // No look before the service may be asked again, but a row may be reached by time alone.
        (Some(_), look) => look.filter(|&look| look > now),
        // A list that is still fresh is not asked for again: a look that is due already waits until it is not.
        (None, look) => match sight.view().filter(|_| sight.fresh(now, timings)) {
            Some(view) => look.map(|look| if look > now { look } else { after(view.requested, timings.fresh_list) }),
            None => look,
        },
    };
    // Wishes that this pass acknowledges can be acted upon in the next.
    let coming = desired.unacknowledged().next().is_some();
    let acknowledged = (coming && statuses.calls_due() && !sight.calls_barred(now)).then_some(now);
    [Some(regular), troubled, calls, credential, wanted, plan.hold(), acknowledged]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(regular)
        .max(now)
}
