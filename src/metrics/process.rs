//! The metrics of the process as a whole, and the registry.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::exposition;
use super::instance::{Families, InstanceMetrics};
use super::usage::Usage;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchKind {
    FdiInstance,
    FdiTaskGroup,
}

/// Why an event was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventLoss {
    /// The queue was full.
    Overflow,
    /// The object used up its budget.
    RateLimited,
    /// The API server refused it or did not respond.
    Failed,
}

macro_rules! label_value {
    ($type:ty { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                let text = match self { $(Self::$variant => $text),+ };
                EncodeLabelValue::encode(&text, encoder)
            }
        }
    };
}
label_value!(WatchKind { FdiInstance => "FdiInstance", FdiTaskGroup => "FdiTaskGroup" });
label_value!(EventLoss { Overflow => "overflow", RateLimited => "rate_limited", Failed => "failed" });

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: WatchKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByScope {
    kind: WatchKind,
    /// A namespace, or `all`.
    scope: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: EventLoss,
}

type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

/// All metrics of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// What the process uses: these names have no prefix.
    usage: Registry,
    instances: Families,
    leader: Gauge,
    events_published: Counter,
    events_dropped: Family<ByReason, Counter>,
    watch_age: Family<ByScope, Seconds>,
    watch_synced: Family<ByScope, Gauge>,
    watch_errors: Family<ByKind, Counter>,
    watch_restarts: Family<ByKind, Counter>,
    objects_rejected: Family<ByKind, Gauge>,
    last_received: Mutex<HashMap<ByScope, Instant>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("fdi_operator");
        let instances = Families::register(&mut registry);
        let leader = Gauge::default();
        let events_published = Counter::default();
        let events_dropped = Family::<ByReason, Counter>::default();
        let watch_age = Family::<ByScope, Seconds>::default();
        let watch_synced = Family::<ByScope, Gauge>::default();
        let objects_rejected = Family::<ByKind, Gauge>::default();
        let watch_errors = Family::<ByKind, Counter>::default();
        let watch_restarts = Family::<ByKind, Counter>::default();
        registry.register("leader", "1 while this process is the leader", leader.clone());
        registry.register("events_published", "Kubernetes events published", events_published.clone());
        registry.register("events_dropped", "Kubernetes events not published, by reason", events_dropped.clone());
        registry.register_with_unit(
            "watch_age",
            "Time since the watch of a kind last received anything from the API server",
            Unit::Seconds,
            watch_age.clone(),
        );
        registry.register("watch_synced", "1 once the objects of a kind are listed", watch_synced.clone());
        registry.register(
            "objects_rejected",
            "Objects not reconciled because the quota of their namespace is used up",
            objects_rejected.clone(),
        );
        registry.register("watch_errors", "Errors of the watch of a kind", watch_errors.clone());
        registry.register("watch_restarts", "Full lists made by the watch of a kind", watch_restarts.clone());
        registry.register(
            "build",
            "Version and commit of the running binary",
            Info::new([("version", env!("CARGO_PKG_VERSION")), ("revision", env!("FDI_OPERATOR_REVISION"))]),
        );
        let mut usage = Registry::default();
        usage.register_collector(Box::new(Usage));
        Self(Arc::new(Inner {
            registry,
            usage,
            instances,
            leader,
            events_published,
            events_dropped,
            watch_age,
            watch_synced,
            objects_rejected,
            watch_errors,
            watch_restarts,
            last_received: Mutex::default(),
        }))
    }

    /// The metrics of one instance, which may not exist yet. Dropping them removes its series.
    pub fn instance(&self, namespace: &str, name: &str) -> InstanceMetrics {
        InstanceMetrics::new(self.0.instances.clone(), namespace, name)
    }

    pub fn leader(&self, leads: bool) {
        self.0.leader.set(i64::from(leads));
    }

    pub fn event_published(&self) {
        self.0.events_published.inc();
    }

    pub fn event_dropped(&self, reason: EventLoss) {
        self.0.events_dropped.get_or_create(&ByReason { reason }).inc();
    }

    /// The watch of a kind in a scope starts: nothing is listed yet.
    pub fn watch_started(&self, kind: WatchKind, scope: &str) {
        self.0.watch_synced.get_or_create(&ByScope { kind, scope: scope.to_owned() }).set(0);
        self.watch_received(kind, scope);
    }

    /// The watch received something from the API server: an object, a bookmark, or the start of a
    /// watch.
    pub fn watch_received(&self, kind: WatchKind, scope: &str) {
        self.0.last_received.lock().insert(ByScope { kind, scope: scope.to_owned() }, Instant::now());
    }

    /// The watch has listed all objects.
    pub fn watch_synced(&self, kind: WatchKind, scope: &str) {
        self.0.watch_synced.get_or_create(&ByScope { kind, scope: scope.to_owned() }).set(1);
    }

    /// So many objects of a kind are not stored.
    pub fn objects_rejected(&self, kind: WatchKind, count: usize) {
        self.0.objects_rejected.get_or_create(&ByKind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn watch_error(&self, kind: WatchKind) {
        self.0.watch_errors.get_or_create(&ByKind { kind }).inc();
    }

    pub fn watch_restarted(&self, kind: WatchKind) {
        self.0.watch_restarts.get_or_create(&ByKind { kind }).inc();
    }

    /// All metrics, as `OpenMetrics`.
    pub fn openmetrics(&self) -> Result<String, std::fmt::Error> {
        for (watch, moment) in self.0.last_received.lock().iter() {
            self.0.watch_age.get_or_create(watch).set(moment.elapsed().as_secs_f64());
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)?;
        encode_registry(&mut text, &self.0.usage)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// All metrics, in the older text format, which tools such as `promtool check metrics` read.
    pub fn plain_text(&self) -> Result<String, std::fmt::Error> {
        self.openmetrics().map(|text| exposition::plain(&text))
    }

    /// How many metrics are registered, whether or not they have samples.
    #[cfg(test)]
    pub(super) fn registered(&self) -> usize {
        format!("{:?}", self.0.registry).matches("Descriptor {").count() + super::usage::FAMILIES
    }
}
