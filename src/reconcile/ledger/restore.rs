//! What a group's status brings along from before a restart.

use jiff::Timestamp;

use super::Ledger;
use crate::crd::{Condition, condition_types, find_condition};
use crate::fdi::{RunState, TaskId};
use crate::reconcile::desired::DesiredGroup;
use crate::reconcile::ledger::runs::{Cause, FailedRun};
use crate::reconcile::ledger::task::Pace;
use crate::time::backoff::add;

impl Ledger {
    /// Takes over what a group's status stores from before a restart.
    ///
    /// A call of a predecessor may still act against what is desired now. Where the status is of
    /// this generation it says so (`opposingCallTime`). Where the group was edited since, calls for
    /// the specs in between are known to nobody, unless the status is of the generation just before
    /// and wanted the same state. A group of the first generation had no other spec.
    ///
    /// Where the status counts tasks that another group owned and that are its own by now, calls
    /// for that group may still act; it may be gone with all that its status said.
    pub(super) fn restore(&mut self, group: &DesiredGroup, now: Timestamp) {
        let status = &group.status;
        let inherited = group.predates || self.resumed;
        let conflicting = status.tasks.map_or(0, |tasks| usize::try_from(tasks.conflicting).unwrap_or(0));
        if inherited && conflicting > group.conflicts.len() {
            self.assume_opposing_call(group, now);
        }
        if !group.acknowledged() {
            let same_direction = status.desired_state.map(RunState::from) == Some(group.run_state)
                && group.generation == status.observed_generation + 1;
            if inherited && group.generation > 1 && !same_direction {
                self.assume_opposing_call(group, now);
            }
            return;
        }
        for stored in &status.failures {
            let Ok(id) = TaskId::new(stored.task_id.as_str()) else { continue };
            if group.owned.contains(&id) {
                let pace = Pace { timings: &self.timings, jitter: self.jitter };
                self.tasks.update(&id, |record| record.restore_failure(stored, now, pace));
            }
        }
        if let Some(ended) = status.opposing_call_time.as_ref().map(|time| time.0.min(now))
            && now < add(ended, self.timings.settle_window)
        {
            self.assume_opposing_call(group, ended);
        } else if find_condition(&status.conditions, condition_types::READY).is_some_and(Condition::is_true) {
            for id in &group.owned {
                self.tasks.update(id, |record| record.settled = Some(group.run_state));
            }
        }
    }

    /// Since when tasks fail their runs, whatever was edited meanwhile.
    pub(super) fn restore_runs(&mut self, group: &DesiredGroup) {
        for stored in &group.status.failed_runs {
            let Ok(id) = TaskId::new(stored.task_id.as_str()) else { continue };
            if group.owned.contains(&id) {
                let known = stored.cause.as_deref().map(|cause| Cause::Known(cause.into()));
                let cause = known.unwrap_or(Cause::NotRequested);
                self.failed_runs.restore(&id, FailedRun { since: stored.since.0, cause });
            }
        }
    }

    /// A call of a predecessor may still act against what is desired now.
    pub(super) fn assume_opposing_call(&mut self, group: &DesiredGroup, ended: Timestamp) {
        let action = group.run_state.opposite().action();
        for id in &group.owned {
            self.tasks.update(id, |record| record.assume_call(action, ended));
        }
    }
}
