//! Step 7, I/O: writes the statuses that differ from what is stored, adds and removes finalizers, and
//! publishes the events that go with them.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::crd::{
    FINALIZER, FdiInstance, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupStatus, event_actions, event_reasons,
};
use crate::k8s::error::describe;
use crate::k8s::events::{Event, EventType};
use crate::reconcile::context::Context;
use crate::reconcile::desired::{Desired, FinalizerAction, Snapshot};
use crate::reconcile::mutation_cache::MutationCache;
use crate::reconcile::status::Statuses;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::status::report::{GroupReport, StatusEvent};
use crate::time::backoff::{Backoff, add};

/// Writes of one reconcile that may be in flight at once, so that a cold start of thousands of groups
/// does not write them one after the other.
const CONCURRENT_WRITES: usize = 8;

/// Waits after a write that failed.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(32) };

/// Our last writes to the objects of one instance.
#[derive(Debug, Default)]
pub struct Mutations {
    groups: MutationCache<FdiTaskGroupStatus>,
    instance: MutationCache<FdiInstanceStatus>,
    failures: u32,
}

impl Mutations {
    /// What the store holds, overlaid with our last writes.
    pub fn overlay(
        &mut self,
        instance: Option<std::sync::Arc<FdiInstance>>,
        groups: Vec<std::sync::Arc<FdiTaskGroup>>,
    ) -> Snapshot {
        Snapshot {
            instance: instance.map(|object| {
                let status = self.instance.current(&object.metadata, object.status.as_ref());
                (object, status)
            }),
            groups: groups
                .into_iter()
                .map(|object| {
                    let status = self.groups.current(&object.metadata, object.status.as_ref());
                    (object, status)
                })
                .collect(),
        }
    }

    /// When the next reconcile is due: at `next`, or while writes fail after 1, 2, 4 … 32 s, neither
    /// sooner nor later.
    pub fn retry_at(&mut self, written: Result<(), WriteFailed>, next: Timestamp, now: Timestamp) -> Timestamp {
        if written.is_ok() {
            self.failures = 0;
            return next;
        }
        self.failures = self.failures.saturating_add(1);
        add(now, BACKOFF.exponential(self.failures))
    }
}

/// Some write failed and has to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteFailed;

/// Writes what differs, and nothing when nothing does.
///
/// # Errors
/// [`WriteFailed`] when the API server refused or did not answer a write. A deleted or recreated object
/// is no error: the watch brings what is true now.
pub async fn write(
    ctx: &Context,
    desired: &Desired,
    statuses: &Statuses<'_>,
    mutations: &mut Mutations,
) -> Result<(), WriteFailed> {
    let mut result = Ok(());
    if let (Some(instance), Some(report)) = (desired.instance(), statuses.instance()) {
        let change = StatusChange {
            object: &*instance.object,
            before: &instance.status,
            after: &report.status,
            events: &report.events,
        };
        match write_status(ctx, &change).await {
            Ok(Some(returned)) => mutations.instance.insert(&returned, report.status.clone()),
            Ok(None) => {}
            Err(failed) => result = Err(failed),
        }
    }
    let (_, groups) = write_groups(ctx, statuses.groups(), &mut mutations.groups).await;
    let uids: HashSet<&str> = desired.groups().iter().map(|group| group.uid.as_str()).collect();
    mutations.groups.retain(|uid| uids.contains(uid));
    result.and(groups)
}

/// Writes acknowledgements while the next list is in flight; the statuses that are written now, by uid.
/// One that fails is written at the end of the reconcile, and its calls are left to the next.
pub async fn acknowledge(
    ctx: &Context,
    reports: &[GroupReport<'_>],
    mutations: &mut Mutations,
) -> Vec<(String, FdiTaskGroupStatus)> {
    let (written, _) = write_groups(ctx, reports, &mut mutations.groups).await;
    written.into_iter().map(|report| (report.group.uid.clone(), report.status.clone())).collect()
}

/// Writes several at once; those whose status is written now, and whether all that had to be written is.
async fn write_groups<'r>(
    ctx: &Context,
    reports: &'r [GroupReport<'r>],
    mutations: &mut MutationCache<FdiTaskGroupStatus>,
) -> (Vec<&'r GroupReport<'r>>, Result<(), WriteFailed>) {
    let (mut written, mut result) = (Vec::new(), Ok(()));
    let mut queued = reports.iter();
    let mut in_flight = FuturesUnordered::new();
    loop {
        while in_flight.len() < CONCURRENT_WRITES
            && let Some(report) = queued.next()
        {
            in_flight.push(write_group(ctx, report).map(move |returned| (report, returned)));
        }
        match in_flight.next().await {
            Some((report, Ok(Some(returned)))) => {
                mutations.insert(&returned, report.status.clone());
                written.push(report);
            }
            Some((_, Ok(None))) => {}
            Some((_, Err(failed))) => result = Err(failed),
            None => return (written, result),
        }
    }
}

