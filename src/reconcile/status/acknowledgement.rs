//! What is reported of an edit before its calls are sent, as soon as it is known that there will be calls.

use jiff::Timestamp;

use super::facts::Facts;
use super::group;
use super::report::GroupReport;
use crate::reconcile::desired::{Desired, FinalizerAction};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::outcome::Outcomes;

/// Acknowledges the edits for which the last list already shows calls to be due, so that this write and
/// the next list run concurrently. All others are acknowledged with what the next list shows: most often
/// that is the only write.
pub fn acknowledgements<'a>(desired: &'a Desired, state: &InstanceState, now: Timestamp) -> Vec<GroupReport<'a>> {
    let observation = &state.observation;
    if desired.instance().is_none()
        || desired.instance_suspended()
        || observation.list().is_none()
        || observation.calls_blocked(now)
    {
        return Vec::new();
    }
    // Without its finalizer a group could be gone before its calls are answered.
    let edited = desired.unacknowledged().filter(|group| group.finalizer != FinalizerAction::Add);
    let reports = edited.filter_map(|edited| {
        let facts = Facts::gather(desired, edited, state, now);
        (facts.tally.calls_due > 0).then(|| {
            let mut report = group::report(facts, &Outcomes::default());
            // A request is answered by the list that is still to come.
            report.status.last_handled_reconcile_at.clone_from(&edited.status.last_handled_reconcile_at);
            report
        })
    });
    reports.filter(|report| report.release.is_none()).collect()
}
