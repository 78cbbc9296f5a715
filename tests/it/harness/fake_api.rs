//! A kube-apiserver that misbehaves on request, for what a real one cannot be made to do at a
//! chosen moment: resource versions that expire, watches that send malformed data, or nothing at
//! all. It serves the two kinds, one Secret, and nothing else.

mod stale;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use fdi_simulator::Simulator;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::process::kubeconfig_for;
use super::{INSTANCE, PROJECT, TOKEN, merge};

pub const GROUPS: &str = "fditaskgroups";
pub const INSTANCES: &str = "fdiinstances";

/// What a client requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The first page of a list (1), or a later one (2).
    Page(usize),
    /// A list of one object, for the version that it bears.
    Version,
    Watch,
}

/// How the next such request is answered instead of correctly.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With this status code and reason.
    Reject(u16, &'static str),
    /// With 200, and then nothing.
    Hang,
}

/// What happens to an event on its way.
#[derive(Debug, Clone, Copy)]
pub enum Corruption {
    /// Its line is not JSON.
    Garbled,
    /// The response ends in the middle of its line.
    Truncated,
}

type Line = Result<String, std::convert::Infallible>;

/// What the server stores, to be restored later.
pub struct Backup {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
}

/// An open watch.
struct OpenWatch {
    kind: String,
    number: u64,
    /// Nothing up to this version is sent.
    from: u64,
    to: UnboundedSender<Line>,
}

