//! When a group with `deletionPolicy: Stop` that is being deleted lets go of its finalizer.

use jiff::Timestamp;

use super::Facts;
use crate::time::backoff::after;
use crate::reconcile::ledger::Bucket;
use crate::reconcile::Finalizer;
use crate::reconcile::observation::{Severity, Trouble};

/// Why the finalizer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LettingGo {
    /// Its tasks are stopped, or there is nothing to stop.
    Done,
    /// It goes with tasks that may still run: what happened, for the event, the log and the metric.
    GivenUp(String),
}

pub(super) fn letting_go(facts: &Facts<'_, '_>) -> Option<LettingGo> {
    match facts.group.finalizer {
        Finalizer::Remove => return Some(LettingGo::Done),
        Finalizer::Held => {}
        Finalizer::Fine | Finalizer::Add => return None,
    }
    let deleting = facts.group.deleting?;
    let stopped = facts.tally.ready + facts.tally.missing + facts.tally.not_found;
    let left = facts.group.owned.len() - stopped;
    // A view from before the deletion counts too: what it shows stopped and nobody called since is stopped.
    if facts.group.owned.is_empty() || facts.desired.instance_suspended() || (facts.sight.view().is_some() && left == 0)
    {
        return Some(LettingGo::Done);
    }
    if let Some(trouble) = gone(facts) {
        let seen = trouble.first.max(deleting.since);
        if facts.now >= after(seen, facts.ledger.timings().deletion_gone) {
            let why = trouble.problem.message();
            return Some(LettingGo::GivenUp(format!("{left} tasks were not seen stopped: {why}")));
        }
    }
    let late = facts.now >= after(deleting.since, facts.ledger.timings().deletion_give_up);
    (late && tried(facts)).then(|| {
        let why = facts
            .sight
            .trouble()
            .or(facts.sight.call_trouble())
            .map_or("they did not stop in time", |t| t.problem.message());
        LettingGo::GivenUp(format!("{left} tasks were not seen stopped: {why}"))
    })
}

/// When time alone changes the answer.
pub(super) fn next_step(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let deleting = facts.group.deleting.filter(|_| facts.group.finalizer == Finalizer::Held)?;
    let timings = facts.ledger.timings();
    let gone = gone(facts).map(|trouble| after(trouble.first.max(deleting.since), timings.deletion_gone));
    let late = after(deleting.since, timings.deletion_give_up);
    Some(gone.map_or(late, |gone| gone.min(late)))
}

/// The instance or its Secret is gone: nothing can be stopped any more.
fn gone<'a>(facts: &Facts<'_, 'a>) -> Option<&'a Trouble> {
    facts.sight.trouble().filter(|trouble| trouble.problem.severity() == Severity::Missing)
}

/// At least one full attempt was made: the service failed us, or each task that still runs was tried.
fn tried(facts: &Facts<'_, '_>) -> bool {
    let troubled = facts.sight.trouble().is_some() || facts.sight.call_trouble().is_some();
    troubled
        || facts.standings.iter().all(|(id, standing)| {
            standing.bucket == Bucket::Ready || (facts.ledger.failure(id).is_some() && standing.due.is_none())
        })
}
