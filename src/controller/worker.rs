//! The loop of one instance: reconcile, then sleep until the next one is due or something changed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::crd::InstanceKey;
use crate::k8s::store::Store;
use crate::reconcile::context::Context;
use crate::reconcile::execute::Cancellation;
use crate::reconcile::write::Mutations;
use crate::reconcile::{Memory, reconcile};
use crate::runtime::health::Health;
use crate::time::backoff::{add, elapsed};

/// Longest time that a reconcile may take before it counts as unresponsive. Every request in it has
/// a limit of its own: two list pages, a sign-in, a slice of calls and as many status writes as
/// there are groups are far below this.
const RECONCILE_TIMEOUT: Duration = Duration::from_mins(10);

/// The worker of one instance.
pub struct Worker {
    pub ctx: Context,
    pub store: Arc<Store>,
    pub health: Health,
    /// Something changed.
    pub changed: Arc<Notify>,
    /// Reconciles at once, over all instances.
    pub reconciles: Arc<Semaphore>,
    pub shutdown: CancellationToken,
}

impl Worker {
    /// Runs until nothing refers to the instance any more, or the process shuts down or stops
    /// leading. The first reconcile comes after `delay`.
    pub async fn run(self, delay: Duration) -> InstanceKey {
        let clock = self.ctx.clock;
        let heartbeat = self.health.heartbeat(format!("worker of {}", self.ctx.key), RECONCILE_TIMEOUT);
        // A sleeping worker is not unresponsive; the runtime wakes it.
        heartbeat.pause();
        let mut memory = Memory::new(Arc::clone(&self.ctx.timings));
        let mut panics = 0;
        let mut epoch = self.store.epoch();
        let mut next = add(clock.now(), delay);
        loop {
            tokio::select! {
                biased;
                () = self.ctx.permit.expired() => break,
                () = self.shutdown.cancelled() => break,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(elapsed(clock.now(), next)) => {}
            }
            let Ok(_slot) = self.reconciles.acquire().await else { break };
            let (instance, groups) = self.store.get(&self.ctx.key);
            self.ctx.metrics.set_exists(instance.is_some());
            if instance.is_none() && groups.is_empty() {
                break;
            }
            // Our last writes may be gone from an API server whose data went back.
            if epoch != self.store.epoch() {
                epoch = self.store.epoch();
                memory.mutations = Mutations::default();
            }
            let snapshot = memory.mutations.overlay(instance, groups);
            let cancel = Cancellation { changed: &self.changed, shutdown: &self.shutdown };
            heartbeat.tick(RECONCILE_TIMEOUT);
            let reconciled = tokio::select! {
                biased;
                // Polled before every step of the reconcile: a process that was suspended in the
                // middle of one until after the end of its leadership sends nothing more, not even
                // a sign-in or a list.
                () = self.ctx.permit.expired() => break,
                reconciled = AssertUnwindSafe(reconcile(&self.ctx, &mut memory, snapshot, cancel)).catch_unwind() => reconciled,
            };
            next = if let Ok(next) = reconciled {
                panics = 0;
                next
            } else {
                // Whatever the reconcile left behind cannot be trusted; memory is restored from the
                // statuses.
                panics += 1;
                self.ctx.metrics.reconcile_panicked();
                tracing::error!("a reconcile panicked: this is a bug, please report it; trying again later");
                memory = Memory::new(Arc::clone(&self.ctx.timings));
                add(clock.now(), self.ctx.timings.backoff.exponential(panics))
            };
            heartbeat.pause();
        }
        self.ctx.key
    }
}
