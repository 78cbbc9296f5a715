//! What may happen in the life of an instance, and how much of it.

use super::world::{LATE, TASKS};
use crate::fdi::{Cause, Class, Outcome, Refusal};
use crate::reconcile::tests::service::{Fault, TaskBehavior, error, id};
use crate::reconcile::tests::simulation::Simulation;

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next reconcile, and how its calls and its list fare.
    Reconcile(Call, List),
    /// The same, but the process dies after its calls, before it writes a status.
    Crash(Call),
    /// Somebody edits a group.
    Flip(&'static str),
    /// Somebody edits the first group while the list of the next reconcile is on its way.
    FlipDuringList,
    Delete(&'static str),
    /// Somebody switches the task of both groups at the console.
    Drift,
    /// Somebody renames the task that a group selects by its name, or gives it that name again.
    Rename,
    Restart,
    /// The operator is down for a while.
    RestartLate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Works,
    /// Accepted, and done later.
    Slow,
    /// The response is lost, and nothing is done.
    Lost,
    LostAndDone,
    LostAndDoneLate,
    /// Answered with 429, and done all the same.
    ThrottledAndDone,
    /// The first task of the batch is refused.
    Refused,
    /// The whole batch is refused.
    RefusedWhole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Works,
    Fails,
    Lags,
}

/// Those that go wrong.
const CALLS: [Call; 7] = [
    Call::Slow,
    Call::Lost,
    Call::LostAndDone,
    Call::LostAndDoneLate,
    Call::ThrottledAndDone,
    Call::Refused,
    Call::RefusedWhole,
];

/// How much may still happen. Everything is used up at some point, so that all lives end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub steps: u8,
    pub edits: u8,
    pub faults: u8,
    pub restarts: u8,
    /// What somebody does at the console.
    pub console: u8,
}

impl Budget {
    pub fn after(self, step: Step) -> Option<Self> {
        let mut left = Self { steps: self.steps.checked_sub(1)?, ..self };
        let used = match step {
            Step::Reconcile(Call::Works, List::Works) => return Some(left),
            Step::Reconcile(..) => &mut left.faults,
            Step::Flip(_) | Step::FlipDuringList | Step::Delete(_) => &mut left.edits,
            Step::Drift | Step::Rename => &mut left.console,
            Step::Crash(_) | Step::Restart | Step::RestartLate => &mut left.restarts,
        };
        *used = used.checked_sub(1)?;
        Some(left)
    }
}

/// All that may happen.
pub fn steps() -> Vec<Step> {
    let mut steps = vec![Step::Reconcile(Call::Works, List::Works)];
    steps.extend(CALLS.map(|call| Step::Reconcile(call, List::Works)));
    steps.extend([List::Fails, List::Lags].map(|list| Step::Reconcile(Call::Works, list)));
    steps.extend([Call::Works, Call::Slow, Call::LostAndDoneLate].map(Step::Crash));
    steps.extend([Step::Flip("a"), Step::Flip("b"), Step::FlipDuringList, Step::Delete("a"), Step::Delete("b")]);
    steps.extend([Step::Drift, Step::Rename, Step::Restart, Step::RestartLate]);
    steps
}

/// Prepares how the next reconcile fares.
pub fn prepare(sim: &mut Simulation, call: Call, list: List) {
    let unanswered = |applied| Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "Timeout"), applied };
    let refusal = || Refusal { code: "FDI.3026".into(), message: "try again".into(), permanent: false };
    let service = &mut sim.service;
    if matches!(call, Call::Slow | Call::LostAndDoneLate) {
        for n in 1..=TASKS {
            let slow = TaskBehavior { settles_after: Some(LATE), refuses: None, poison: None };
            service.behaviors.insert(id(n), slow);
        }
    }
    let fault = match call {
        Call::Works | Call::Slow => None,
        Call::Lost => Some(unanswered(0)),
        Call::LostAndDone | Call::LostAndDoneLate => Some(unanswered(TASKS)),
        Call::ThrottledAndDone => {
            let error = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
            Some(Fault::Fail { error, applied: TASKS })
        }
        Call::Refused => Some(Fault::Partly(vec![(0, Outcome::Refused(refusal()))])),
        Call::RefusedWhole => {
            Some(Fault::Fail { error: error(Class::SplitOnce, Cause::BatchRefused, "FDI.9999"), applied: 0 })
        }
    };
    service.batch_faults.extend(fault);
    match list {
        List::Works => {}
        List::Fails => {
            let error = error(Class::Unavailable, Cause::Unavailable, "HTTP 502");
            service.list_faults.push_back(Fault::Fail { error, applied: 0 });
        }
        List::Lags => service.lag = LATE,
    }
}
