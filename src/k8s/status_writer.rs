//! Writes statuses, beside the work: publishing returns at once, and a slow or refusing API server
//! delays no call.
//!
//! One writer serves the whole process. The kubelet's status manager works the same way.

mod in_flight;
pub mod queue;
pub mod update;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::Instrument as _;

use self::queue::{Outcome, Queue};
use self::update::{Kind, Object, Status, Update};
use crate::crd::{FdiInstance, FdiTaskGroup, FdiTaskGroupStatus, resource_version};
use crate::k8s::clients::FIELD_MANAGER;
use crate::k8s::error::describe;
use crate::k8s::events::{EventRecorder, EventType};
use crate::k8s::leader_election::Permit;
use crate::k8s::store::{Store, Stored};
use crate::time::backoff::elapsed;
use crate::time::clock::Clock;

/// Takes statuses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatusWriter {
    queue: Arc<Mutex<Queue>>,
    changed: Arc<Notify>,
    drained: Arc<Notify>,
    clock: Clock,
}

/// Sends what was published.
pub struct StatusSender {
    writer: StatusWriter,
    client: Client,
    store: Arc<Store>,
    events: EventRecorder,
    permit: Permit,
    max_in_flight: usize,
}

impl StatusWriter {
    pub fn new(clock: Clock) -> Self {
        Self { queue: Arc::default(), changed: Arc::default(), drained: Arc::default(), clock }
    }

    /// The other end, to be run as a task.
    pub fn sender(
        &self,
        (client, store): (Client, Arc<Store>),
        events: EventRecorder,
        permit: Permit,
        max_in_flight: usize,
    ) -> StatusSender {
        StatusSender { writer: self.clone(), client, store, events, permit, max_in_flight }
    }

    /// Whether an update may be left out: its status is stored, and nothing else is on its way.
    pub fn has(&self, uid: &str, is_stored: bool) -> bool {
        is_stored && !self.queue.lock().tracks(uid)
    }

    /// Queues what differs from what the API server has. Returns at once.
    pub fn publish(&self, updates: Vec<Update>) {
        let now = self.clock.now();
        let mut queue = self.queue.lock();
        for update in updates {
            queue.publish(update, now);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// The status that the API server has, or will have once the write in flight is done, where the
    /// store does not show it: the store is at `version`.
    pub fn overlay(&self, uid: &str, version: u64) -> Option<Status> {
        self.queue.lock().overlay(uid, version)
    }

    /// The status as we have sent it, if it is that one: equal ones are kept once.
    pub fn interned(&self, uid: &str, status: &FdiTaskGroupStatus) -> Option<Arc<FdiTaskGroupStatus>> {
        self.queue.lock().interned(uid, status)
    }

    /// Since when no status of the object could be written.
    pub fn failing_since(&self, uid: &str) -> Option<Timestamp> {
        self.queue.lock().failing_since(uid)
    }

    /// Nothing more is written to an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.queue.lock().forget(uid);
    }

    /// The API server went back to an older state.
    pub fn forget_versions(&self) {
        self.queue.lock().forget_versions();
    }

    /// Writes everything that is queued, each once. Returns when nothing is left to write now.
    pub async fn flush(&self) {
        self.queue.lock().flush(self.clock.now());
        self.changed.notify_one();
        loop {
            let drained = self.drained.notified();
            let mut drained = std::pin::pin!(drained);
            // Listening before checking: the last write may be completed in between.
            drained.as_mut().enable();
            if self.queue.lock().is_drained() {
                return;
            }
            drained.await;
        }
    }
}

impl StatusSender {
    /// Sends until this process no longer leads.
    pub async fn run(self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < self.max_in_flight {
                let Some(update) = self.writer.queue.lock().next(self.writer.clock.now()) else { break };
                let span = update.span.clone();
                in_flight.push(self.write(update).instrument(span));
            }
            let now = self.writer.clock.now();
            let eligible = self.writer.queue.lock().next_eligible(now);
            let delay = eligible.map_or(Duration::MAX, |eligible_at| elapsed(now, eligible_at));
            tokio::select! {
                biased;
                () = self.permit.expired() => return,
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                () = self.writer.changed.notified() => {}
                () = sleep(delay), if in_flight.len() < self.max_in_flight => {}
            }
        }
    }