#[derive(Default)]
struct ServerState {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    /// Version, kind and line of every event so far.
    history: Vec<(u64, String, String)>,
    watches: Vec<OpenWatch>,
    watches_started: u64,
    /// Watches do not end at their timeout.
    never_ends_watches: bool,
    /// Connections that stay open and carry nothing any more.
    silenced: Vec<OpenWatch>,
    faults: Vec<(&'static str, RequestKind, Fault)>,
    /// Every watch of this kind ends as soon as it starts.
    ending: Option<&'static str>,
    /// The history up to this version is gone.
    compacted: u64,
    /// Whether the status code reports a version that is too old, instead of an event.
    by_status_code: bool,
    /// What open watches get instead of the next event of the kind.
    corruption: Option<(&'static str, Corruption)>,
    requests: Vec<(String, RequestKind)>,
    repeats_events: bool,
    /// How every write is answered.
    refusing: Option<(u16, &'static str)>,
    /// The name of the object of each write.
    writes: Vec<String>,
    stale_lists: usize,
}

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<ServerState>>);

/// The server. It ends when dropped.
pub struct FakeApiServer {
    pub api: FakeApi,
    folder: TempDir,
    running: JoinHandle<()>,
}

impl FakeApiServer {
    /// With the simulator's instance `roma` in the namespace `default`, and its Secret.
    pub async fn start(sim: &Simulator) -> Self {
        let api = FakeApi::default();
        let spec = json!({
            "endpoint": sim.url(), "projectId": PROJECT, "instanceId": INSTANCE,
            "auth": {"token": {"secretRef": {"name": "roma-credentials"}}}, "pollIntervalSeconds": 3600,
            "rateLimit": {"requestsPerSecond": 100, "maxConcurrentCalls": 2},
        });
        api.put(INSTANCES, "roma", json!({ "spec": spec }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        kubeconfig_for(&folder, &format!("http://{}", listener.local_addr().unwrap()));
        let kinds = "/apis/fdi.romaconnect.dev/v1alpha1";
        let app = Router::new()
            .route(&format!("{kinds}/{{kind}}"), get(list_or_watch))
            .route(&format!("{kinds}/namespaces/default/{{kind}}/{{name}}/status"), patch(write_status))
            .route("/api/v1/namespaces/default/secrets/roma-credentials", get(secret))
            .fallback(async || rejected(404, "NotFound"))
            .with_state(api.clone());
        let running = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { api, folder, running }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl FakeApi {
    fn state(&self) -> MutexGuard<'_, ServerState> {
        self.0.lock().unwrap()
    }

    /// Creates an object, or merges into it as an edit.
    pub fn put(&self, kind: &str, name: &str, change: Value) {
        self.state().change(kind, name, change);
    }

    /// A group of `roma` with these tasks.
    pub fn group(&self, name: &str, state: &str, ids: &[String]) {
        let spec = json!({"instanceRef": {"name": "roma"}, "desiredState": state, "taskIds": ids});
        self.put(GROUPS, name, json!({ "spec": spec }));
    }

    pub fn delete(&self, kind: &str, name: &str) {
        let mut state = self.state();
        let object = state.objects.remove(&(kind.to_owned(), name.to_owned())).unwrap();
        state.publish(kind, "DELETED", object);
    }

    /// Whether the group's status is of its newest generation and Ready.
    pub fn is_ready(&self, name: &str) -> bool {
        let state = self.state();
        let Some(group) = state.objects.get(&(GROUPS.to_owned(), name.to_owned())) else { return false };
        let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        group["status"]["observedGeneration"] == group["metadata"]["generation"]
            && group["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
    }

    /// Reason of the group's Ready condition, if its status is of the newest generation.
    pub fn ready_reason(&self, name: &str) -> Option<String> {
        let state = self.state();
        let group = state.objects.get(&(GROUPS.to_owned(), name.to_owned()))?;
        let status = &group["status"];
        let conditions = status["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        let newest = status["observedGeneration"] == group["metadata"]["generation"];
        newest.then(|| ready["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// The number of tasks of the group that an older one owns.
    pub fn conflicting(&self, name: &str) -> Option<u64> {
        self.state().objects.get(&(GROUPS.to_owned(), name.to_owned()))?["status"]["tasks"]["conflicting"].as_u64()
    }

    /// Whether the object has a status.
    pub fn has_status(&self, kind: &str, name: &str) -> bool {
        let state = self.state();
        state.objects.get(&(kind.to_owned(), name.to_owned())).is_some_and(|object| object["status"].is_object())
    }

    /// The number of groups in the status of `roma`.
    pub fn reported_groups(&self) -> Option<u64> {
        self.state().objects[&(INSTANCES.to_owned(), "roma".to_owned())]["status"]["groups"].as_u64()
    }

    /// Answers the next such request with this fault.
    pub fn inject(&self, kind: &'static str, request: RequestKind, fault: Fault) {
        self.state().faults.push((kind, request, fault));
    }

    /// Ends every watch of the kind, silenced ones too.
    pub fn end(&self, kind: &str) {
        let mut state = self.state();
        state.watches.retain(|watch| watch.kind != kind);
        state.silenced.retain(|watch| watch.kind != kind);
    }

    /// From now on every watch of this kind ends as soon as it starts; `None` stops that.
    pub fn end_new_watches(&self, kind: Option<&'static str>) {
        self.state().ending = kind;
        if let Some(kind) = kind {
            self.end(kind);
        }
    }

    /// Does not end a watch at its timeout.
    pub fn never_end_watches(&self) {
        self.state().never_ends_watches = true;
    }

    /// Sends nothing more over the open watches of the kind, and keeps them open.
    pub fn silence(&self, kind: &str) {
        let mut state = self.state();
        let from = state.version;
        let silenced: Vec<_> = state.watches.extract_if(.., |watch| watch.kind == kind).collect();
        state.silenced.extend(silenced.into_iter().map(|watch| OpenWatch { from, ..watch }));
    }

    /// Drops the history: no watch can start at an earlier version any more. `by_status_code`: such
    /// a watch gets status code 410 instead of an ERROR event.
    pub fn compact(&self, by_status_code: bool) {
        let mut state = self.state();
        state.history.clear();
        (state.compacted, state.by_status_code) = (state.version, by_status_code);
    }

    /// What the server stores now.
    pub fn backup(&self) -> Backup {
        let state = self.state();
        Backup { version: state.version, objects: state.objects.clone() }
    }

    /// Restores what the server stored then, as an administrator restores etcd: everything since is
    /// gone, the server assigns the versions since then again, and closes all connections.
    pub fn restore(&self, backup: Backup) {
        let mut state = self.state();
        state.version = backup.version;
        state.objects = backup.objects;
        state.history.retain(|(version, ..)| *version <= backup.version);
        state.watches.clear();
        state.silenced.clear();
    }

    /// Corrupts the next event of the kind for the open watches.
    pub fn corrupt_next(&self, kind: &'static str, how: Corruption) {
        self.state().corruption = Some((kind, how));
    }

    /// How many such requests clients have sent.
    pub fn request_count(&self, kind: &str, request: RequestKind) -> usize {
        self.state().requests.iter().filter(|(k, r)| k == kind && *r == request).count()
    }
}

impl ServerState {
    fn change(&mut self, kind: &str, name: &str, change: Value) {
        let key = (kind.to_owned(), name.to_owned());
        let singular = if kind == INSTANCES { "FdiInstance" } else { "FdiTaskGroup" };
        let new = !self.objects.contains_key(&key);
        let object = self.objects.entry(key).or_insert_with(|| {
            json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": singular, "metadata": {"name": name,
                "namespace": "default", "uid": format!("uid-of-{name}"), "generation": 0,
                "creationTimestamp": "2026-01-01T00:00:00Z"}})
        });
        if change.get("spec").is_some() {
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        merge(object, change);
        let object = object.clone();
        self.publish(kind, if new { "ADDED" } else { "MODIFIED" }, object);
    }

    fn publish(&mut self, kind: &str, what: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = (kind.to_owned(), object["metadata"]["name"].as_str().unwrap().to_owned());
        if let Some(stored) = self.objects.get_mut(&key) {
            stored.clone_from(&object);
        }
        let line = format!("{}\n", json!({"type": what, "object": object}));
        let corruption = self.corruption.take_if(|(k, _)| *k == kind).map(|(_, how)| how);
        let sent = match corruption {
            None => line.clone(),
            Some(Corruption::Garbled) => line.replace("\"object\":", "\"object\"\u{1}"),
            Some(Corruption::Truncated) => line[..line.len() / 2].to_owned(),
        };
        let open = self.watches.iter().filter(|watch| watch.kind == kind && watch.from < self.version);
        let copies = self.copies();
        open.for_each(|watch| (0..copies).for_each(|_| drop(watch.to.send(Ok(sent.clone())))));
        if matches!(corruption, Some(Corruption::Truncated)) {
            self.watches.retain(|watch| watch.kind != kind);
        }
        self.history.push((self.version, kind.to_owned(), line));
    }

    fn page(&self, kind: &str, limit: usize, from: usize) -> Value {
        let all: Vec<&Value> = self.objects.iter().filter(|((k, _), _)| k == kind).map(|(_, object)| object).collect();
        let rest = if from + limit < all.len() { (from + limit).to_string() } else { String::new() };
        let items: Vec<&Value> = all.into_iter().skip(from).take(limit).collect();
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": rest});
        json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "List", "metadata": metadata, "items": items})
    }

    /// Events after `version`, those to come included.
    fn watch(&mut self, kind: &str, version: u64) -> Response {
        if version < self.compacted && self.by_status_code {
            return rejected(410, "Expired");
        }
        let (to, mut from) = unbounded_channel::<Line>();
        if version < self.compacted {
            let _ = to.send(Ok(format!("{}\n", json!({"type": "ERROR", "object": status(410, "Expired")}))));
        }
        for (_, _, line) in self.history.iter().filter(|(v, k, _)| k == kind && *v > version) {
            let _ = to.send(Ok(line.clone()));
        }
        if self.ending != Some(kind) {
            self.watches_started += 1;
            let (kind, number) = (kind.to_owned(), self.watches_started);
            self.watches.push(OpenWatch { kind, number, from: version, to });
        }
        Body::from_stream(futures::stream::poll_fn(move |context| from.poll_recv(context))).into_response()
    }
}

async fn list_or_watch(
    State(api): State<FakeApi>,
    Path(kind): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok());
    let (limit, from) = (number("limit").unwrap_or(usize::MAX / 2), number("continue").unwrap_or(0));
    let request = match limit {
        _ if query.contains_key("watch") => RequestKind::Watch,
        1 if from == 0 => RequestKind::Version,
        _ => RequestKind::Page(if from == 0 { 1 } else { 2 }),
    };
    let mut state = api.state();
    state.requests.push((kind.clone(), request));
    let at_any_version = query.contains_key("resourceVersion") || query.contains_key("resourceVersionMatch");
    state.stale_lists += usize::from(request != RequestKind::Watch && at_any_version);
    let fault = state.faults.iter().position(|(k, r, _)| *k == kind && *r == request);
    match (fault.map(|at| state.faults.remove(at).2), request) {
        (Some(Fault::Reject(code, reason)), _) => rejected(code, reason),
        (Some(Fault::Hang), _) => Body::from_stream(futures::stream::pending::<Line>()).into_response(),
        (None, RequestKind::Page(_) | RequestKind::Version) => Json(state.page(&kind, limit, from)).into_response(),
        (None, RequestKind::Watch) => {
            let version = number("resourceVersion").unwrap();
            let length = Duration::from_secs(u64::try_from(number("timeoutSeconds").unwrap()).unwrap());
            let response = state.watch(&kind, u64::try_from(version).unwrap());
            let own_number = state.watches_started;
            drop(state);
            tokio::spawn(async move {
                tokio::time::sleep(length).await;
                let mut state = api.state();
                if !state.never_ends_watches {
                    state.watches.retain(|watch| watch.number != own_number);
                }
            });
            response
        }
    }
}

/// Accepts the operator's own form of patch: a `test` of the uid, and the whole status.
async fn write_status(
    State(api): State<FakeApi>,
    Path((kind, name)): Path<(String, String)>,
    Json(operations): Json<Value>,
) -> Response {
    let mut state = api.state();
    state.writes.push(name.clone());
    if let Some((code, reason)) = state.refusing {
        return rejected(code, reason);
    }
    let key = (kind.clone(), name.clone());
    let uid = state.objects.get(&key).map(|object| object["metadata"]["uid"].clone());
    let (tested, status) = (&operations[0]["value"], &operations[1]["value"]);
    if uid.is_none() || uid.as_ref() != Some(tested) {
        return rejected(422, "Invalid");
    }
    state.objects.get_mut(&key).unwrap()["status"] = status.clone();
    state.change(&kind, &name, json!({}));
    Json(state.objects[&key].clone()).into_response()
}

async fn secret() -> Json<Value> {
    Json(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "roma-credentials", "namespace": "default",
        "uid": "uid-of-the-secret", "resourceVersion": "1"}, "data": {"token": base64(TOKEN)}}))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": format!("injected by the test: {reason}")})
}

fn rejected(code: u16, reason: &str) -> Response {
    (StatusCode::from_u16(code).unwrap(), Json(status(code, reason))).into_response()
}

fn base64(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap()
}
