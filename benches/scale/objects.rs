//! What is created on the API server and in the simulated service.

use std::collections::HashSet;

use fdi_operator::crd::{FdiInstance, FdiTaskGroup};
use fdi_operator::testing::Chosen;
use fdi_simulator::{Entry, NewTasks, Operation};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Environment, PROJECT, create_secret, is_ready, object};

/// Requests of this program in flight, as many as the operator has of status writes.
pub const IN_FLIGHT: usize = 16;

impl Environment {
    /// With the Secret that all instances use.
    pub async fn create_namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        create_secret(&self.client, name).await;
    }
}

/// Groups that are to be Running, spread evenly over instances.
#[derive(Debug, Clone, Copy)]
pub struct Objects {
    pub groups: usize,
    pub instances: usize,
    pub tasks: usize,
    pub chosen: Chosen,
    pub service: Service,
    /// Requests per second and calls in flight; the defaults if `None`.
    pub limits: Option<(i32, i32)>,
    pub poll: i32,
}

/// How the service has the tasks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    AllStopped,
    /// As desired, but for those of one group of each instance.
    OneGroupStopped,
}

impl Objects {
    pub fn instance_of(&self, group: usize) -> usize {
        group % self.instances
    }

    /// A namespace holds at most a hundred instances: its objects have a quota of the operator's
    /// memory.
    fn namespace_of(instance: usize) -> String {
        match instance / 100 {
            0 => "default".to_owned(),
            further => format!("default-{further}"),
        }
    }

    pub fn ids(&self, group: usize) -> Vec<String> {
        let instance = self.instance_of(group);
        (0..self.tasks).map(|task| format!("{instance:08x}{group:012x}{task:012x}")).collect()
    }

    fn names(&self, group: usize) -> Vec<String> {
        (0..self.tasks).map(|task| format!("{group}-{task}")).collect()
    }

    /// The instances and their tasks.
    pub async fn create_instances(&self, env: &Environment) {
        for instance in 0..self.instances {
            let namespace = Self::namespace_of(instance);
            if instance > 0 && instance % 100 == 0 {
                env.create_namespace(&namespace).await;
            }
            let api: Api<FdiInstance> = Api::namespaced(env.client.clone(), &namespace);
            let service = env.sim.instance(PROJECT, &instance_id(instance));
            for group in (0..self.groups).filter(|group| self.instance_of(*group) == instance) {
                let running = self.service == Service::OneGroupStopped && group >= self.instances;
                let names = self.names(group);
                service.create(&NewTasks { ids: self.ids(group), names, running, ..NewTasks::default() });
            }
            let mut spec = json!({
                "endpoint": env.sim.url(), "projectId": PROJECT, "instanceId": instance_id(instance),
                "auth": {"token": {"secretRef": {"name": "token"}}}, "pollIntervalSeconds": self.poll,
            });
            if let Some((rate, concurrent)) = self.limits {
                spec["rateLimit"] = json!({"requestsPerSecond": rate, "maxConcurrentCalls": concurrent});
            }
            let new = object("FdiInstance", &format!("i{instance}"), &spec);
            api.create(&PostParams::default(), &new).await.unwrap();
        }
    }

    pub async fn create_groups(&self, env: &Environment) {
        let creating = (0..self.groups).map(|group| {
            let instance = self.instance_of(group);
            let api: Api<FdiTaskGroup> = Api::namespaced(env.client.clone(), &Self::namespace_of(instance));
            let instance = json!({"name": format!("i{instance}")});
            let mut spec = json!({"instanceRef": instance, "desiredState": "Running"});
            match self.chosen {
                Chosen::ById => spec["taskIds"] = json!(self.ids(group)),
                Chosen::ByName => spec["taskNames"] = json!(self.names(group)),
                Chosen::BySelector => spec["selector"] = json!({"names": [format!("{group}-*")]}),
            }
            let new = object("FdiTaskGroup", &format!("g{group}"), &spec);
            async move { api.create(&PostParams::default(), &new).await.unwrap() }
        });
        futures::stream::iter(creating).buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
    }
}

/// Whether a list begins with this request: one of a thousand tasks has two pages.
pub fn is_first_page(entry: &Entry) -> bool {
    entry.operation == Operation::List && entry.query.ends_with("offset=0")
}

pub fn instance_id(instance: usize) -> String {
    format!("instance-{instance}")
}

pub async fn groups(client: &kube::Client) -> Vec<FdiTaskGroup> {
    let api: Api<FdiTaskGroup> = Api::all(client.clone());
    api.list(&ListParams::default()).await.unwrap().items
}

/// Returns when that many groups are Ready.
pub async fn all_ready(client: kube::Client, count: usize) -> Instant {
    all(Api::all(client), count, is_ready).await
}

/// Returns when that many groups are as `wanted`. It watches: repeated lists would slow what is
/// measured.
pub async fn all(api: Api<FdiTaskGroup>, count: usize, wanted: impl Fn(&FdiTaskGroup) -> bool) -> Instant {
    let mut events = watcher(api, watcher::Config::default()).applied_objects().boxed();
    let mut found = HashSet::new();
    while found.len() < count {
        let group = events.next().await.expect("a watch does not end").unwrap();
        if wanted(&group) {
            found.insert(group.name_any());
        } else {
            found.remove(&group.name_any());
        }
    }
    Instant::now()
}

/// Requests that the API server has counted, of those that have all of `parts` among their labels.
pub async fn requests(env: &Environment, parts: &[&str]) -> f64 {
    let metrics = env.plane.kubectl().run(["get", "--raw", "/metrics"]).await.unwrap().stdout;
    let total = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
    let total = total.filter(|line| parts.iter().all(|part| line.contains(part)));
    total.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Status writes of groups so far.
pub async fn status_writes(env: &Environment) -> f64 {
    requests(env, &["resource=\"fditaskgroups\"", "subresource=\"status\"", "verb=\"PATCH\""]).await
}
