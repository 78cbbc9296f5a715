//! Step 5, pure: what the statuses report now, the events that go with it, and which finalizers are
//! removed.
//!
//! Nothing is carried over: each reconcile computes every condition from today's spec and the last
//! observation.

mod bounded;
pub mod deletion;
mod facts;
mod failures;
mod group;
mod instance;
mod pending;
mod ready;
pub mod report;
mod row;
mod runs;
mod selection;

use jiff::Timestamp;

use self::facts::Facts;
use self::report::{GroupReport, InstanceReport};
use crate::reconcile::desired::Desired;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::ledger::phase::{Assessment, Due};
use crate::reconcile::outcome::Outcomes;

/// What is to be reported about one instance and all its groups.
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    groups: Vec<GroupReport<'a>>,
    instance: Option<InstanceReport>,
    next_check: Option<Timestamp>,
    calls_due: bool,
    computed_at: Timestamp,
}

impl<'a> Statuses<'a> {
    pub fn groups(&self) -> &[GroupReport<'a>] {
        &self.groups
    }

    pub fn instance(&self) -> Option<&InstanceReport> {
        self.instance.as_ref()
    }

    /// Groups whose tasks are all as desired, by uid.
    pub fn converged(&self) -> impl Iterator<Item = &'a str> {
        let ready = |report: &&GroupReport<'a>| report.tally.ready == report.tally.total;
        self.groups.iter().filter(ready).map(|report| &*report.group.uid)
    }

    /// The earliest moment at which a task is to be listed, or time alone changes a condition.
    pub fn next_check(&self) -> Option<Timestamp> {
        self.next_check
    }

    /// Some task needs nothing but its call.
    pub fn calls_due(&self) -> bool {
        self.calls_due
    }

    /// The moment that the statuses are for.
    pub fn computed_at(&self) -> Timestamp {
        self.computed_at
    }
}

/// Computes all statuses. `outcomes` are those of this reconcile, already recorded in `state`.
pub fn status<'a>(desired: &'a Desired, state: &InstanceState, outcomes: &Outcomes, now: Timestamp) -> Statuses<'a> {
    let mut checks = Vec::new();
    let mut calls_due = false;
    let mut managed = 0;
    let mut groups = Vec::with_capacity(desired.groups().len());
    for group in desired.groups() {
        let facts = Facts::gather(desired, group, state, now);
        managed += facts.assessments.iter().filter(|(_, assessment)| assessment.listed).count();
        let due = |assessment: &Assessment| matches!(assessment.due, Some(Due::Now(_)));
        calls_due |= !group.holds_calls() && facts.assessments.iter().any(|(_, assessment)| due(assessment));
        checks.extend(facts.assessments.iter().filter_map(|(_, assessment)| assessment.check_at).min());
        checks.extend(facts.names.iter().filter_map(|(_, assessment)| assessment.check_at));
        checks.extend(ready::next_transition(&facts));
        groups.push(group::report(facts, outcomes));
    }
    let instance = desired.instance().map(|instance| instance::report(instance, desired, state, managed, now));
    checks.extend(desired.instance().and_then(|_| instance::next_transition(state, now)));
    Statuses { groups, instance, next_check: checks.into_iter().min(), calls_due, computed_at: now }
}
