//! Step 3, pure: the calls that are needed now, each of at most ten tasks, in the order in which
//! they are to be sent.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::fdi::{Action, BATCH_MAX, Batch, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::ledger::Edits;
use crate::reconcile::ledger::phase::{Due, Priority};
use crate::reconcile::ledger::task::Isolation;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// Every n-th call goes to the task that has waited longest, so that a stream of edits cannot
/// starve drift and retries.
const FAIR_TURN: u64 = 3;

/// Calls in sending order, and until when a partial batch is held back for more tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    calls: Vec<Batch>,
    linger_until: Option<Timestamp>,
}

impl Plan {
    pub fn calls(&self) -> &[Batch] {
        &self.calls
    }

    /// When the partial batch that is held back is sent.
    pub fn linger_until(&self) -> Option<Timestamp> {
        self.linger_until
    }
}

/// A task that needs a call now.
#[derive(Debug, Clone)]
struct DueTask<'a> {
    priority: Priority,
    id: &'a TaskId,
    since: Timestamp,
    edits: Option<Edits>,
}

/// A batch before it is ordered, and perhaps held back.
#[derive(Debug)]
struct CandidateBatch<'a> {
    action: Action,
    isolation: Isolation,
    /// Never empty; the most urgent first.
    tasks: Vec<DueTask<'a>>,
}

/// Plans the calls. Only tasks are in them that a group owns which may have calls, that the last
/// list shows in the other state, and for which no back-off runs. Batches are filled across groups:
/// n starts and m stops cost ⌈n/10⌉ + ⌈m/10⌉ calls, unless some are isolated because a batch with
/// them was refused. Once one retry is due, others that are due soon go along, so that what failed
/// together stays together.
pub fn plan(desired: &Desired, state: &InstanceState, now: Timestamp) -> Plan {
    if desired.instance().is_none() || desired.instance_suspended() || state.observation.calls_blocked(now) {
        return Plan::default();
    }
    let mut candidates = candidates(desired, state, now);
    let mut held: Option<Timestamp> = None;
    candidates.retain(|batch| {
        let until = batch.linger_until(&state.timings).filter(|&until| now < until);
        held = held.into_iter().chain(until).min();
        until.is_none()
    });
    Plan { calls: in_order(candidates, state.ledger.calls_sent()), linger_until: held }
}

fn candidates<'a>(desired: &'a Desired, state: &InstanceState, now: Timestamp) -> Vec<CandidateBatch<'a>> {
    let mut by_isolation: BTreeMap<(Action, Isolation, Option<&TaskId>), Vec<DueTask<'_>>> = BTreeMap::new();
    let mut with_others = Vec::new();
    for group in desired.groups().iter().filter(|group| may_call(group, state, now)) {
        let assess = state.ledger.assessor(group, state.observation.list(), now);
        for id in &group.owned {
            let Some(due) = assess(id).due else { continue };
            let isolation = state.ledger.isolation(id);
            let alone = (isolation == Isolation::Quarantined).then_some(id);
            let key = (group.run_state.action(), isolation, alone);
            let task = |priority| DueTask {
                priority,
                id,
                since: state.ledger.due_since(id).unwrap_or(now),
                edits: state.ledger.pending_edits(&group.uid),
            };
            match due {
                Due::Now(priority) => by_isolation.entry(key).or_default().push(task(priority)),
                Due::WithOthers => with_others.push((key, task(Priority::Retry))),
            }
        }
    }
    if by_isolation.values().flatten().any(|task| task.priority == Priority::Retry) {
        for (key, task) in with_others {
            by_isolation.entry(key).or_default().push(task);
        }
    }
    let mut candidates = Vec::new();
    for ((action, isolation, _), mut due) in by_isolation {
        due.sort_by_key(|task| (task.priority, task.id));
        let batches = due.chunks(BATCH_MAX);
        candidates.extend(batches.map(|tasks| CandidateBatch { action, isolation, tasks: tasks.to_vec() }));
    }
    candidates
}

/// Whether calls may be sent for a group: not while nobody can see what they did.
fn may_call(group: &DesiredGroup, state: &InstanceState, now: Timestamp) -> bool {
    let reported = |since| now < add(since, state.timings.report_timeout);
    !group.holds_calls() && group.unreported_since.is_none_or(reported)
}

impl CandidateBatch<'_> {
    /// A partial batch with freshly edited tasks is held back until no further edit has come for a
    /// moment, so that groups applied one after the other share calls; but never for long.
    fn linger_until(&self, timings: &Timings) -> Option<Timestamp> {
        if self.isolation != Isolation::None || self.tasks.len() == BATCH_MAX {
            return None;
        }
        let edits = || self.tasks.iter().filter_map(|task| task.edits);
        let first = edits().map(|edits| edits.first).min()?;
        let last = edits().map(|edits| edits.last).max()?;
        Some(add(last, timings.batch_idle).min(add(first, timings.batch_max_wait)))
    }

    fn waiting_since(&self) -> Option<Timestamp> {
        self.tasks.iter().map(|task| task.since).min()
    }
}

/// Most urgent first, halves of refused batches before others, stops before starts, then by ID;
/// every third call is the one with the task that has waited longest.
fn in_order(mut candidates: Vec<CandidateBatch<'_>>, sent: u64) -> Vec<Batch> {
    candidates.sort_by_key(|batch| {
        let first = &batch.tasks[0];
        (first.priority, !matches!(batch.isolation, Isolation::Bisected(_)), batch.action, first.id)
    });
    let mut calls = Vec::with_capacity(candidates.len());
    let mut position = sent;
    while !candidates.is_empty() {
        position += 1;
        let longest = (0..candidates.len()).min_by_key(|&index| (candidates[index].waiting_since(), index));
        let next = longest.filter(|_| position.is_multiple_of(FAIR_TURN)).unwrap_or(0);
        let batch = candidates.remove(next);
        calls.extend(Batch::new(batch.action, batch.tasks.into_iter().map(|task| task.id.clone()).collect()));
    }
    calls
}

#[cfg(test)]
mod tests;
