//! Step 7, I/O: writes the statuses that differ from what is stored, lets finalizers go, and publishes what became true.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
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
use tokio::sync::Semaphore;

use super::written::Written;
use super::{Desired, Finalizer, GroupReport, InstanceKey, LettingGo, Note, Statuses};
use crate::time::backoff::after;
use crate::crd::{FINALIZER, FdiInstance, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupStatus, event_reasons};
use crate::k8s::events::{Event, EventType, Events};
use crate::k8s::leader_election::Permit;
use crate::metrics::Instance;

/// Writes of one pass that may be in flight at once: a cold start of thousands of groups is not to wait in single file.
const WRITES_AT_ONCE: usize = 8;

/// What writing needs from outside.
#[derive(Clone)]
pub struct Desk {
    pub client: kube::Client,
    pub events: Events,
    pub metrics: Arc<Instance>,
    /// Requests to the API server in flight over all instances.
    pub in_flight: Arc<Semaphore>,
}

/// Our last writes to the objects of one instance.
#[derive(Debug, Default)]
pub struct Memo {
    pub groups: Written<FdiTaskGroupStatus>,
    pub instance: Written<FdiInstanceStatus>,
    failed: u32,
}

impl Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Memo {
    /// The next pass; while writes do not go through after 1, 2, 4 … 32 s, neither sooner nor later.
    pub fn retry(&mut self, written: Result<(), Unwritten>, wake: Timestamp, now: Timestamp) -> Timestamp {
        if written.is_ok() {
            self.failed = 0;
            return wake;
        }
        self.failed = (self.failed + 1).min(6);
        after(now, Duration::from_secs(1 << (self.failed - 1)))
    }
}

/// Some write did not go through and has to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten;

/// Writes what differs, and nothing when nothing does.
///
/// # Errors
/// [`Unwritten`] when the API server refused or did not answer a write. A deleted or recreated object is no error: the
/// watch brings what is true now.
pub async fn write(
    desk: &Desk,
    key: &InstanceKey,
    desired: &Desired,
    statuses: &Statuses<'_>,
    memo: &mut Memo,
    permit: &Permit,
) -> Result<(), Unwritten> {
    let mut result = Ok(());
    if let (Some(wish), Some((status, notes))) = (desired.instance(), statuses.instance()) {
        let api: Api<FdiInstance> = Api::namespaced(desk.client.clone(), &key.namespace);
        let write = write_one(desk, permit, &api, &*wish.object, status, &wish.status, notes);
        match write.await {
            Ok(Some(answered)) => memo.instance.wrote(&answered, status.clone()),
            Ok(None) => {}
            Err(unwritten) => result = Err(unwritten),
        }
    }
    let (_, groups) = write_groups(desk, key, statuses.groups(), &mut memo.groups, permit).await;
    let uids: HashSet<&str> = desired.groups().iter().map(|group| group.uid.as_str()).collect();
    memo.groups.retain(|uid| uids.contains(uid));
    result.and(groups)
}

/// Writes acknowledgements while the next list is under way; those that are written now, by uid. One that does not go
/// through is written at the end of the pass, and its calls wait for the next.
pub async fn acknowledge(
    desk: &Desk,
    key: &InstanceKey,
    reports: &[GroupReport<'_>],
    memo: &mut Memo,
    permit: &Permit,
) -> Vec<(String, FdiTaskGroupStatus)> {
    let (written, _) = write_groups(desk, key, reports, &mut memo.groups, permit).await;
    written.into_iter().map(|report| (report.group.uid.clone(), report.status.clone())).collect()
}

/// Writes several at once; those whose status is written now, and whether all that had to be written is.
async fn write_groups<'r>(
    desk: &Desk,
    key: &InstanceKey,
    reports: &'r [GroupReport<'r>],
    memo: &mut Written<FdiTaskGroupStatus>,
    permit: &Permit,
) -> (Vec<&'r GroupReport<'r>>, Result<(), Unwritten>) {
    let api: Api<FdiTaskGroup> = Api::namespaced(desk.client.clone(), &key.namespace);
    let (mut written, mut result) = (Vec::new(), Ok(()));
    let mut waiting = reports.iter();
    let mut flights = FuturesUnordered::new();
    loop {
        while flights.len() < WRITES_AT_ONCE
            && let Some(report) = waiting.next()
        {
            flights.push(write_group(desk, permit, &api, report).map(move |answer| (report, answer)));
        }
        match flights.next().await {
            Some((report, Ok(Some(answered)))) => {
                memo.wrote(&answered, report.status.clone());
                written.push(report);
            }
            Some((_, Ok(None))) => {}
            Some((_, Err(unwritten))) => result = Err(unwritten),
            None => return (written, result),
        }
    }
}

