//! When the finalizer of a group with `deletionPolicy: Stop` that is being deleted is removed.

use jiff::Timestamp;

use super::facts::Facts;
use crate::reconcile::desired::FinalizerAction;
use crate::reconcile::ledger::phase::Phase;
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
    let deleted_at = facts.group.deletion_timestamp?;
    let observation = &facts.state.observation;
    let left = facts.group.owned.len() - facts.tally.stopped_or_missing();
    // A list from before the deletion counts too: what it shows stopped and nobody called since is stopped.
    if facts.group.owned.is_empty() || facts.desired.instance_suspended() || (observation.list().is_some() && left == 0)
    {
        return Some(FinalizerRelease::Completed);
    }
    let abandoned = |why: &str| FinalizerRelease::Abandoned(format!("{left} tasks were not observed stopped: {why}"));
    if let Some(failure) = missing_reference(facts) {
        let since = failure.started.max(deleted_at);
        if facts.now >= add(since, facts.state.timings.deletion_orphan_timeout) {
            return Some(abandoned(failure.error.message()));
        }
    }
    let timed_out = facts.now >= add(deleted_at, facts.state.timings.deletion_timeout);
    (timed_out && attempted(facts)).then(|| {
        let failure = observation.list_failure().or(observation.call_failure());
        abandoned(failure.map_or("they did not stop in time", |failure| failure.error.message()))
    })
}

/// When time alone changes the answer.
pub(super) fn next_transition(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let deleted_at = facts.group.deletion_timestamp.filter(|_| facts.group.finalizer == FinalizerAction::Hold)?;
    let timings = &facts.state.timings;
    let orphaned =
        missing_reference(facts).map(|failure| add(failure.started.max(deleted_at), timings.deletion_orphan_timeout));
    orphaned.into_iter().chain([add(deleted_at, timings.deletion_timeout)]).min()
}

/// The instance or its Secret is gone: nothing can be stopped any more.
fn missing_reference<'m>(facts: &Facts<'_, 'm>) -> Option<&'m FailureStreak> {
    let failure = facts.state.observation.list_failure();
    failure.filter(|failure| failure.error.severity() == Severity::MissingReference)
}

/// At least one full attempt was made: the service failed, or a call for each task that still runs did.
fn attempted(facts: &Facts<'_, '_>) -> bool {
    let observation = &facts.state.observation;
    observation.list_failure().is_some()
        || observation.call_failure().is_some()
        || facts.assessments.iter().all(|(id, assessment)| {
            assessment.phase == Phase::Ready || (facts.state.ledger.failure(id).is_some() && assessment.due.is_none())
        })
}
