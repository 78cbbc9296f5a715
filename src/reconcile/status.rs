//! Step 5, pure: what the statuses say now, what events that makes, and which finalizers go.
//!
//! Nothing is carried over: each pass computes every condition from today's spec and the last observation.

mod acknowledgement;
mod deletion;
mod failures;
mod group;
mod instance;
mod row;

use jiff::Timestamp;

use super::{Desired, GroupWish, Outcomes};
use crate::crd::{FdiInstanceStatus, FdiTaskGroupStatus};
use crate::fdi::{LastRun, TaskId};
use crate::reconcile::ledger::{Bucket, FailedFor, Ledger, PendingFor, Standing};
use crate::reconcile::observation::{Sight, View};

pub use acknowledgement::acknowledgements;
pub use deletion::LettingGo;

/// An event that becomes true with a status write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: &'static str,
    pub action: &'static str,
    pub text: String,
}

/// What is to be said about one group.
#[derive(Debug, Clone)]
pub struct GroupReport<'a> {
    pub group: &'a GroupWish,
    pub status: FdiTaskGroupStatus,
    pub notes: Vec<Note>,
    /// The deletion is done, or given up.
    pub letting_go: Option<LettingGo>,
    pub tally: Tally,
}

/// What is to be said about one instance and all its groups.
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    groups: Vec<GroupReport<'a>>,
    instance: Option<(FdiInstanceStatus, Vec<Note>)>,
    next_look: Option<Timestamp>,
    due: bool,
}

impl<'a> Statuses<'a> {
    pub fn groups(&self) -> &[GroupReport<'a>] {
        &self.groups
    }

    pub fn instance(&self) -> Option<&(FdiInstanceStatus, Vec<Note>)> {
        self.instance.as_ref()
    }

    /// Groups whose tasks are all as wanted.
    pub fn converged(&self) -> impl Iterator<Item = &'a str> {
        let ready = |report: &&GroupReport<'a>| report.tally.ready == report.tally.total;
        self.groups.iter().filter(ready).map(|report| report.group.uid.as_str())
    }

    /// The earliest moment at which a task wants to be looked at, or a row of the table is reached by time alone.
    pub fn next_look(&self) -> Option<Timestamp> {
        self.next_look
    }

    /// Some task waits for nothing but its call.
    pub fn calls_due(&self) -> bool {
        self.due
    }
}

/// How many tasks of a group are where.
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
    pub contrary: usize,
    pub retrying: usize,
    pub missing: usize,
    pub unseen: usize,
}

impl Tally {
    pub fn pending(&self) -> usize {
        self.total - self.ready - self.failed - self.conflicting
    }

    fn count(&mut self, standing: Standing) {
        match standing.bucket {
            Bucket::Ready => self.ready += 1,
            Bucket::Failed(cause) => {
                self.failed += 1;
                match cause {
                    FailedFor::Contested => self.contested += 1,
                    FailedFor::NotFound => self.not_found += 1,
                    FailedFor::Refused => {}
                }
            }
            Bucket::Pending(PendingFor::Look) => self.unseen += 1,
            Bucket::Pending(PendingFor::Call) => self.calls_due += 1,
            Bucket::Pending(PendingFor::Settling) => self.settling += 1,
            Bucket::Pending(PendingFor::ContraryCall) => self.contrary += 1,
            Bucket::Pending(PendingFor::Retry) => self.retrying += 1,
            Bucket::Pending(PendingFor::Appearance) => self.missing += 1,
        }
    }
}

/// Everything that the rows of the table are decided from, for one group.
struct Facts<'a, 'm> {
    group: &'a GroupWish,
    tally: Tally,
    standings: Vec<(&'a TaskId, Standing)>,
    desired: &'a Desired,
    sight: &'m Sight,
    ledger: &'m Ledger,
    now: Timestamp,
}

/// Computes all statuses. `outcomes` are those of this pass, already recorded in the ledger.
pub fn status<'a>(
    desired: &'a Desired,
    sight: &Sight,
    outcomes: &Outcomes,
    ledger: &Ledger,
    now: Timestamp,
) -> Statuses<'a> {
    let mut next_look = None;
    let mut due = false;
    let mut managed = 0;
    let mut groups = Vec::with_capacity(desired.groups().len());
    for group in desired.groups() {
        let facts = Facts::gather(desired, group, sight, ledger, now);
        managed += group.owned.iter().filter(|id| sight.view().is_some_and(|view| view.task(id).is_some())).count();
        due |= !group.suspended && facts.standings.iter().any(|(_, standing)| standing.due.is_some());
        for look in facts.standings.iter().filter_map(|(_, standing)| standing.look).chain(row::next_row(&facts)) {
            next_look = Some(next_look.map_or(look, |next: Timestamp| next.min(look)));
        }
        groups.push(group::report(facts, outcomes));
    }
    let instance =
        desired.instance().map(|instance| instance::report(instance, desired, sight, managed, ledger.timings(), now));
    if let Some(look) = desired.instance().and_then(|_| instance::next_row(sight, ledger.timings(), now)) {
        next_look = Some(next_look.map_or(look, |next| next.min(look)));
    }
    Statuses { groups, instance, next_look, due }
}

impl<'a, 'm> Facts<'a, 'm> {
    fn gather(
        desired: &'a Desired,
        group: &'a GroupWish,
        sight: &'m Sight,
        ledger: &'m Ledger,
        now: Timestamp,
    ) -> Self {
        let view = sight.view();
        let standings: Vec<_> = group.owned.iter().map(|id| (id, ledger.standing(group, id, view, now))).collect();
        let mut tally = Tally {
            total: group.total(),
            failed: group.invalid.len(),
            conflicting: group.conflicting.len(),
            ..Tally::default()
        };
        for (id, standing) in &standings {
            tally.count(*standing);
            tally.last_run_failed += usize::from(last_run_failed(view, id));
        }
        Self { group, tally, standings, desired, sight, ledger, now }
    }

    fn suspended(&self) -> bool {
        self.group.suspended || self.desired.instance_suspended()
    }
}

fn last_run_failed(view: Option<&View>, id: &TaskId) -> bool {
    view.and_then(|view| view.task(id)).is_some_and(|task| task.last_run == LastRun::Error)
}
