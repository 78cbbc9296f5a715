//! The latest calls for a group, as its status tells them.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Ledger;
use crate::crd::{HistoryEntry, Trigger, whole_seconds};
use crate::fdi::{Action, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::outcome::CompletedCall;
use crate::time::backoff::add;

/// Most entries.
pub const HISTORY_MAX: usize = 10;

/// Calls for the same cause that follow the first within this time are one entry.
const SAME_WAVE: Duration = Duration::from_mins(1);

impl Ledger {
    /// Why a task gets a call now.
    pub fn trigger(&self, group: &DesiredGroup, id: &TaskId) -> Trigger {
        let record = self.tasks.get(id);
        let retried = record.is_some_and(|record| record.failure.is_some() || record.lost_calls > 0);
        let drifting = record.is_some_and(|record| record.drifting);
        // Before a restart, perhaps: nobody knows.
        let called = record.and_then(|record| record.call).is_some_and(|call| call.action == group.run_state.action());
        let edited = self.pending_edits(&group.uid).is_some();
        match group.deletion_timestamp {
            Some(_) => Trigger::Deletion,
            None if retried => Trigger::Retry,
            None if drifting => Trigger::Drift,
            None if edited => Trigger::Edit,
            None if called => Trigger::Retry,
            // Nobody edited the group, so somebody else switched the task.
            None => Trigger::Drift,
        }
    }

    /// Notes a call that ended. To be called before what it changes is recorded.
    pub fn note_call(&mut self, desired: &Desired, call: &CompletedCall) {
        for id in call.batch.ids() {
            let Some(group) = desired.owner(id) else { continue };
            let trigger = self.trigger(group, id);
            let accepted = call.accepted().any(|other| other == id);
            let time = whole_seconds(call.ended);
            let Some(record) = self.groups.get_mut(&group.uid) else { continue };
            let same = |entry: &&mut HistoryEntry| {
                let wave = call.ended < add(entry.time.0, SAME_WAVE);
                entry.trigger == trigger && entry.generation == group.generation && wave
            };
            if !record.recent.iter_mut().any(|entry| same(&entry)) {
                let entry = HistoryEntry::new(Time(time), trigger, group.generation);
                record.recent.insert(0, entry);
                record.recent.truncate(HISTORY_MAX);
            }
            let Some(entry) = record.recent.iter_mut().find(same) else { continue };
            let count = if call.batch.action() == Action::Start { &mut entry.starts } else { &mut entry.stops };
            *count = count.saturating_add(1);
            entry.failed = entry.failed.saturating_add(i32::from(!accepted));
        }
    }

    /// The history to show with a status that is written anyway: newest first.
    pub fn history(&self, group: &DesiredGroup) -> Vec<HistoryEntry> {
        let recent = self.groups.get(&group.uid).map_or(&[][..], |record| &record.recent);
        let is_recent = |stored: &&HistoryEntry| recent.iter().any(|entry| entry.is_same_wave(stored));
        let stored = group.status.history.iter().filter(|stored| !is_recent(stored));
        let mut history: Vec<HistoryEntry> = recent.iter().chain(stored).cloned().collect();
        history.sort_by_key(|entry| Reverse(entry.time.0));
        history.truncate(HISTORY_MAX);
        history
    }
}

/// Forgets what a status tells and no further call can change.
pub(super) fn forget_told(recent: &mut Vec<HistoryEntry>, stored: &[HistoryEntry], now: Timestamp) {
    if recent.iter().all(|entry| stored.contains(entry) && now >= add(entry.time.0, SAME_WAVE)) {
        *recent = Vec::new();
    }
}
