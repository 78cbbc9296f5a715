//! One reconcile of one instance: the seven steps, in order.
//!
//! Pure steps decide, I/O steps act; what is remembered between reconciles is in the [`InstanceState`].

pub mod context;
pub mod desired;
pub mod duplicates;
pub mod execute;
pub mod instance_state;
pub mod ledger;
mod metrics;
pub mod mutation_cache;
pub mod observation;
pub mod observe;
pub mod outcome;
pub mod plan;
pub mod schedule;
pub mod status;
#[cfg(test)]
mod tests;
pub mod timings;
pub mod write;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::join;

use self::context::Context;
use self::desired::{Snapshot, resolve};
use self::execute::{Cancellation, execute};
use self::instance_state::InstanceState;
use self::observe::{Session, observe};
use self::plan::plan;
use self::schedule::schedule;
use self::status::acknowledgement::acknowledgements;
use self::status::status;
use self::timings::Timings;
use self::write::{Mutations, acknowledge, write};

/// One reconcile. Returns when the next one is due.
pub async fn reconcile(ctx: &Context, memory: &mut Memory, snapshot: Snapshot, cancel: Cancellation<'_>) -> Timestamp {
    let Memory { state, session, mutations } = memory;
    let now = || ctx.clock.now();

    // 1 desired (pure)
    let mut desired = resolve(snapshot);
    state.sync(&desired, now());

    // 2 observe (I/O), early acknowledgements beside it
    let edits = acknowledgements(&desired, state, now());
    let (acknowledged, observed) =
        join!(acknowledge(ctx, &edits, mutations), observe(ctx, &desired, &state.observation, session));
    desired.acknowledge(acknowledged);
    state.record_list(&desired, observed, now());

    // 3 plan (pure)
    let plan = plan(&desired, state, now());

    // 4 execute (I/O)
    let outcomes = execute(ctx, &plan, session, cancel).await;
    let outcomes = state.record_calls(outcomes);

    // 5 status (pure)
    let statuses = status(&desired, state, &outcomes, now());

    // 6 schedule (pure)
    let next = schedule(&desired, &plan, &outcomes, &statuses, state);

    // 7 write (I/O)
    let written = write(ctx, &desired, &statuses, mutations).await;
    metrics::record(&ctx.metrics, &statuses, &outcomes, state, written);
    mutations.retry_at(written, next, now())
}

/// What a worker keeps between the reconciles of its instance.
#[derive(Debug)]
pub struct Memory {
    pub state: InstanceState,
    pub session: Session,
    pub mutations: Mutations,
}

impl Memory {
    pub fn new(timings: Arc<Timings>) -> Self {
        Self { state: InstanceState::new(timings), session: Session::default(), mutations: Mutations::default() }
    }
}
