//! What the reconciles of one instance need from outside.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::crd::InstanceKey;
use crate::fdi::Fdi;
use crate::k8s::events::EventRecorder;
use crate::k8s::leader_election::Permit;
use crate::metrics::InstanceMetrics;
use crate::reconcile::duplicates::Duplicates;
use crate::reconcile::timings::Timings;
use crate::time::clock::Clock;

pub struct Context {
    pub key: InstanceKey,
    pub client: kube::Client,
    pub fdi: Fdi,
    pub clock: Clock,
    pub timings: Arc<Timings>,
    pub duplicates: Duplicates,
    pub events: EventRecorder,
    pub metrics: Arc<InstanceMetrics>,
    pub permit: Permit,
    /// Requests to the API server in flight over all instances.
    pub api_requests: Arc<Semaphore>,
}
