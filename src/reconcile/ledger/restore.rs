//! Takes over what a group's status brings along from before a restart.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Ledger;
use super::inheritance::Inheritance;
use crate::fdi::TaskId;
use crate::reconcile::desired::DesiredGroup;
use crate::reconcile::ledger::runs::{Cause, FailedRun};
use crate::reconcile::ledger::task::Pace;

impl Ledger {
    /// Takes over what is known of those tasks of a group that are in `ids`.
    ///
    /// Where the status counts tasks that another group owned and that are its own by now, calls
    /// for that group may still act; it may be gone with all that its status said.
    pub(super) fn inherit(&mut self, group: &DesiredGroup, known: &Inheritance, ids: &HashSet<TaskId>, now: Timestamp) {
        let action = group.run_state.opposite().action();
        let others = group.conflicts.len() + group.overridden;
        let taken_over = known.inherited && !group.awaits_selection() && known.others > others;
        for id in ids {
            if taken_over {
                self.tasks.update(id, |record| record.assume_call(action, now));
            }
            if let Some(settled) = known.settled {
                self.tasks.update(id, |record| record.settled = Some(settled));
            }
        }
        for stored in &known.failures {
            if let Some(id) = TaskId::new(stored.task_id.as_str()).ok().filter(|id| ids.contains(id)) {
                let pace = Pace { timings: &self.timings, jitter: self.jitter };
                self.tasks.update(&id, |record| record.restore_failure(stored, now, pace));
            }
        }
        // Since when tasks fail their runs, whatever was edited meanwhile.
        for stored in &known.failed_runs {
            if let Some(id) = TaskId::new(stored.task_id.as_str()).ok().filter(|id| ids.contains(id)) {
                let cause = stored.cause.as_deref().map(|cause| Cause::Known(cause.into()));
                let run = FailedRun { since: stored.since.0, cause: cause.unwrap_or(Cause::NotRequested) };
                self.failed_runs.restore(&id, run);
            }
        }
        if let Some(ended) = known.opposing_call {
            for id in ids {
                self.tasks.update(id, |record| record.assume_call(action, ended));
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
