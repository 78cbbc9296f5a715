//! Everything that the status of one group is decided from.

use jiff::Timestamp;

use crate::crd::whole_seconds;
use crate::fdi::text::truncate;
use crate::fdi::{Task, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::ledger::phase::{Assessment, FailedReason, PendingReason, Phase};
use crate::reconcile::selection::{NameProblem, UnresolvedName};

/// Most bytes of a task's name in a status.
pub(super) const TASK_NAME_MAX: usize = 128;

/// How many tasks of a group are in which phase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub total: usize,
    pub ready: usize,
    pub failed: usize,
    pub conflicting: usize,
    /// Owned tasks that are on.
    pub on: usize,
    /// Those of them whose latest run failed.
    pub failing: usize,
    pub contested: usize,
    pub not_found: usize,
    pub ambiguous: usize,
    pub calls_due: usize,
    pub settling: usize,
    pub opposing: usize,
    pub retrying: usize,
    pub missing: usize,
    pub unobserved: usize,
    pub unknown_state: usize,
}

impl Tally {
    pub fn pending(&self) -> usize {
        self.total - self.ready - self.failed - self.conflicting
    }

    fn count(&mut self, phase: Phase) {
        match phase {
            Phase::Ready => self.ready += 1,
            Phase::Failed(reason) => {
                self.failed += 1;
                match reason {
                    FailedReason::Contested => self.contested += 1,
                    FailedReason::NotFound => self.not_found += 1,
                    FailedReason::Ambiguous => self.ambiguous += 1,
                    FailedReason::Refused => {}
                }
            }
            Phase::Pending(PendingReason::Observation) => self.unobserved += 1,
            // A lost call may have to be repeated: as long as nothing else is observed it still has
            // to be done.
            Phase::Pending(PendingReason::Call | PendingReason::Confirmation) => self.calls_due += 1,
            Phase::Pending(PendingReason::Settling) => self.settling += 1,
            Phase::Pending(PendingReason::OpposingCall) => self.opposing += 1,
            Phase::Pending(PendingReason::Retry) => self.retrying += 1,
            Phase::Pending(PendingReason::Listing) => self.missing += 1,
            Phase::Pending(PendingReason::UnknownState) => self.unknown_state += 1,
        }
    }
}

/// Everything that the condition table is decided from, for one group.
pub(super) struct Facts<'a, 'm> {
    pub group: &'a DesiredGroup,
    pub tally: Tally,
    pub assessments: Vec<(&'a TaskId, Assessment)>,
    /// The names that stand for no task.
    pub names: Vec<(&'a UnresolvedName, Assessment)>,
    /// The owned tasks that fail their runs with since when, longest first.
    pub failing: Vec<(Timestamp, &'a TaskId)>,
    pub desired: &'a Desired,
    pub state: &'m InstanceState,
    pub now: Timestamp,
}

impl<'a, 'm> Facts<'a, 'm> {
    pub fn gather(desired: &'a Desired, group: &'a DesiredGroup, state: &'m InstanceState, now: Timestamp) -> Self {
        let list = state.observation.list();
        let assess = state.ledger.assessor(group, list, now);
        let assessments: Vec<_> = group.owned.iter().map(|id| (id, assess(id))).collect();
        let mut tally = Tally {
            total: group.total(),
            failed: group.invalid.len() + group.exceeding,
            conflicting: group.conflicts.len(),
            ..Tally::default()
        };
        let names: Vec<_> =
            group.unresolved().iter().map(|name| (name, assess_name(name, group, state, now))).collect();
        for assessment in assessments.iter().map(|(_, found)| found).chain(names.iter().map(|(_, found)| found)) {
            tally.count(assessment.phase);
            tally.on += usize::from(assessment.on);
        }
        let since = |id: &'a TaskId| Some((whole_seconds(state.ledger.failed_run(id)?.since), id));
        let mut failing: Vec<_> = group.owned.iter().filter_map(since).collect();
        failing.sort_unstable();
        tally.failing = failing.len();
        Self { group, tally, assessments, names, failing, desired, state, now }
    }

    /// The owned tasks of a group being deleted that are neither observed stopped nor known not to
    /// exist.
    pub fn still_to_stop(&self) -> impl Iterator<Item = &(&'a TaskId, Assessment)> {
        let done = |phase| matches!(phase, Phase::Ready | Phase::Failed(FailedReason::NotFound));
        self.assessments.iter().filter(move |(_, found)| !done(found.phase))
    }

    /// A task as the last list shows it.
    pub fn task(&self, id: &TaskId) -> Option<&'m Task> {
        self.state.observation.list().and_then(|list| list.task(id))
    }

    /// The name of a task in a status; empty where the list does not show the task.
    pub fn task_name(&self, id: &TaskId) -> String {
        truncate(self.task(id).map_or("", |task| &task.name), TASK_NAME_MAX)
    }

    /// The first list after a restart chose other tasks than the status says.
    pub fn selection_unconfirmed(&self) -> bool {
        self.group.selection.as_ref().is_some_and(|selection| selection.unconfirmed)
    }

    pub fn suspended(&self) -> bool {
        self.group.suspended || self.desired.instance_suspended()
    }
}

fn assess_name(name: &UnresolvedName, group: &DesiredGroup, state: &InstanceState, now: Timestamp) -> Assessment {
    match (&name.problem, state.observation.list()) {
        (NameProblem::Ambiguous { .. }, _) => Assessment::settled(Phase::Failed(FailedReason::Ambiguous)),
        (NameProblem::NotFound(missing), Some(list)) => {
            missing.assess(list, group.deletion_timestamp.is_some(), &state.timings, now)
        }
        (NameProblem::NotFound(_), None) => Assessment::settled(Phase::Pending(PendingReason::Listing)),
    }
}

/// Counts in statuses are 32-bit.
pub(super) fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
