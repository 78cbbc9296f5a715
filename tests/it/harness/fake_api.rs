//! A kube-apiserver that misbehaves on request, for what a real one cannot be made to do at a
//! chosen moment: versions that expire, watches that say nonsense, or nothing at all. It knows the
//! two kinds, one Secret, and nothing else.

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

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The first page of a list (1), or a later one (2).
    Page(usize),
    /// A list of one object, for the version that it bears.
    Version,
    Watch,
}

/// How the next such request is answered instead of properly.
#[derive(Debug, Clone)]
pub enum Trick {
    /// This status code with this reason.
    Refuse(u16, &'static str),
    /// 200 and then nothing, for ever.
    Silence,
}

/// What becomes of an event on its way.
#[derive(Debug, Clone, Copy)]
pub enum Spoiled {
    /// Its line is no JSON.
    Garbled,
    /// The answer ends in the middle of its line.
    Cut,
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
struct World {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    /// Version, kind and line of every event there was.
    history: Vec<(u64, String, String)>,
    watches: Vec<OpenWatch>,
    begun: u64,
    /// Watches are not ended when their time is over.
    endless: bool,
    /// Connections that nothing is sent over any more, kept open.
    mute: Vec<OpenWatch>,
    tricks: Vec<(&'static str, Ask, Trick)>,
    /// Every watch of this kind is ended as soon as it begins.
    ending: Option<&'static str>,
    /// What happened up to this version is forgotten.
    compacted: u64,
    /// Whether a version that is too old is told by the status code instead of an event.
    plainly: bool,
    /// What open watches get instead of the next event of the kind.
    spoiled: Option<(&'static str, Spoiled)>,
    asked: Vec<(String, Ask)>,
}

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<World>>);

/// The server; it ends when dropped.
pub struct Served {
    pub api: FakeApi,
    folder: TempDir,
    running: JoinHandle<()>,
}

impl Served {
    /// One with the instance `roma` of the simulator in the namespace `default`, and its Secret.
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
            .fallback(async || refused(404, "NotFound"))
            .with_state(api.clone());
        let running = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { api, folder, running }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl FakeApi {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Creates an object, or merges into it as an edit.
    pub fn put(&self, kind: &str, name: &str, change: Value) {
        self.world().change(kind, name, change);
    }

    /// A group of `roma` with these tasks.
    pub fn group(&self, name: &str, state: &str, ids: &[String]) {
        let spec = json!({"instanceRef": {"name": "roma"}, "desiredState": state, "taskIds": ids});
        self.put(GROUPS, name, json!({ "spec": spec }));
    }

    pub fn delete(&self, kind: &str, name: &str) {
        let mut world = self.world();
        let object = world.objects.remove(&(kind.to_owned(), name.to_owned())).unwrap();
        world.tell(kind, "DELETED", object);
    }

    /// Whether the group's status is of its newest generation and Ready.
    pub fn is_ready(&self, name: &str) -> bool {
        let world = self.world();
        let Some(group) = world.objects.get(&(GROUPS.to_owned(), name.to_owned())) else { return false };
        let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        group["status"]["observedGeneration"] == group["metadata"]["generation"]
            && group["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
    }

    /// Reason of the group's Ready condition, if its status is of the newest generation.
    pub fn ready_reason(&self, name: &str) -> Option<String> {
        let world = self.world();
        let group = world.objects.get(&(GROUPS.to_owned(), name.to_owned()))?;
        let status = &group["status"];
        let conditions = status["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        let newest = status["observedGeneration"] == group["metadata"]["generation"];
        newest.then(|| ready["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// How many tasks of the group an older one owns.
    pub fn conflicting(&self, name: &str) -> Option<u64> {
        self.world().objects.get(&(GROUPS.to_owned(), name.to_owned()))?["status"]["tasks"]["conflicting"].as_u64()
    }

    /// Whether the object has a status.
    pub fn has_status(&self, kind: &str, name: &str) -> bool {
        let world = self.world();
        world.objects.get(&(kind.to_owned(), name.to_owned())).is_some_and(|object| object["status"].is_object())
    }

    /// How many groups the status of `roma` counts.
    pub fn counted(&self) -> Option<u64> {
        self.world().objects[&(INSTANCES.to_owned(), "roma".to_owned())]["status"]["groups"].as_u64()
    }

    /// Answers the next such request in this way.
    pub fn trick(&self, kind: &'static str, ask: Ask, trick: Trick) {
        self.world().tricks.push((kind, ask, trick));
    }

    /// Ends every watch of the kind, mute ones too.
    pub fn end(&self, kind: &str) {
        let mut world = self.world();
        world.watches.retain(|watch| watch.kind != kind);
        world.mute.retain(|watch| watch.kind != kind);
    }

    /// From now on every watch of this kind is ended as soon as it begins; `None` stops that.
    pub fn keep_ending(&self, kind: Option<&'static str>) {
        self.world().ending = kind;
        if let Some(kind) = kind {
            self.end(kind);
        }
    }

    /// Never ends a watch because its time is over.
    pub fn endless(&self) {
        self.world().endless = true;
    }

    /// Sends nothing over the open watches of the kind any more, and leaves them open.
    pub fn mute(&self, kind: &str) {
        let mut world = self.world();
        let mute: Vec<_> = world.watches.extract_if(.., |watch| watch.kind == kind).collect();
        world.mute.extend(mute);
    }

    /// Forgets what happened so far: watches cannot begin there any more. `plainly`: they are told
    /// by status code 410.
    pub fn compact(&self, plainly: bool) {
        let mut world = self.world();
        world.history.clear();
        (world.compacted, world.plainly) = (world.version, plainly);
    }

    /// What is stored now.
    pub fn backup(&self) -> Backup {
        let world = self.world();
        Backup { version: world.version, objects: world.objects.clone() }
    }

    /// Goes back to what was stored then, as after the restore of etcd: everything since is gone,
    /// versions are given out anew, and all connections are closed.
    pub fn restore(&self, backup: Backup) {
        let mut world = self.world();
        world.version = backup.version;
        world.objects = backup.objects;
        world.history.retain(|(version, ..)| *version <= backup.version);
        world.watches.clear();
        world.mute.clear();
    }

    /// Spoils the next event of the kind for the watches that are open.
    pub fn spoil(&self, kind: &'static str, how: Spoiled) {
        self.world().spoiled = Some((kind, how));
    }

    /// How often clients asked for this.
    pub fn asked(&self, kind: &str, ask: Ask) -> usize {
        self.world().asked.iter().filter(|(k, a)| k == kind && *a == ask).count()
    }
}

impl World {
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
        self.tell(kind, if new { "ADDED" } else { "MODIFIED" }, object);
    }

    fn tell(&mut self, kind: &str, what: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = (kind.to_owned(), object["metadata"]["name"].as_str().unwrap().to_owned());
        if let Some(stored) = self.objects.get_mut(&key) {
            stored.clone_from(&object);
        }
        let line = format!("{}\n", json!({"type": what, "object": object}));
        let spoiled = self.spoiled.take_if(|(k, _)| *k == kind).map(|(_, how)| how);
        let sent = match spoiled {
            None => line.clone(),
            Some(Spoiled::Garbled) => line.replace("\"object\":", "\"object\"\u{1}"),
            Some(Spoiled::Cut) => line[..line.len() / 2].to_owned(),
        };
        let open = self.watches.iter().filter(|watch| watch.kind == kind && watch.from < self.version);
        open.for_each(|watch| drop(watch.to.send(Ok(sent.clone()))));
        if matches!(spoiled, Some(Spoiled::Cut)) {
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
        if version < self.compacted && self.plainly {
            return refused(410, "Expired");
        }
        let (to, mut from) = unbounded_channel::<Line>();
        if version < self.compacted {
            let _ = to.send(Ok(format!("{}\n", json!({"type": "ERROR", "object": status(410, "Expired")}))));
        }
        for (_, _, line) in self.history.iter().filter(|(v, k, _)| k == kind && *v > version) {
            let _ = to.send(Ok(line.clone()));
        }
        if self.ending != Some(kind) {
            self.begun += 1;
            self.watches.push(OpenWatch { kind: kind.to_owned(), number: self.begun, from: version, to });
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
    let ask = match limit {
        _ if query.contains_key("watch") => Ask::Watch,
        1 if from == 0 => Ask::Version,
        _ => Ask::Page(if from == 0 { 1 } else { 2 }),
    };
    let mut world = api.world();
    world.asked.push((kind.clone(), ask));
    let trick = world.tricks.iter().position(|(k, a, _)| *k == kind && *a == ask);
    match (trick.map(|at| world.tricks.remove(at).2), ask) {
        (Some(Trick::Refuse(code, reason)), _) => refused(code, reason),
        (Some(Trick::Silence), _) => Body::from_stream(futures::stream::pending::<Line>()).into_response(),
        (None, Ask::Page(_) | Ask::Version) => Json(world.page(&kind, limit, from)).into_response(),
        (None, Ask::Watch) => {
            let version = number("resourceVersion").unwrap();
            let length = Duration::from_secs(u64::try_from(number("timeoutSeconds").unwrap()).unwrap());
            let answer = world.watch(&kind, u64::try_from(version).unwrap());
            let begun = world.begun;
            drop(world);
            tokio::spawn(async move {
                tokio::time::sleep(length).await;
                let mut world = api.world();
                if !world.endless {
                    world.watches.retain(|watch| watch.number != begun);
                }
            });
            answer
        }
    }
}

/// Takes the operator's own kind of patch: a `test` of the uid and the whole status.
async fn write_status(
    State(api): State<FakeApi>,
    Path((kind, name)): Path<(String, String)>,
    Json(operations): Json<Value>,
) -> Response {
    let mut world = api.world();
    let key = (kind.clone(), name.clone());
    let uid = world.objects.get(&key).map(|object| object["metadata"]["uid"].clone());
    let (tested, status) = (&operations[0]["value"], &operations[1]["value"]);
    if uid.is_none() || uid.as_ref() != Some(tested) {
        return refused(422, "Invalid");
    }
    world.objects.get_mut(&key).unwrap()["status"] = status.clone();
    world.change(&kind, &name, json!({}));
    Json(world.objects[&key].clone()).into_response()
}

async fn secret() -> Json<Value> {
    Json(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "roma-credentials", "namespace": "default",
        "uid": "uid-of-the-secret", "resourceVersion": "1"}, "data": {"token": base64(TOKEN)}}))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": format!("a trick of the test: {reason}")})
}

fn refused(code: u16, reason: &str) -> Response {
    (StatusCode::from_u16(code).unwrap(), Json(status(code, reason))).into_response()
}

fn base64(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap()
}
