//! One reconcile of one instance: the seven steps, in order.
//!
//! Pure steps decide, I/O steps act; what is remembered between reconciles is in the
//! [`InstanceState`].

mod audit;
mod causes;
pub mod context;
pub mod desired;
pub mod duplicates;
pub mod execute;
pub mod idle;
pub mod instance_state;
pub mod ledger;
mod metrics;
pub mod observation;
pub mod observe;
pub mod outcome;
pub mod plan;
pub mod pure_steps;
pub mod schedule;
pub mod selection;
pub mod status;
#[cfg(test)]
mod tests;
pub mod timings;
pub mod unchanged;
pub mod write;

use jiff::Timestamp;

use self::audit::Audit;
use self::context::Context;
use self::execute::{Cancellation, execute};
use self::instance_state::InstanceState;
use self::observe::observe;
use self::observe::session::Session;
use self::plan::plan;
use self::schedule::schedule;
use self::status::status;
use self::write::write;

/// One reconcile. Returns when the next one is due.
pub async fn reconcile(
    ctx: &Context,
    state: &mut InstanceState,
    session: &mut Session,
    cancel: Cancellation<'_>,
) -> Timestamp {
    let now = || ctx.clock.now();

    // 1 desired (pure)
    let mut desired = state.resolve(ctx.snapshot(), now());

    // 2 observe (I/O)
    let observed = observe(ctx, &desired, state, session).await;

    // The list took its time: from here on counts what is desired now.
    if let Some(newer) = desired.newer(ctx.snapshot()) {
        desired = state.sync(newer, now());
    }
    // Nearly always nothing has changed.
    let observed = match unchanged::poll(&desired, observed, state, now()) {
        Ok(next) => {
            ctx.metrics.reconcile(true);
            return next;
        }
        Err(observed) => *observed,
    };
    desired = state.record_list(desired, observed, now());

    // 3 plan (pure)
    let plan = plan(&desired, state, now());

    // 4 execute (I/O)
    let audit = Audit { desired: &desired, ledger: &state.ledger };
    let outcomes = execute(ctx, &plan, session, cancel, audit).await;
    let outcomes = state.record_calls(&desired, outcomes);

    // 5 status (pure)
    let statuses = status(&desired, state, &outcomes, now());

    // 6 schedule (pure)
    let next = schedule(&desired, &plan, &outcomes, &statuses, state);

    // 7 write (I/O, which goes on beside the next reconcile)
    let stored = write(ctx, &desired, &statuses);
    metrics::record(&ctx.metrics, &statuses, &outcomes, state);

    // While nothing else is due: why runs fail (I/O)
    let wanted = if outcomes.calls().is_empty() { causes::wanted(&statuses, state) } else { Vec::new() };
    let stored = stored && wanted.is_empty();
    unchanged::remember(&desired, (&plan, &outcomes), (&statuses, stored), state);
    causes::request(ctx, wanted, state, session, (next, cancel)).await
}
