//! Step 3, pure: the calls that are needed now, each of at most ten tasks, in the order in which they are to be sent.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Desired;
use crate::time::backoff::after;
use crate::fdi::{Action, BATCH_MAX, Batch, TaskId};
use crate::reconcile::ledger::{Cohort, Ledger, Urgency};
use crate::reconcile::observation::Sight;

/// Every n-th call goes to what has waited longest, so that a stream of edits cannot starve drift and retries.
const FAIR_TURN: u64 = 3;

/// Calls in sending order, and until when a part-filled batch is held back for company.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    calls: Vec<Batch>,
    hold: Option<Timestamp>,
}

impl Plan {
    pub fn calls(&self) -> &[Batch] {
        &self.calls
    }

    /// When the part-filled batch that is held back goes.
    pub fn hold(&self) -> Option<Timestamp> {
        self.hold
    }
}

#[derive(Debug, Clone)]
struct Due<'a> {
    urgency: Urgency,
    id: &'a TaskId,
    since: Timestamp,
    /// When the group of the task was last edited, and first, of the edits that are on their way.
    edited: Option<(Timestamp, Timestamp)>,
}

/// Plans the calls. Only tasks that a group owns, whose wish is acknowledged and not suspended, that the last list shows in
/// the other state, and that wait for nothing are in them. Batches are filled across groups: n starts and m stops cost
/// ⌈n/10⌉ + ⌈m/10⌉ calls, unless some travel apart because a batch with them was refused.
pub fn plan(desired: &Desired, sight: &Sight, ledger: &Ledger, now: Timestamp) -> Plan {
    if desired.instance().is_none() || desired.instance_suspended() || sight.calls_barred(now) {
        return Plan::default();
    }
    let mut companies: BTreeMap<(Action, Cohort, Option<&TaskId>), Vec<Due<'_>>> = BTreeMap::new();
    for (group, id) in desired.owned() {
        if group.suspended || !group.acknowledged() {
            continue;
        }
        let Some(urgency) = ledger.standing(group, id, sight.view(), now).due else { continue };
        let cohort = ledger.cohort(id);
        let apart = (cohort == Cohort::Alone).then_some(id);
        companies.entry((group.wish.action(), cohort, apart)).or_default().push(Due {
            urgency,
            id,
            since: ledger.due_since(id).unwrap_or(now),
            edited: ledger.edited(&group.uid).zip(ledger.opened(&group.uid)),
        });
    }
    let mut chunks: Vec<(Action, Cohort, Vec<Due<'_>>)> = Vec::new();
    for ((action, cohort, _), mut due) in companies {
        due.sort_by(|a, b| (a.urgency, a.id).cmp(&(b.urgency, b.id)));
        chunks.extend(due.chunks(BATCH_MAX).map(|chunk| (action, cohort, chunk.to_vec())));
    }
    // Edits that are still being acknowledged are company too.
    let coming = desired.unacknowledged().filter_map(|group| ledger.edited(&group.uid)).max();
    let mut hold: Option<Timestamp> = None;
    chunks.retain(|(_, cohort, chunk)| match held_until(*cohort, chunk, coming, ledger).filter(|&until| now < until) {
        Some(until) => {
            hold = Some(hold.map_or(until, |hold| hold.min(until)));
            false
        }
        None => true,
    });
    Plan { calls: in_order(chunks, ledger.calls_sent()), hold }
}

/// A part-filled batch with freshly edited tasks waits for a moment of quiet, so that groups applied one after the other
/// share calls; but never long.
fn held_until(cohort: Cohort, chunk: &[Due<'_>], coming: Option<Timestamp>, ledger: &Ledger) -> Option<Timestamp> {
    if cohort != Cohort::Any || chunk.len() == BATCH_MAX {
        return None;
    }
    let timings = ledger.timings();
    let edits = || chunk.iter().filter_map(|due| due.edited);
    let earliest = edits().map(|(_, first)| first).min()?;
    let latest = edits().map(|(last, _)| last).chain(coming).max()?;
    Some(after(latest, timings.linger_quiet).min(after(earliest, timings.linger_max)))
}

/// Most urgent first, halves of refused batches before others, stops before starts, then by ID; every third call is the one
/// with the task that has waited longest.
fn in_order(mut chunks: Vec<(Action, Cohort, Vec<Due<'_>>)>, sent: u64) -> Vec<Batch> {
    chunks.sort_by(|a, b| {
        let key = |(action, cohort, chunk): &(Action, Cohort, Vec<Due<'_>>)| {
            (chunk[0].urgency, !matches!(cohort, Cohort::Half(_)), *action, chunk[0].id.clone())
        };
        key(a).cmp(&key(b))
    });
    let mut calls = Vec::with_capacity(chunks.len());
    let mut position = sent;
    while !chunks.is_empty() {
        position += 1;
        let next = if position.is_multiple_of(FAIR_TURN) { longest_waiting(&chunks) } else { 0 };
        let (action, _, chunk) = chunks.remove(next);
        calls.extend(Batch::new(action, chunk.into_iter().map(|due| due.id.clone()).collect()));
    }
    calls
}

fn longest_waiting(chunks: &[(Action, Cohort, Vec<Due<'_>>)]) -> usize {
    let oldest = |chunk: &[Due<'_>]| chunk.iter().map(|due| due.since).min();
    (0..chunks.len()).min_by_key(|&index| (oldest(&chunks[index].2), index)).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
