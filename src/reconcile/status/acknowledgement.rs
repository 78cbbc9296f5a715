//! What is said of an edit before its calls are sent, as soon as it is known that there will be calls.

use jiff::Timestamp;

use super::{Facts, GroupReport, group};
use crate::reconcile::ledger::Ledger;
use crate::reconcile::{Desired, Finalizer, Outcomes};
use crate::reconcile::observation::Sight;

/// Acknowledges the edits for which the last list already shows calls to be due, so that saying so and the next list take
/// place side by side. All others are acknowledged with what the next list shows: most often that is the only write.
pub fn acknowledgements<'a>(
    desired: &'a Desired,
    sight: &Sight,
    ledger: &Ledger,
    now: Timestamp,
) -> Vec<GroupReport<'a>> {
    if desired.instance().is_none() || desired.instance_suspended() || sight.view().is_none() || sight.calls_barred(now)
    {
        return Vec::new();
    }
    // Without its finalizer a group could be gone before its calls are answered.
    let edited = desired.unacknowledged().filter(|group| group.finalizer != Finalizer::Add);
    let reports = edited.filter_map(|edited| {
        let facts = Facts::gather(desired, edited, sight, ledger, now);
        (facts.tally.calls_due > 0).then(|| {
            let mut report = group::report(facts, &Outcomes::default());
            // A request is answered by the list that is still to come.
            report.status.last_handled_reconcile_at.clone_from(&edited.status.last_handled_reconcile_at);
            report
        })
    });
    reports.filter(|report| report.letting_go.is_none()).collect()
}
