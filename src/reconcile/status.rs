//! Step 5, pure: what the statuses report now, the events that go with it, and which finalizers are removed.
//!
//! Nothing is carried over: each reconcile computes every condition from today's spec and the last observation.

pub mod acknowledgement;
pub mod deletion;
mod failures;
mod group;
mod instance;
mod ready;

use jiff::Timestamp;

use self::deletion::FinalizerRelease;
use crate::crd::{FdiInstanceStatus, FdiTaskGroupStatus};
use crate::fdi::{LastRun, TaskId};
use crate::k8s::events::EventType;
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::ledger::phase::{Assessment, FailedReason, PendingReason, Phase};
use crate::reconcile::observation::TaskList;
use crate::reconcile::outcome::Outcomes;

/// An event that is published once the status it belongs to is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    pub kind: EventType,
    pub reason: &'static str,
    pub action: &'static str,
    pub message: String,
}

/// What is to be reported about one group.
#[derive(Debug, Clone)]
pub struct GroupReport<'a> {
    pub group: &'a DesiredGroup,
    pub status: FdiTaskGroupStatus,
    pub events: Vec<StatusEvent>,
    /// The finalizer is to be removed, and why.
    pub release: Option<FinalizerRelease>,
    pub tally: Tally,
}

/// What is to be reported about one instance.
#[derive(Debug, Clone)]
pub struct InstanceReport {
    pub status: FdiInstanceStatus,
    pub events: Vec<StatusEvent>,
}

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
        self.groups.iter().filter(ready).map(|report| report.group.uid.as_str())
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

/// How many tasks of a group are in which phase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub total: usize,
    pub ready: usize,
    pub failed: usize,
    pub conflicting: usize,
    pub last_run_failed: usize,
    pub contested: usize,
    pub not_found: usize,
    pub calls_due: usize,
    pub settling: usize,
    pub opposing: usize,
    pub retrying: usize,
    pub missing: usize,
    pub unobserved: usize,
}

impl Tally {
    pub fn pending(&self) -> usize {
        self.total - self.ready - self.failed - self.conflicting
    }

    /// Tasks that are stopped, or that the service does not list.
    pub fn stopped_or_missing(&self) -> usize {
        self.ready + self.missing + self.not_found
    }

    fn count(&mut self, phase: Phase) {
        match phase {
            Phase::Ready => self.ready += 1,
            Phase::Failed(reason) => {
                self.failed += 1;
                match reason {
                    FailedReason::Contested => self.contested += 1,
                    FailedReason::NotFound => self.not_found += 1,
                    FailedReason::Refused => {}
                }
            }
            Phase::Pending(PendingReason::Observation) => self.unobserved += 1,
            Phase::Pending(PendingReason::Call) => self.calls_due += 1,
            Phase::Pending(PendingReason::Settling) => self.settling += 1,
            Phase::Pending(PendingReason::OpposingCall) => self.opposing += 1,
            Phase::Pending(PendingReason::Retry) => self.retrying += 1,
            Phase::Pending(PendingReason::Listing) => self.missing += 1,
        }
    }
}

/// Everything that the condition table is decided from, for one group.
struct Facts<'a, 'm> {
    group: &'a DesiredGroup,
    tally: Tally,
    assessments: Vec<(&'a TaskId, Assessment)>,
    desired: &'a Desired,
    state: &'m InstanceState,
    now: Timestamp,
}

/// Computes all statuses. `outcomes` are those of this reconcile, already recorded in `state`.
pub fn status<'a>(desired: &'a Desired, state: &InstanceState, outcomes: &Outcomes, now: Timestamp) -> Statuses<'a> {
    let list = state.observation.list();
    let mut checks = Vec::new();
    let mut calls_due = false;
    let mut managed = 0;
    let mut groups = Vec::with_capacity(desired.groups().len());
    for group in desired.groups() {
        let facts = Facts::gather(desired, group, state, now);
        managed += group.owned.iter().filter(|id| list.is_some_and(|list| list.task(id).is_some())).count();
        calls_due |= !group.suspended && facts.assessments.iter().any(|(_, assessment)| assessment.due.is_some());
        checks.extend(facts.assessments.iter().filter_map(|(_, assessment)| assessment.check_at).min());
        checks.extend(ready::next_transition(&facts));
        groups.push(group::report(facts, outcomes));
    }
    let instance = desired.instance().map(|instance| instance::report(instance, desired, state, managed, now));
    checks.extend(desired.instance().and_then(|_| instance::next_transition(state, now)));
    Statuses { groups, instance, next_check: checks.into_iter().min(), calls_due, computed_at: now }
}

impl<'a, 'm> Facts<'a, 'm> {
    fn gather(desired: &'a Desired, group: &'a DesiredGroup, state: &'m InstanceState, now: Timestamp) -> Self {
        let list = state.observation.list();
        let assess = |id| (id, state.ledger.assess(group, id, list, now));
        let assessments: Vec<_> = group.owned.iter().map(assess).collect();
        let mut tally = Tally {
            total: group.total(),
            failed: group.invalid.len(),
            conflicting: group.conflicts.len(),
            ..Tally::default()
        };
        for (id, assessment) in &assessments {
            tally.count(assessment.phase);
            tally.last_run_failed += usize::from(last_run_failed(list, id));
        }
        Self { group, tally, assessments, desired, state, now }
    }

    fn suspended(&self) -> bool {
        self.group.suspended || self.desired.instance_suspended()
    }
}

fn last_run_failed(list: Option<&TaskList>, id: &TaskId) -> bool {
    list.and_then(|list| list.task(id)).is_some_and(|task| task.last_run == LastRun::Error)
}

/// Counts in statuses are 32-bit.
fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
