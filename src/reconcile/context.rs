//! What the reconciles of one instance need from outside.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::crd::{InstanceKey, resource_version};
use crate::fdi::Fdi;
use crate::k8s::events::EventRecorder;
use crate::k8s::leader_election::Permit;
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::status_writer::update::Status;
use crate::k8s::store::{self, Store};
use crate::metrics::InstanceMetrics;
use crate::reconcile::desired::{Snapshot, StoredGroup};
use crate::reconcile::duplicates::Duplicates;
use crate::reconcile::timings::Timings;
use crate::time::clock::Clock;

pub struct Context {
    pub key: InstanceKey,
    pub store: Arc<Store>,
    pub client: kube::Client,
    pub fdi: Fdi,
    pub clock: Clock,
    pub timings: Arc<Timings>,
    pub duplicates: Duplicates,
    pub writer: StatusWriter,
    pub events: EventRecorder,
    pub metrics: Arc<InstanceMetrics>,
    pub permit: Permit,
    /// Reads of Secrets in flight over all instances.
    pub secret_reads: Arc<Semaphore>,
}

impl Context {
    /// What is stored of the instance and its groups now, with our own last writes where the watch
    /// has not shown them yet.
    pub fn snapshot(&self) -> Snapshot {
        let (instance, groups) = self.store.get(&self.key);
        let instance = instance.map(|object| {
            let uid = object.metadata.uid.as_deref().unwrap_or_default();
            let overlay = self.writer.overlay(uid, resource_version(&object.metadata)).and_then(Status::into_instance);
            let status = overlay.or_else(|| object.status.clone()).unwrap_or_default();
            (object, status)
        });
        let group = |store::StoredGroup { object, listed }| {
            let (uid, version) = (&object.metadata.uid, object.metadata.resource_version);
            let overlay = self.writer.overlay(uid, version).and_then(Status::into_group);
            let status = overlay.or_else(|| object.status.clone()).unwrap_or_default();
            let unreported_since = self.writer.failing_since(&object.metadata.uid);
            StoredGroup { object, status, unreported_since, predates: listed }
        };
        Snapshot { instance, groups: groups.into_iter().map(group).collect() }
    }
}
