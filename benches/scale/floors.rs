//! Floors: what API server and service take for the same work when nothing else is done.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fdi_operator::crd::{DesiredState, FdiTaskGroup};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use super::objects::{IN_FLIGHT, Objects, all, groups, instance_id};
use super::table::{Row, Unit};
use crate::edit::percentile;
use crate::support::{Environment, PROJECT, is_ready};

/// The service, called without a limit.
#[derive(Debug, Clone)]
pub struct PlainClient {
    http: reqwest::Client,
    base: String,
}

/// The part of a list that says which task runs.
#[derive(Deserialize)]
struct Page {
    entities: Vec<Listed>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Listed {
    task_id: String,
    status: serde_json::Value,
}

impl PlainClient {
    pub fn new(env: &Environment) -> Self {
        Self { http: reqwest::Client::new(), base: format!("{}/v2/{PROJECT}/fdi/instances", env.sim.url()) }
    }

    /// Lists the tasks of an instance and returns how many there are.
    pub async fn list(&self, instance: &str) -> usize {
        let mut listed = 0;
        loop {
            let url = format!("{}/{instance}/tasks?limit=999&offset={listed}", self.base);
            let response = self.http.get(url).header("x-auth-token", "token").send().await.unwrap();
            let page: Page = response.error_for_status().unwrap().json().await.unwrap();
            listed += page.entities.len();
            if page.entities.len() < 999 {
                return listed;
            }
        }
    }

