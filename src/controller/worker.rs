//! The loop of one instance: reconcile, then sleep until the next one is due or something changed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::turns::Turns;
use crate::crd::InstanceKey;
use crate::reconcile::context::Context;
use crate::reconcile::execute::Cancellation;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observe::session::Session;
use crate::reconcile::reconcile;
use crate::runtime::health::Health;
use crate::telemetry::reconcile_span;
use crate::time::backoff::{add, elapsed};

/// Longest time that a reconcile may take before it counts as unresponsive. All waits in it have
/// limits, which together are far below this.
const RECONCILE_TIMEOUT: Duration = Duration::from_mins(10);

/// The worker of one instance.
pub struct Worker {
    pub ctx: Context,
    pub health: Health,
    /// Something changed.
    pub changed: Arc<Notify>,
    /// Reconciles at once, over all instances of the namespace.
    pub reconciles: Arc<Semaphore>,
    /// Those of them that compute rather than wait.
    pub turns: Turns,
    pub shutdown: CancellationToken,
}

impl Worker {
    /// Runs until nothing refers to the instance any more, or the process shuts down or stops
    /// leading. The first reconcile comes after `delay`.
    pub async fn run(self, delay: Duration) -> InstanceKey {
        let ctx = &self.ctx;
        let heartbeat = self.health.heartbeat(format!("worker of {}", ctx.key), RECONCILE_TIMEOUT);
        // A sleeping worker is not unresponsive; the runtime wakes it.
        heartbeat.pause();
        let mut state = InstanceState::new(Arc::clone(&ctx.timings));
        let mut session = Session::default();
        let mut panics = 0;
        let mut next = add(ctx.clock.now(), delay);
        loop {
            tokio::select! {
                biased;
                () = ctx.permit.expired() => break,
                () = self.shutdown.cancelled() => break,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(elapsed(ctx.clock.now(), next)) => {}
            }
            let Ok(_slot) = self.reconciles.acquire().await else { break };
            let (instance, groups) = ctx.store.get(&ctx.key);
            ctx.metrics.set_exists(instance.is_some());
            if instance.is_none() && groups.is_empty() {
                break;
            }
            heartbeat.tick(RECONCILE_TIMEOUT);
            let cancel = Cancellation { changed: &self.changed, shutdown: &self.shutdown };
            let span = reconcile_span();
            let reconciling = reconcile(ctx, &mut state, &mut session, cancel).instrument(span.clone());
            let reconciling = AssertUnwindSafe(self.turns.run(reconciling));
            let reconciled = tokio::select! {
                biased;
                // Polled before every step of the reconcile: a process that was suspended in the
                // middle of one until after the end of its leadership sends nothing more, not even
                // a sign-in or a list.
                () = ctx.permit.expired() => break,
                reconciled = reconciling.catch_unwind() => reconciled,
            };
            next = if let Ok(next) = reconciled {
                panics = 0;
                next
            } else {
                // Whatever the reconcile left behind cannot be trusted; memory is restored from the
                // statuses.
                panics += 1;
                ctx.metrics.reconcile_panicked();
                span.in_scope(|| {
                    tracing::error!("a reconcile panicked: this is a bug, please report it; trying again later");
                });
                (state, session) = (InstanceState::after_panic(Arc::clone(&ctx.timings)), Session::default());
                add(ctx.clock.now(), ctx.timings.backoff.exponential(panics))
            };
            heartbeat.pause();
        }
        self.ctx.key
    }
}
