//! One worker for each instance, and the supervisor that starts them. A worker ends when nothing refers to its instance.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::time::backoff::{after, between, doubling};
use crate::time::clock::Clock;
use crate::reconcile::duplicates::Duplicates;
use crate::k8s::events::Events;
use crate::fdi::Fdi;
use crate::runtime::health::Health;
use crate::k8s::leader_election::Permit;
use crate::reconcile::ledger::Ledger;
use crate::metrics::{Instance, Metrics};
use crate::reconcile::{Bench, Desk, InstanceKey, Interrupts, Lookout, Memo, Session, Snapshot, pass};
use crate::reconcile::observation::Sight;
use crate::reconcile::timings::Timings;
use crate::k8s::store::Stores;

/// How much of the start spread one instance takes: few instances start at once, many over a few seconds.
const SPREAD_EACH: Duration = Duration::from_millis(30);

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    pub stores: Arc<Stores>,
    pub duplicates: Duplicates,
    pub client: kube::Client,
    pub fdi: Fdi,
    pub events: Events,
    pub clock: Clock,
    pub timings: Timings,
    pub metrics: Metrics,
    pub health: Health,
    /// Passes at once, and requests to the API server in flight, over all instances.
    pub passes: Arc<Semaphore>,
    pub requests: Arc<Semaphore>,
}

/// The supervisor cannot go on: the process must end, and be started again.
#[derive(Debug, thiserror::Error)]
#[error("a worker ended without being told to: {0}")]
pub struct Crashed(String);

/// The supervisor shows a sign of life this often, and hangs when it does not for much longer.
const BEAT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_mins(1);
/// Longest time that a pass may take before it counts as hanging. Every request in it has a limit of its own: two list
/// pages, a sign-in, a slice of calls and as many status writes as there are groups are far below this.
const PASS_LIMIT: Duration = Duration::from_mins(10);
/// A sleeping worker does not hang; the runtime wakes it.
const FOREVER: Duration = Duration::from_hours(24 * 365);

type Workers = Arc<Mutex<HashMap<InstanceKey, Arc<Notify>>>>;

/// Starts a worker for each instance that has something new and none yet, wakes the others. Returns at shutdown, when the
/// calls in flight are done; call once both stores are filled.
///
/// # Errors
/// [`Crashed`] when a worker dies outside a pass.
pub async fn supervise(shared: Shared, permit: Permit, shutdown: CancellationToken) -> Result<(), Crashed> {
    let workers = Workers::default();
    let mut tasks = JoinSet::new();
    let started = shared.clock.now();
    let heart = shared.health.beat("supervisor", IDLE);
    loop {
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => ended.map_err(|error| Crashed(error.to_string()))?,
            marked = shared.stores.marked() => {
                let at_start = between(started, shared.clock.now()) < shared.timings.start_spread;
                let few = u32::try_from(marked.len()).unwrap_or(u32::MAX);
                let spread = if at_start { SPREAD_EACH.saturating_mul(few).min(shared.timings.start_spread) } else { Duration::ZERO };
                for key in marked {
                    let mut running = workers.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(wake) = running.get(&key) {
                        wake.notify_one();
                    } else if shared.stores.refers_to(&key) {
                        let wake = Arc::new(Notify::new());
                        running.insert(key.clone(), Arc::clone(&wake));
                        let span = tracing::info_span!("worker", namespace = key.namespace, instance = key.name);
                        let worker = Worker {
                            key,
                            wake,
                            workers: Arc::clone(&workers),
                            shared: shared.clone(),
                            permit: permit.clone(),
                            shutdown: shutdown.clone(),
                        };
                        tasks.spawn(worker.work(spread.mul_f64(rand::random_range(0.0..1.0))).instrument(span));
                    }
                }
            }
        }
        heart.next_within(IDLE);
    }
    drop(heart);
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Crashed(error.to_string()))?;
    }
    Ok(())
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct Worker {
    key: InstanceKey,
    wake: Arc<Notify>,
    workers: Workers,
    shared: Shared,
    permit: Permit,
    shutdown: CancellationToken,
}