    async fn write(&self, update: Arc<Update>) {
        // Asked at the last moment: the process may have been suspended since the update was taken.
        if self.permit.check().is_err() {
            return;
        }
        let outcome = match update.object.kind {
            Kind::Instance => self.write_as::<FdiInstance>(&update).await,
            Kind::Group => self.write_as::<FdiTaskGroup>(&update).await,
        };
        let (outcome, problem) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(kube::Error::Api(status)) if is_stale(&status) => (Outcome::Stale, Some(kube::Error::Api(status))),
            Err(error) => (Outcome::Failed, Some(error)),
        };
        let namespace = &update.object.namespace;
        let (fdiinstance, fditaskgroups) = update.object.log_names();
        let mut queue = self.writer.queue.lock();
        let expected = queue.complete(&update.object, outcome, self.writer.clock.now());
        if queue.is_drained() {
            self.writer.drained.notify_waiters();
        }
        drop(queue);
        match problem.as_ref().map(describe) {
            None if outcome == Outcome::Gone => {}
            None => self.report_written(&update),
            Some(error) if expected => {
                tracing::debug!(namespace, fdiinstance, fditaskgroups, error, "object changed or was deleted");
            }
            Some(error) => {
                update.metrics.status_write(false);
                tracing::warn!(
                    namespace,
                    fdiinstance,
                    fditaskgroups,
                    error,
                    "status could not be written; trying again"
                );
            }
        }
    }

    fn report_written(&self, update: &Update) {
        if update.status.is_some() {
            update.metrics.status_write(true);
        }
        if update.finalizers.as_ref().is_some_and(|finalizers| finalizers.abandoned) {
            update.metrics.finalizer_give_up();
        }
        let namespace = &update.object.namespace;
        let (fdiinstance, fditaskgroups) = update.object.log_names();
        for event in &update.events {
            let (reason, message) = (event.reason, &event.message);
            match event.kind {
                EventType::Warning => tracing::warn!(namespace, fdiinstance, fditaskgroups, reason, "{message}"),
                EventType::Normal => tracing::info!(namespace, fdiinstance, fditaskgroups, reason, "{message}"),
            }
            self.events.emit(update.object.event(event));
        }
    }

    async fn write_as<K: Stored>(&self, update: &Update) -> kube::Result<Outcome> {
        let Object { namespace, name, uid, version: read, .. } = &update.object;
        // A reconcile may publish what it found after the object is gone: without this that would
        // be sent for ever, and refused.
        if K::uid(&self.store, namespace, name).as_deref() != Some(uid) {
            return Ok(Outcome::Gone);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        // Without this an object that was deleted and recreated under the same name would inherit a
        // stranger's status.
        let same_object = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let mut written = *read;
        // First: nobody reads that all is well before the deletion is held, and a status that is
        // denied keeps no finalizer from being removed.
        if let Some(finalizers) = &update.finalizers {
            let path = "/metadata/finalizers";
            let unchanged = json!({"op": "test", "path": path, "value": finalizers.before});
            let replace = json!({"op": "add", "path": path, "value": finalizers.after});
            let object = api.patch(name, &params(), &patch(json!([same_object, unchanged, replace]))?).await?;
            written = resource_version(object.meta());
        }
        if let Some(status) = &update.status {
            let status = json!({"op": "add", "path": "/status", "value": status});
            let patch = patch(json!([same_object, status]))?;
            let object = api.patch_status(name, &params(), &patch).await?;
            written = resource_version(object.meta());
        }
        Ok(Outcome::Written(written))
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn patch(operations: Value) -> kube::Result<Patch<()>> {
    serde_json::from_value(operations).map(Patch::Json).map_err(kube::Error::SerdeError)
}

/// Gone, or a `test` of the patch failed. A policy that denies the write may use the same codes,
/// which is why the queue believes this once only.
fn is_stale(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409 | 422)
}
