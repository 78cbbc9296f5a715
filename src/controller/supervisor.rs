//! One worker for each instance that exists or that a group refers to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::turns::{LongTurns, Turns};
use super::worker::Worker;
use crate::crd::InstanceKey;
use crate::k8s::leader_election::Permit;
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::store::Store;
use crate::reconcile::context::Context;
use crate::reconcile::duplicates::Duplicates;
use crate::reconcile::timings::Timings;
use crate::runtime::process::Runtime;
use crate::time::backoff::elapsed;

/// How much of the start jitter one instance takes: few instances start at once, many over a few
/// seconds.
const START_JITTER_EACH: Duration = Duration::from_millis(15);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_mins(1);

/// A worker exited that must not: the process has to end, and be started again.
#[derive(Debug, thiserror::Error)]
#[error("a worker exited unexpectedly: {0}")]
pub struct WorkerExited(String);

/// What the workers of one namespace share.
#[derive(Debug, Clone)]
struct Tenant {
    reconciles: Arc<Semaphore>,
    turns: Turns,
}

/// Starts and ends the workers.
#[derive(Debug)]
pub struct Supervisor {
    runtime: Runtime,
    store: Arc<Store>,
    duplicates: Duplicates,
    timings: Arc<Timings>,
    permit: Permit,
    writer: StatusWriter,
    /// By namespace: what one tenant's instances wait for or compute holds up no other's.
    tenants: HashMap<String, Tenant>,
    long_turns: LongTurns,
    secret_reads: Arc<Semaphore>,
    started: Timestamp,
    workers: HashMap<InstanceKey, Arc<Notify>>,
    tasks: JoinSet<InstanceKey>,
}

impl Supervisor {
    pub fn new(runtime: &Runtime, store: Arc<Store>, writer: StatusWriter, permit: Permit) -> Self {
        Self {
            duplicates: Duplicates::new(Arc::clone(&store), runtime.fdi.clone()),
            timings: Arc::new(runtime.config.timings.clone()),
            writer,
            tenants: HashMap::new(),
            long_turns: LongTurns::default(),
            secret_reads: Arc::new(Semaphore::new(runtime.config.max_api_requests)),
            started: runtime.clock.now(),
            workers: HashMap::new(),
            tasks: JoinSet::new(),
            runtime: runtime.clone(),
            store,
            permit,
        }
    }

    /// Starts a worker for each changed instance that has none, notifies the others. Returns at
    /// shutdown, when the calls in flight are done.
    ///
    /// # Errors
    /// [`WorkerExited`] when a worker dies outside a reconcile.
    pub async fn run(mut self) -> Result<(), WorkerExited> {
        let stop = self.runtime.stop.clone();
        let heartbeat = self.runtime.health.heartbeat("supervisor", HEARTBEAT_TIMEOUT);
        loop {
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
                () = stop.cancelled() => break,
                Some(exited) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let key = exited.map_err(|error| WorkerExited(error.to_string()))?;
                    self.workers.remove(&key);
                    self.duplicates.forget(&key);
                    self.tenants.retain(|_, tenant| tenant.turns.is_used());
                    // A change may have come between the worker's last reconcile and its exit.
                    if self.permit.check().is_ok() && self.store.is_referenced(&key) {
                        self.duplicates.sync(&key);
                        self.start(key, Duration::ZERO);
                    }
                }
                changed = self.store.next_changed() => {
                    let delay = self.start_jitter(changed.len());
                    for key in &changed {
                        self.duplicates.sync(key);
                    }
                    for key in changed {
                        self.notify_or_start(key, delay);
                    }
                }
            }
            heartbeat.tick(HEARTBEAT_TIMEOUT);
        }
        drop(heartbeat);
        while let Some(exited) = self.tasks.join_next().await {
            exited.map_err(|error| WorkerExited(error.to_string()))?;
        }
        Ok(())
    }

    fn notify_or_start(&mut self, key: InstanceKey, delay: Duration) {
        if let Some(changed) = self.workers.get(&key) {
            changed.notify_one();
        } else if self.store.is_referenced(&key) {
            self.start(key, delay.mul_f64(rand::random_range(0.0..1.0)));
        }
    }

    /// Over which time the first reconciles of so many instances are spread.
    fn start_jitter(&self, instances: usize) -> Duration {
        let longest = self.timings.start_jitter;
        if elapsed(self.started, self.runtime.clock.now()) >= longest {
            return Duration::ZERO;
        }
        START_JITTER_EACH.saturating_mul(u32::try_from(instances).unwrap_or(u32::MAX)).min(longest)
    }

    fn start(&mut self, key: InstanceKey, delay: Duration) {
        let changed = Arc::new(Notify::new());
        self.workers.insert(key.clone(), Arc::clone(&changed));
        let span = tracing::info_span!("worker", namespace = key.namespace, fdiinstance = key.name);
        let runtime = &self.runtime;
        let new_tenant = || Tenant {
            reconciles: Arc::new(Semaphore::new(runtime.config.max_concurrent_reconciles)),
            turns: Turns::new(&self.long_turns),
        };
        let Tenant { reconciles, turns } = self.tenants.entry(key.namespace.clone()).or_insert_with(new_tenant).clone();
        let worker = Worker {
            changed,
            health: runtime.health.clone(),
            reconciles,
            turns,
            shutdown: CancellationToken::clone(&runtime.stop),
            ctx: Context {
                store: Arc::clone(&self.store),
                writer: self.writer.clone(),
                client: runtime.clients.requests.clone(),
                fdi: runtime.fdi.clone(),
                clock: runtime.clock,
                timings: Arc::clone(&self.timings),
                duplicates: self.duplicates.clone(),
                events: runtime.events.clone(),
                metrics: Arc::new(runtime.metrics.instance(&key.namespace, &key.name)),
                permit: self.permit.clone(),
                secret_reads: Arc::clone(&self.secret_reads),
                key,
            },
        };
        self.tasks.spawn(worker.run(delay).instrument(span));
    }
}