impl Worker {
    /// The loop: a pass, then sleep until it is time or something is new.
    async fn work(self, delay: Duration) {
        let clock = self.shared.clock;
        let metrics = Arc::new(self.shared.metrics.instance(&self.key.namespace, &self.key.name));
        let (lookout, desk) = (self.lookout(&metrics), self.desk(&metrics));
        let heart = self.shared.health.beat(format!("worker of {}", self.key), FOREVER);
        let mut bench = self.bench();
        let mut panics = 0;
        let mut next = after(clock.now(), delay);
        loop {
            tokio::select! {
                biased;
                () = self.permit.expired() => return,
                () = self.shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(between(clock.now(), next)) => {}
            }
            let Ok(_place) = self.shared.passes.acquire().await else { return };
            let snapshot = self.snapshot(&mut bench);
            if snapshot.instance.is_none() && snapshot.groups.is_empty() && self.leave() {
                return;
            }
            let interrupts = Interrupts { woken: &self.wake, shutdown: &self.shutdown, permit: &self.permit };
            let running = pass(&mut bench, snapshot, &lookout, &desk, &clock, interrupts);
            heart.next_within(PASS_LIMIT);
            let passed = tokio::select! {
                biased;
                // Asked before every step of the pass: a process that slept in the middle of one past the end of its permission
                // sends nothing more, not even a sign-in or a list.
                () = self.permit.expired() => return,
                passed = AssertUnwindSafe(running).catch_unwind() => passed,
            };
            next = if let Ok(next) = passed {
                panics = 0;
                next
            } else {
                // Whatever the pass left behind is not to be trusted; memory comes back from the statuses.
                panics += 1;
                metrics.pass_panicked();
                tracing::error!("a pass panicked: this is a bug, please report it; the instance is tried again later");
                bench = self.bench();
                after(clock.now(), doubling(panics, &self.shared.timings))
            };
            heart.next_within(FOREVER);
        }
    }

    fn lookout(&self, metrics: &Arc<Instance>) -> Lookout {
        Lookout {
            client: self.shared.client.clone(),
            fdi: self.shared.fdi.clone(),
            clock: self.shared.clock,
            duplicates: self.shared.duplicates.clone(),
            in_flight: Arc::clone(&self.shared.requests),
            observer: metrics.clone(),
        }
    }

    fn desk(&self, metrics: &Arc<Instance>) -> Desk {
        Desk {
            client: self.shared.client.clone(),
            events: self.shared.events.clone(),
            metrics: metrics.clone(),
            in_flight: Arc::clone(&self.shared.requests),
        }
    }

    fn bench(&self) -> Bench {
        Bench {
            key: self.key.clone(),
            ledger: Ledger::new(self.shared.timings.clone()),
            sight: Sight::default(),
            session: Session::default(),
            memo: Memo::default(),
        }
    }

    fn snapshot(&self, bench: &mut Bench) -> Snapshot {
        let (instance, groups) = self.shared.stores.get(&self.key);
        let memo = &mut bench.memo;
        Snapshot {
            instance: instance.map(|object| {
                let status = memo.instance.latest(&object.metadata, object.status.as_ref());
                (object, status)
            }),
            groups: groups
                .into_iter()
                .map(|object| {
                    let status = memo.groups.latest(&object.metadata, object.status.as_ref());
                    (object, status)
                })
                .collect(),
        }
    }

    /// Ends the worker unless something refers to its instance after all. Under the lock of the supervisor, which either
    /// finds the worker still there and wakes it, or finds it gone and starts another.
    fn leave(&self) -> bool {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.stores.refers_to(&self.key) {
            return false;
        }
        workers.remove(&self.key);
        self.shared.duplicates.forget(&self.key);
        true
    }
}
