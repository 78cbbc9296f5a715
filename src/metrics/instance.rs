//! The metrics of one `FdiInstance`. Its series exist as long as it does; what must not vanish with
//! it is counted for its namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::fdi::{Class, Operation, RequestObserver};

/// How many tasks of an instance are in each state, as its groups' statuses add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskGauges {
    pub ready: i64,
    pub pending: i64,
    pub failed: i64,
    pub conflicting: i64,
    /// On, and the latest run ended in ERROR: whatever else they are.
    pub failing: i64,
    /// Listed by the service, and owned by no group.
    pub unmanaged: i64,
}

const OPERATIONS: [Operation; 5] =
    [Operation::List, Operation::MonitorLog, Operation::Start, Operation::Stop, Operation::SignIn];
const CLASSES: [Class; 6] =
    [Class::Split, Class::SplitOnce, Class::SignIn, Class::Config, Class::Throttled, Class::Unavailable];
const DONE: [&str; 2] = ["ok", "failed"];
const STATES: [&str; 4] = ["ready", "pending", "failed", "conflicting"];

fn done(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Key {
    exported_namespace: Arc<str>,
    name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    exported_namespace: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithOperation {
    exported_namespace: Arc<str>,
    name: Arc<str>,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithRequest {
    exported_namespace: Arc<str>,
    name: Arc<str>,
    operation: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithResult {
    exported_namespace: Arc<str>,
    name: Arc<str>,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithState {
    exported_namespace: Arc<str>,
    name: Arc<str>,
    state: &'static str,
}

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// The families of all instances.
#[derive(Debug, Clone)]
pub(super) struct Families {
    requests: Family<WithRequest, Counter>,
    request_duration: Histograms<WithOperation>,
    batch_size: Histograms<Key>,
    tasks: Family<WithState, Gauge>,
    failing_tasks: Family<Key, Gauge>,
    unmanaged_tasks: Family<Key, Gauge>,
    convergence: Histograms<Key>,
    reconciles: Family<WithResult, Counter>,
    reconcile_panics: Family<Namespace, Counter>,
    writes: Family<WithResult, Counter>,
    limiter_wait: Histograms<Key>,
    finalizer_give_ups: Family<Namespace, Counter>,
}

impl Families {
    pub fn register(registry: &mut Registry) -> Self {
        let families = Self {
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| {
                Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
            }),
            batch_size: Family::new_with_constructor(|| Histogram::new([1.0, 2.0, 4.0, 6.0, 8.0, 9.0, 10.0])),
            tasks: Family::default(),
            failing_tasks: Family::default(),
            unmanaged_tasks: Family::default(),
            convergence: Family::new_with_constructor(|| {
                Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0])
            }),
            reconciles: Family::default(),
            reconcile_panics: Family::default(),
            writes: Family::default(),
            limiter_wait: Family::new_with_constructor(|| {
                Histogram::new([0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0])
            }),
            finalizer_give_ups: Family::default(),
        };
        let seconds = || Unit::Seconds;
        registry.register(
            "requests",
            "Requests to FDI and IAM that ended, by operation and result",
            families.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "How long requests took",
            seconds(),
            families.request_duration.clone(),
        );
        registry.register("batch_size", "Tasks in a batch call, at most 10", families.batch_size.clone());
        registry.register("tasks", "Tasks listed in groups, by state", families.tasks.clone());
        registry.register(
            "failing_tasks",
            "Tasks of groups that are on and whose latest run ended in ERROR",
            families.failing_tasks.clone(),
        );
        registry.register(
            "unmanaged_tasks",
            "Tasks of the instance that no group owns",
            families.unmanaged_tasks.clone(),
        );
        registry.register_with_unit(
            "convergence",
            "Time from an edit of a group until all its tasks were observed as desired",
            seconds(),
            families.convergence.clone(),
        );
        registry.register("reconciles", "Reconciles that ended, by result", families.reconciles.clone());
        registry.register(
            "reconcile_panics",
            "Reconciles that panicked; each is a bug",
            families.reconcile_panics.clone(),
        );
        registry.register("status_writes", "Writes of a status to the API server, by result", families.writes.clone());
        registry.register_with_unit(
            "rate_limiter_wait",
            "How long requests were delayed by the instance's own rate limit",
            seconds(),
            families.limiter_wait.clone(),
        );
        registry.register(
            "finalizer_give_ups",
            "Finalizers removed although tasks were not observed stopped",
            families.finalizer_give_ups.clone(),
        );
        families
    }
}

/// The metrics of one instance. It has series only while [`InstanceMetrics::set_exists`] says so,
/// so that groups which refer to instances that do not exist create none; dropping it removes them.
#[derive(Debug)]
pub struct InstanceMetrics {
    families: Families,
    namespace: Arc<str>,
    name: Arc<str>,
    exists: AtomicBool,
}

impl InstanceMetrics {
    pub(super) fn new(families: Families, namespace: &str, name: &str) -> Self {
        let metrics = Self { families, namespace: namespace.into(), name: name.into(), exists: AtomicBool::new(false) };
        // Alerts count these. They start at zero, because Prometheus sees no increase from nothing
        // to one.
        drop(metrics.families.reconcile_panics.get_or_create(&metrics.namespace()));
        drop(metrics.families.finalizer_give_ups.get_or_create(&metrics.namespace()));
        metrics
    }

    /// Whether there is such an `FdiInstance`.
    pub fn set_exists(&self, exists: bool) {
        if self.exists.swap(exists, Ordering::Relaxed) == exists {
            return;
        }
        if exists {
            for result in DONE {
                drop(self.families.reconciles.get_or_create(&self.with_result(result)));
                drop(self.families.writes.get_or_create(&self.with_result(result)));
            }
        } else {
            self.remove_series();
        }
    }

    /// The families, if the instance exists.
    fn families(&self) -> Option<&Families> {
        self.exists.load(Ordering::Relaxed).then_some(&self.families)
    }

    fn namespace(&self) -> Namespace {
        Namespace { exported_namespace: self.namespace.clone() }
    }

    fn key(&self) -> Key {
        Key { exported_namespace: self.namespace.clone(), name: self.name.clone() }
    }

    fn with_operation(&self, operation: Operation) -> WithOperation {
        WithOperation {
            exported_namespace: self.namespace.clone(),
            name: self.name.clone(),
            operation: operation.as_str(),
        }
    }

    fn with_request(&self, operation: Operation, result: &'static str) -> WithRequest {
        WithRequest {
            exported_namespace: self.namespace.clone(),
            name: self.name.clone(),
            operation: operation.as_str(),
            result,
        }
    }

    fn with_result(&self, result: &'static str) -> WithResult {
        WithResult { exported_namespace: self.namespace.clone(), name: self.name.clone(), result }
    }

    fn with_state(&self, state: &'static str) -> WithState {
        WithState { exported_namespace: self.namespace.clone(), name: self.name.clone(), state }
    }

    /// A batch of so many tasks was sent.
    pub fn batch(&self, tasks: usize) {
        let tasks = u32::try_from(tasks).map_or(f64::INFINITY, f64::from);
        if let Some(families) = self.families() {
            families.batch_size.get_or_create(&self.key()).observe(tasks);
        }
    }

    /// Tasks by state after a reconcile.
    pub fn tasks(&self, tasks: TaskGauges) {
        let Some(families) = self.families() else { return };
        let counts = [tasks.ready, tasks.pending, tasks.failed, tasks.conflicting];
        for (state, count) in STATES.into_iter().zip(counts) {
            families.tasks.get_or_create(&self.with_state(state)).set(count);
        }
        families.failing_tasks.get_or_create(&self.key()).set(tasks.failing);
        families.unmanaged_tasks.get_or_create(&self.key()).set(tasks.unmanaged);
    }

    /// A group converged, this long after its edit was seen.
    pub fn convergence(&self, after: Duration) {
        if let Some(families) = self.families() {
            families.convergence.get_or_create(&self.key()).observe(after.as_secs_f64());
        }
    }

    /// A reconcile ended; not `ok` if a list or a call failed.
    pub fn reconcile(&self, ok: bool) {
        if let Some(families) = self.families() {
            families.reconciles.get_or_create(&self.with_result(done(ok))).inc();
        }
    }

    /// Counted for the namespace.
    pub fn reconcile_panicked(&self) {
        self.families.reconcile_panics.get_or_create(&self.namespace()).inc();
    }

    /// A status was written, or could not be.
    pub fn status_write(&self, ok: bool) {
        if let Some(families) = self.families() {
            families.writes.get_or_create(&self.with_result(done(ok))).inc();
        }
    }

    /// The finalizer of a group was removed although its tasks were not observed stopped. Counted
    /// for the namespace: it is often the last that happens to an instance.
    pub fn finalizer_give_up(&self) {
        self.families.finalizer_give_ups.get_or_create(&self.namespace()).inc();
    }

    fn remove_series(&self) {
        let families = &self.families;
        for operation in OPERATIONS {
            families.request_duration.remove(&self.with_operation(operation));
            for result in CLASSES.map(Class::as_str).into_iter().chain(["ok"]) {
                families.requests.remove(&self.with_request(operation, result));
            }
        }
        for result in DONE {
            families.reconciles.remove(&self.with_result(result));
            families.writes.remove(&self.with_result(result));
        }
        for state in STATES {
            families.tasks.remove(&self.with_state(state));
        }
        families.failing_tasks.remove(&self.key());
        families.unmanaged_tasks.remove(&self.key());
        for histograms in [&families.batch_size, &families.convergence, &families.limiter_wait] {
            histograms.remove(&self.key());
        }
    }
}

impl RequestObserver for InstanceMetrics {
    fn request(&self, operation: Operation, result: &'static str, latency: Duration, waited: Duration) {
        let Some(families) = self.families() else { return };
        families.requests.get_or_create(&self.with_request(operation, result)).inc();
        families.request_duration.get_or_create(&self.with_operation(operation)).observe(latency.as_secs_f64());
        families.limiter_wait.get_or_create(&self.key()).observe(waited.as_secs_f64());
    }
}

impl Drop for InstanceMetrics {
    fn drop(&mut self) {
        self.remove_series();
    }
}