    pub async fn batch(&self, instance: &str, action: &str, ids: &[impl AsRef<str>]) {
        let list: Vec<_> = ids.iter().map(|id| json!({"task_id": id.as_ref()})).collect();
        let url = format!("{}/{instance}/batch-operation/tasks", self.base);
        let request = self.http.post(url).header("x-auth-token", "token");
        let response = request.json(&json!({"action_id": action, "list": list})).send().await.unwrap();
        response.error_for_status().unwrap();
    }
}

/// A list, calls of ten tasks with so many in flight, another list.
pub async fn calls(env: &Environment, objects: &Objects, in_flight: usize) -> Duration {
    let client = PlainClient::new(env);
    let began = Instant::now();
    client.list(&instance_id(0)).await;
    let ids: Vec<String> = (0..objects.groups).flat_map(|group| objects.ids(group)).collect();
    let calling = ids.chunks(10).map(|ids| {
        let client = client.clone();
        async move { client.batch(&instance_id(0), "start", ids).await }
    });
    futures::stream::iter(calling).buffer_unordered(in_flight).collect::<Vec<_>>().await;
    client.list(&instance_id(0)).await;
    began.elapsed()
}

/// What one group takes: a list, a call, a list, a status write. The median of many.
pub async fn one_group(env: &Environment, objects: &Objects) -> Duration {
    let client = PlainClient::new(env);
    let mut groups = groups(&env.client).await;
    groups.truncate(50);
    let mut times = Vec::new();
    let api = Api::default_namespaced(env.client.clone());
    for mut group in groups {
        Arc::make_mut(group.status.get_or_insert_default()).last_handled_reconcile_at = Some("floor".into());
        let began = Instant::now();
        client.list(&instance_id(0)).await;
        client.batch(&instance_id(0), "start", &objects.ids(0)).await;
        client.list(&instance_id(0)).await;
        patch_status(&api, group).await;
        times.push(began.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(percentile(&mut times, 0.5))
}

/// Creates all groups anew while nothing watches them.
pub async fn applies(env: &Environment, objects: &Objects) -> Duration {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    while !groups(&env.client).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    objects.create_groups(env).await;
    began.elapsed()
}

/// One status write for each group, with as many in flight as the operator has, until a watch has
/// delivered them all. The statuses are those that the operator has written; the groups are copies
/// that have none yet, in a namespace of their own.
pub async fn status_patches(env: &Environment) -> Duration {
    let api: Api<FdiTaskGroup> = Api::namespaced(env.client.clone(), "floor");
    let groups = groups(&env.client).await;
    env.create_namespace("floor").await;
    let copying = groups.into_iter().map(|group| {
        let api = api.clone();
        async move {
            let copy = FdiTaskGroup::new(&group.name_any(), group.spec);
            let copy = api.create(&PostParams::default(), &copy).await.unwrap();
            FdiTaskGroup { status: group.status, ..copy }
        }
    });
    let copies: Vec<_> = futures::stream::iter(copying).buffer_unordered(IN_FLIGHT).collect().await;
    let seen = tokio::spawn(all(api.clone(), copies.len(), is_ready));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let writing = copies.into_iter().map(|copy| patch_status(&api, copy));
    futures::stream::iter(writing).buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
    seen.await.unwrap() - began
}

async fn patch_status(api: &Api<FdiTaskGroup>, group: FdiTaskGroup) {
    let same = json!({"op": "test", "path": "/metadata/uid", "value": group.uid()});
    let patch = json!([same, {"op": "add", "path": "/status", "value": group.status}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    api.patch_status(&group.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

/// A list of every instance and one call for each, all at once.
pub async fn list_and_call_each(env: &Environment, objects: &Objects) -> Duration {
    let client = PlainClient::new(env);
    let began = Instant::now();
    let working = (0..objects.instances).map(|instance| {
        let client = client.clone();
        async move {
            client.list(&instance_id(instance)).await;
            client.batch(&instance_id(instance), "start", &objects.ids(instance)).await;
        }
    });
    futures::future::join_all(working).await;
    began.elapsed()
}

/// The least that can follow an edit: a watch, and for each event of it a list and a call.
pub async fn follow(env: &Environment, objects: Objects) -> tokio::task::JoinHandle<()> {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    let listed = api.list(&ListParams::default()).await.unwrap();
    let version = listed.metadata.resource_version.unwrap();
    let mut known: HashMap<String, Option<i64>> =
        listed.items.into_iter().map(|group| (group.name_any(), group.metadata.generation)).collect();
    let client = PlainClient::new(env);
    tokio::spawn(async move {
        let events = api.watch(&WatchParams::default(), &version).await.unwrap();
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let WatchEvent::Modified(group) = event else { continue };
            let generation = group.metadata.generation;
            if known.insert(group.name_any(), generation) == Some(generation) {
                continue;
            }
            let number: usize = group.name_any()[1..].parse().unwrap();
            let instance = instance_id(objects.instance_of(number));
            let running = group.spec.desired_state == DesiredState::Running;
            client.list(&instance).await;
            client.batch(&instance, if running { "start" } else { "stop" }, &group.spec.task_ids).await;
        }
    })
}

/// Each step of [`follow`] by itself.
pub async fn steps(env: &Environment, objects: &Objects) -> Vec<Row> {
    let client = PlainClient::new(env);
    let (mut events, mut lists, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..50 {
        let instance = instance_id(n % objects.instances);
        let began = Instant::now();
        client.list(&instance).await;
        lists.push(milliseconds(began.elapsed()));
        let began = Instant::now();
        client.batch(&instance, "start", &objects.ids(n % objects.instances)).await;
        calls.push(milliseconds(began.elapsed()));
        events.push(watch_event(env, n).await);
    }
    [("a watch event after the answer to the edit", &mut events), ("a list", &mut lists), ("a call", &mut calls)]
        .into_iter()
        .map(|(what, times)| Row::new(format!("floor alone: {what}, p50"), Unit::Milliseconds, percentile(times, 0.5)))
        .collect()
}

/// Milliseconds from the answer to a patch until a watch delivers it; negative when the watch is
/// first.
async fn watch_event(env: &Environment, n: usize) -> f64 {
    let api: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    let version = api.get("g0").await.unwrap().resource_version().unwrap();
    let only = WatchParams::default().fields("metadata.name=g0");
    let events = api.watch(&only, &version).await.unwrap();
    let mut events = std::pin::pin!(events);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"floor": n.to_string()}}}));
    let answered = async {
        api.patch("g0", &PatchParams::default(), &patch).await.unwrap();
        Instant::now()
    };
    let seen = async {
        events.next().await.unwrap().unwrap();
        Instant::now()
    };
    let (answered, seen) = tokio::join!(answered, seen);
    signed_milliseconds(answered, seen)
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub fn signed_milliseconds(from: Instant, to: Instant) -> f64 {
    if to >= from { milliseconds(to - from) } else { -milliseconds(from - to) }
}

/// What a process needs that lists all objects, decodes each once, and keeps them.
#[derive(Debug, Clone, Copy, Deserialize, serde::Serialize)]
pub struct Retained {
    /// From the start of the process.
    pub seconds: f64,
    pub idle: f64,
    pub peak: f64,
}

/// Runs this program again as such a process.
pub async fn retained(kubeconfig: &Path) -> Retained {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap());
    // Freed memory goes back at once.
    child.env("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0");
    let output = child.arg("--retain").arg(kubeconfig).output().await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let retained: Retained = serde_json::from_slice(&output.stdout).unwrap();
    Retained { seconds, ..retained }
}