/// Status first, so that it is complete before the finalizer is removed.
async fn write_group(ctx: &Context, report: &GroupReport<'_>) -> Result<Option<ObjectMeta>, WriteFailed> {
    let group = report.group;
    let object = &group.object;
    if let Some(release) = &report.release {
        let present = object.metadata.finalizers.iter().flatten();
        let rest: Vec<&String> = present.filter(|name| *name != FINALIZER).collect();
        patch_finalizers(ctx, object, &json!(rest)).await?;
        if let FinalizerRelease::Abandoned(message) = release {
            report_abandoned(ctx, object, message);
        }
        return Ok(None);
    }
    let change =
        StatusChange { object: &**object, before: &group.status, after: &report.status, events: &report.events };
    let returned = write_status(ctx, &change).await?;
    if group.finalizer == FinalizerAction::Add {
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        finalizers.push(FINALIZER.to_owned());
        patch_finalizers(ctx, object, &json!(finalizers)).await?;
    }
    Ok(returned)
}

/// What a request changes, for the log and the metrics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Status,
    Finalizers,
}

impl Target {
    fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Finalizers => "finalizers",
        }
    }
}

/// A status to be written if it differs, and the events to be published once it is.
struct StatusChange<'a, K, S> {
    object: &'a K,
    before: &'a S,
    after: &'a S,
    events: &'a [StatusEvent],
}

async fn write_status<K, S>(ctx: &Context, change: &StatusChange<'_, K, S>) -> Result<Option<ObjectMeta>, WriteFailed>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq,
{
    let mut returned = None;
    let metadata = change.object.meta();
    let name = metadata.name.as_deref().unwrap_or_default();
    if change.after != change.before {
        let patch = json!([test_uid(metadata), {"op": "add", "path": "/status", "value": change.after}]);
        let Some(patch) = as_patch(patch) else { return Err(WriteFailed) };
        let api: Api<K> = Api::namespaced(ctx.client.clone(), &ctx.key.namespace);
        let params = PatchParams::default();
        let request = api.patch_status(name, &params, &patch);
        let Some(object) = send(ctx, Target::Status, request).await? else { return Ok(None) };
        returned = Some(object.meta().clone());
    }
    for event in change.events {
        tracing::info!(kind = %K::kind(&()), object = name, reason = event.reason, "{}", event.message);
        ctx.events.emit(Event {
            regarding: change.object.object_ref(&()),
            kind: event.kind,
            reason: event.reason,
            action: event.action,
            note: event.message.clone(),
        });
    }
    Ok(returned)
}

async fn patch_finalizers(ctx: &Context, group: &FdiTaskGroup, finalizers: &Value) -> Result<(), WriteFailed> {
    let metadata = &group.metadata;
    // The list is replaced as a whole, so it must be the one that we read (null: there was none).
    let unchanged = json!({"op": "test", "path": "/metadata/finalizers", "value": metadata.finalizers});
    let replace = json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers});
    let Some(patch) = as_patch(json!([test_uid(metadata), unchanged, replace])) else { return Err(WriteFailed) };
    let name = metadata.name.as_deref().unwrap_or_default();
    let api: Api<FdiTaskGroup> = Api::namespaced(ctx.client.clone(), &ctx.key.namespace);
    let params = PatchParams::default();
    let request = api.patch(name, &params, &patch);
    send(ctx, Target::Finalizers, request).await.map(drop)
}

/// Without this an object that was deleted and recreated under the same name would inherit a stranger's status.
fn test_uid(metadata: &ObjectMeta) -> Value {
    json!({"op": "test", "path": "/metadata/uid", "value": metadata.uid})
}

fn as_patch(operations: Value) -> Option<Patch<()>> {
    serde_json::from_value(operations).ok().map(Patch::Json)
}

/// Sends one write while this process leads. `None` when the object is gone or another one has its name.
async fn send<K>(
    ctx: &Context,
    target: Target,
    request: impl Future<Output = Result<K, kube::Error>>,
) -> Result<Option<K>, WriteFailed> {
    let Ok(_slot) = ctx.api_requests.acquire().await else { return Err(WriteFailed) };
    if ctx.permit.check().is_err() {
        return Err(WriteFailed);
    }
    match request.await {
        Ok(object) => {
            if target == Target::Status {
                ctx.metrics.status_write(true);
            }
            Ok(Some(object))
        }
        Err(kube::Error::Api(status)) if is_stale(&status) => {
            tracing::debug!(code = status.code, message = %status.message, "object changed or was deleted; write skipped");
            Ok(None)
        }
        Err(error) => {
            if target == Target::Status {
                ctx.metrics.status_write(false);
            }
            tracing::warn!(error = describe(&error), target = target.as_str(), "write failed; trying again");
            Err(WriteFailed)
        }
    }
}

/// Gone, or a `test` of the patch failed. A status that the schema refuses is something else: a bug of ours.
fn is_stale(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409) || (status.code == 422 && !status.message.contains("is invalid"))
}

fn report_abandoned(ctx: &Context, group: &FdiTaskGroup, message: &str) {
    tracing::warn!(group = group.metadata.name, "finalizer removed anyway: {message}");
    ctx.metrics.finalizer_give_up();
    ctx.events.emit(Event {
        regarding: group.object_ref(&()),
        kind: EventType::Warning,
        reason: event_reasons::DELETION_GIVEN_UP,
        action: event_actions::DELETE,
        note: message.to_owned(),
    });
}
