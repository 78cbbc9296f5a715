//! When the finalizer of a group with `deletionPolicy: Stop` that is being deleted is removed.

use jiff::Timestamp;

use super::facts::Facts;
use crate::reconcile::desired::FinalizerAction;
use crate::reconcile::ledger::phase::Due;
use crate::reconcile::observation::failure::{FailureStreak, Severity};
use crate::time::backoff::add;

/// Why the finalizer is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinalizerRelease {
    /// The tasks are stopped, or there is nothing to stop.
    Completed,
    /// Tasks may still run: what happened, for the event, the log and the metric.
    Abandoned(String),
}

pub(super) fn release(facts: &Facts<'_, '_>) -> Option<FinalizerRelease> {
    match facts.group.finalizer {
        FinalizerAction::Remove => return Some(FinalizerRelease::Completed),
        FinalizerAction::Hold => {}
        FinalizerAction::None | FinalizerAction::Add => return None,
    }
    let seen = facts.state.ledger.deletion_seen(&facts.group.uid).unwrap_or(facts.now);
    let timings = &facts.state.timings;
    if facts.group.decode_error.is_some() {
        let why = "the stored spec cannot be decoded, so its tasks are not known".to_owned();
        return (facts.now >= add(seen, timings.deletion_orphan_timeout)).then_some(FinalizerRelease::Abandoned(why));
    }
    let all_known = all_tasks_known(facts);
    if (facts.group.owned.is_empty() && all_known) || facts.desired.instance_suspended() {
        return Some(FinalizerRelease::Completed);
    }
    let left = facts.still_to_stop().count();
    // Only a list that was requested after the deletion shows that the tasks are stopped: before
    // it, somebody else may have started them.
    let observed = facts.state.observation.list().is_some_and(|list| list.requested_at > seen);
    if observed && left == 0 && all_known {
        return Some(FinalizerRelease::Completed);
    }
    let abandoned = |why: &str| {
        let tasks = if left == 0 { "the tasks".to_owned() } else { format!("{left} tasks") };
        FinalizerRelease::Abandoned(format!("{tasks} were not observed stopped: {why}"))
    };
    if let Some(failure) = missing_reference(facts)
        && facts.now >= add(failure.started.max(seen), timings.deletion_orphan_timeout)
    {
        return Some(abandoned(failure.error.message()));
    }
    (facts.now >= deadline(facts, seen) && attempted(facts)).then(|| {
        let observation = &facts.state.observation;
        let failure = observation.list_failure().or(observation.call_failure());
        abandoned(failure.map_or("they did not stop in time", |failure| failure.error.message()))
    })
}

/// Whether everything that names and the selector choose is among the owned tasks.
fn all_tasks_known(facts: &Facts<'_, '_>) -> bool {
    let chosen = facts.group.selection.as_ref();
    !facts.group.awaits_selection()
        && chosen.is_none_or(|selection| selection.too_large.is_none() && !selection.unconfirmed)
}

/// When time alone changes the answer, or a list is due that may.
pub(super) fn next_transition(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let seen = facts.state.ledger.deletion_seen(&facts.group.uid)?;
    if facts.group.finalizer != FinalizerAction::Hold {
        return None;
    }
    let observation = &facts.state.observation;
    let orphaned = missing_reference(facts)
        .map(|failure| add(failure.started.max(seen), facts.state.timings.deletion_orphan_timeout));
    let list = observation.list().filter(|list| list.requested_at <= seen && observation.list_failure().is_none());
    let list = list.map(|_| facts.now);
    // After the deadline only what is attempted then is waited for.
    let deadline = Some(deadline(facts, seen)).filter(|&deadline| facts.now < deadline);
    [orphaned, list, deadline].into_iter().flatten().min()
}

/// When the finalizer is removed whatever the tasks do. The time that passed before a restart
/// counts, as far as the wall clocks tell; this process tries for a while of its own in any case.
fn deadline(facts: &Facts<'_, '_>, seen: Timestamp) -> Timestamp {
    let timings = &facts.state.timings;
    let deleted_at = facts.group.deletion_timestamp.unwrap_or(seen).min(seen);
    add(deleted_at, timings.deletion_timeout).max(add(seen, timings.deletion_orphan_timeout))
}

/// The instance or its Secret is gone: nothing can be stopped any more.
fn missing_reference<'m>(facts: &Facts<'_, 'm>) -> Option<&'m FailureStreak> {
    let failure = facts.state.observation.list_failure();
    failure.filter(|failure| failure.error.severity() == Severity::MissingReference)
}

/// At least one full attempt was made: the service failed, or a call for each task that is left
/// did.
fn attempted(facts: &Facts<'_, '_>) -> bool {
    let observation = &facts.state.observation;
    observation.list_failure().is_some()
        || observation.call_failure().is_some()
        || facts.still_to_stop().all(|(id, assessment)| {
            let due = matches!(assessment.due, Some(Due::Now(_)));
            facts.state.ledger.failure(id).is_some() && !due
        })
}