/// Status first, so that the last word is said before the finalizer goes.
async fn write_group(
    desk: &Desk,
    permit: &Permit,
    api: &Api<FdiTaskGroup>,
    report: &GroupReport<'_>,
) -> Result<Option<ObjectMeta>, Unwritten> {
    let group = report.group;
    let mut answered = None;
    if report.letting_go.is_none() {
        answered = write_one(desk, permit, api, &*group.object, &report.status, &group.status, &report.notes).await?;
    }
    match (&report.letting_go, group.finalizer) {
        (Some(why), _) => {
            let held = group.object.metadata.finalizers.clone().unwrap_or_default();
            let rest: Vec<&String> = held.iter().filter(|name| *name != FINALIZER).collect();
            patch_finalizers(desk, permit, api, &group.object, &json!(rest)).await?;
            if let LettingGo::GivenUp(text) = why {
                give_up(desk, &group.object, text);
            }
        }
        (None, Finalizer::Add) => {
            let mut held = group.object.metadata.finalizers.clone().unwrap_or_default();
            held.push(FINALIZER.to_owned());
            patch_finalizers(desk, permit, api, &group.object, &json!(held)).await?;
        }
        _ => {}
    }
    Ok(answered)
}

/// Writes one status if it differs, and publishes its events once it is written.
async fn write_one<K, S>(
    desk: &Desk,
    permit: &Permit,
    api: &Api<K>,
    object: &K,
    status: &S,
    before: &S,
    notes: &[Note],
) -> Result<Option<ObjectMeta>, Unwritten>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq,
{
    let mut answered = None;
    let name = object.meta().name.as_deref().unwrap_or_default();
    if status != before {
        let patch = json!([test_uid(object.meta()), {"op": "add", "path": "/status", "value": status}]);
        let Some(patch) = as_patch(patch) else { return Err(Unwritten) };
        let written = attempt(desk, permit, api.patch_status(name, &PatchParams::default(), &patch)).await?;
        let Some(object) = written else { return Ok(None) };
        answered = Some(object.meta().clone());
    }
    for note in notes {
        tracing::info!(kind = %K::kind(&()), object = name, reason = note.reason, "{}", note.text);
        desk.events.emit(Event {
            regarding: object.object_ref(&()),
            kind: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason,
            action: note.action,
            note: note.text.clone(),
        });
    }
    Ok(answered)
}

async fn patch_finalizers(
    desk: &Desk,
    permit: &Permit,
    api: &Api<FdiTaskGroup>,
    object: &FdiTaskGroup,
    finalizers: &Value,
) -> Result<(), Unwritten> {
    let metadata = &object.metadata;
    // The list is replaced as a whole, so it must be the one that we read (null: there was none).
    let unchanged = json!({"op": "test", "path": "/metadata/finalizers", "value": metadata.finalizers});
    let replace = json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers});
    let Some(patch) = as_patch(json!([test_uid(metadata), unchanged, replace])) else { return Err(Unwritten) };
    let name = metadata.name.as_deref().unwrap_or_default();
    attempt(desk, permit, api.patch(name, &PatchParams::default(), &patch)).await.map(drop)
}

/// Without this an object that was deleted and recreated under the same name would inherit a stranger's status.
fn test_uid(metadata: &ObjectMeta) -> Value {
    json!({"op": "test", "path": "/metadata/uid", "value": metadata.uid})
}

fn as_patch(operations: Value) -> Option<Patch<()>> {
    serde_json::from_value(operations).ok().map(Patch::Json)
}

/// Performs one write while permission lasts. `None` when the object is gone or another one has its name.
async fn attempt<K>(
    desk: &Desk,
    permit: &Permit,
    request: impl Future<Output = Result<K, kube::Error>>,
) -> Result<Option<K>, Unwritten> {
    let Ok(_place) = desk.in_flight.acquire().await else { return Err(Unwritten) };
    if permit.check().is_err() {
        return Err(Unwritten);
    }
    match request.await {
        Ok(object) => {
            desk.metrics.status_write(true);
            Ok(Some(object))
        }
        Err(kube::Error::Api(status)) if came_too_late(&status) => {
            tracing::debug!(code = status.code, message = %status.message, "a write came too late: the object has changed");
            Ok(None)
        }
        Err(error) => {
            desk.metrics.status_write(false);
            tracing::warn!(%error, "a status could not be written; it is tried again");
            Err(Unwritten)
        }
    }
}

/// Gone, or a `test` of the patch failed. A status that the schema refuses is something else: that is our own mistake.
fn came_too_late(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409) || (status.code == 422 && !status.message.contains("is invalid"))
}

fn give_up(desk: &Desk, group: &FdiTaskGroup, text: &str) {
    tracing::warn!(group = group.metadata.name, "deletion given up: {text}");
    desk.metrics.finalizer_give_up();
    desk.events.emit(Event {
        regarding: group.object_ref(&()),
        kind: EventType::Warning,
        reason: event_reasons::DELETION_GIVEN_UP,
        action: "Delete",
        note: text.to_owned(),
    });
}
