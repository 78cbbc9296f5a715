//! What a group's status brings along from before a restart.

use jiff::Timestamp;

use crate::crd::{self, Condition, TaskFailure, condition_types, find_condition};
use crate::fdi::RunState;
use crate::reconcile::desired::DesiredGroup;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// What is known from before a restart about the tasks of a group. It is kept until it is known
/// which tasks these are: what names and selectors choose is known with the first list.
#[derive(Debug, Clone)]
pub struct Inheritance {
    /// A predecessor may have sent calls for the group.
    pub inherited: bool,
    /// How many tasks another group owned.
    pub others: usize,
    /// When the last call ended that may still act against what is desired.
    pub opposing_call: Option<Timestamp>,
    /// All tasks were observed in this state as desired.
    pub settled: Option<RunState>,
    pub failures: Vec<TaskFailure>,
    pub failed_runs: Vec<crd::FailedRun>,
}

impl Inheritance {
    /// Reads the status.
    ///
    /// A call of a predecessor may still act against what is desired now. Where the status is of
    /// this generation it says so (`opposingCallTime`). Where the group was edited since, calls for
    /// the specs in between are known to nobody, unless the status is of the generation just before
    /// and wanted the same state. A group of the first generation had no other spec.
    pub fn read(group: &DesiredGroup, resumed: bool, timings: &Timings, now: Timestamp) -> Self {
        let status = &group.status;
        let counted = |n: i32| usize::try_from(n).unwrap_or(0);
        let conflicting = status.tasks.map_or(0, |tasks| counted(tasks.conflicting));
        let mut read = Self {
            inherited: group.predates || resumed,
            others: conflicting + status.selection.as_ref().map_or(0, |selection| counted(selection.overridden)),
            opposing_call: None,
            settled: None,
            failures: Vec::new(),
            failed_runs: status.failed_runs.to_vec(),
        };
        if !group.acknowledged() {
            let same_direction = status.desired_state.map(RunState::from) == Some(group.run_state)
                && group.generation == status.observed_generation + 1;
            read.opposing_call = (read.inherited && group.generation > 1 && !same_direction).then_some(now);
            return read;
        }
        read.failures.clone_from(&status.failures);
        let opposing_call = status.opposing_call_time.as_ref().map(|time| time.0.min(now));
        read.opposing_call = opposing_call.filter(|&ended| now < add(ended, timings.settle_window));
        let ready = find_condition(&status.conditions, condition_types::READY).is_some_and(Condition::is_true);
        read.settled = (ready && read.opposing_call.is_none()).then_some(group.run_state);
        read
    }
}
