//! One pass over one instance: the seven steps, in order.
//!
//! Pure steps decide, I/O steps act; what is remembered between passes is in the [`Bench`].

mod desired;
mod observe;
mod plan;
mod run;
mod status;
mod tell;
mod wake;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod world;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod world_random;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod world_table;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod world_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod world_trouble;
mod write;
mod written;

use jiff::Timestamp;

use tell::tell;

use crate::time::clock::Clock;
use crate::reconcile::ledger::Ledger;
use crate::reconcile::observation::Sight;

pub use desired::{Deletion, Desired, Finalizer, GroupWish, InstanceKey, InstanceWish, Snapshot, desired};
pub use observe::{Lookout, Session, connection, observe};
pub use plan::{Plan, plan};
pub use run::{Finished, Interrupts, Outcomes, run};
pub use status::{GroupReport, LettingGo, Note, Statuses, Tally, acknowledgements, status};
pub use wake::wake;
pub use write::{Desk, Memo, Unwritten, acknowledge, write};
pub use written::Written;

/// What one instance's worker keeps between passes.
#[derive(Debug)]
pub struct Bench {
    pub key: InstanceKey,
    pub ledger: Ledger,
    pub sight: Sight,
    pub session: Session,
    pub memo: Memo,
}

/// One pass. Returns when the next one is due.
pub async fn pass(
    bench: &mut Bench,
    snapshot: Snapshot,
    lookout: &Lookout,
    desk: &Desk,
    clock: &Clock,
    interrupts: Interrupts<'_>,
) -> Timestamp {
    let Bench { key, ledger, sight, session, memo } = bench;
    let timings = ledger.timings().clone();

    let mut desired = desired(snapshot); // pure
    sight.greet(&desired, clock.now());
    ledger.greet(&desired, clock.now());

    let edits = acknowledgements(&desired, sight, ledger, clock.now()); // pure
    let (acknowledged, ()) = tokio::join!(
        acknowledge(desk, key, &edits, memo, interrupts.permit),
        observe(lookout, key, &desired, sight, session, &timings),
    ); // I/O
    desired.acknowledge(acknowledged);
    ledger.observe(&desired, sight.view(), clock.now());
    ledger.settle_calls(&desired, sight, clock.now());

    let plan = plan(&desired, sight, ledger, clock.now()); // pure

    let outcomes = run(&plan, session.api(), clock, &timings, interrupts).await; // I/O
    let outcomes = outcomes.record(ledger, sight, &timings);

    let statuses = status(&desired, sight, &outcomes, ledger, clock.now()); // pure

    let wake = wake(&desired, &plan, &outcomes, &statuses, sight, ledger, clock.now()); // pure

    let written = write(desk, key, &desired, &statuses, memo, interrupts.permit).await; // I/O
    tell(&desk.metrics, &statuses, &outcomes, sight, ledger, written, clock.now());
    memo.retry(written, wake, clock.now())
}
