//! A namespace that does all it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fdi_simulator::{Effect, NewTasks, Operation, Trigger};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use rand::{Rng as _, RngCore as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::objects::{
    GROUPS, INSTANCES, TASKS, group_name, group_spec, instance_name, instance_spec, object, resource, task_id, task_ids,
};
use crate::support::{Environment, PROJECT};

/// Edits in flight, each of which follows the last one at once.
const EDITORS: usize = 2;

pub struct Neighbour<'a> {
    env: &'a Environment,
    namespace: String,
    group: ApiResource,
    instance: ApiResource,
}

impl<'a> Neighbour<'a> {
    /// With objects of this API group, in a namespace of its own.
    pub fn new(env: &'a Environment, api_group: &str) -> Self {
        let (group, instance) = (resource(api_group, "FdiTaskGroup"), resource(api_group, "FdiInstance"));
        Self { env, namespace: format!("neighbour-{}", api_group.replace('.', "-")), group, instance }
    }

    fn groups(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.env.client.clone(), &self.namespace, &self.group)
    }

    fn instances(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.env.client.clone(), &self.namespace, &self.instance)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.env.client.clone(), &self.namespace)
    }

    /// Receives every event of the groups, as an operator would.
    pub fn watch(&self) -> JoinHandle<()> {
        let groups: Api<DynamicObject> = Api::all_with(self.env.client.clone(), &self.group);
        tokio::spawn(async move {
            let mut events = watcher(groups, watcher::Config::default()).boxed();
            while events.next().await.is_some() {}
        })
    }

    /// Half of its services serve, the others hang, drip, refuse, throttle or answer nonsense; all
    /// have tasks with odd names.
    pub fn spoil_services(&self) {
        let long = "order \u{202e}\u{1f4a5}\0 \"'<&>".repeat(12);
        for instance in 0..INSTANCES {
            let service = self.env.sim.instance(PROJECT, &instance_name(instance));
            let ids = (0..TASKS).map(|task| task_id(instance, task)).collect();
            service.create(&NewTasks { ids, prefix: long.clone(), ..NewTasks::default() });
            let fault = |operation, effect| service.fault(Trigger::on(operation), effect);
            match instance % 20 {
                0 => fault(Operation::List, Effect::Hang { acts: false }),
                2 => fault(Operation::Batch, Effect::Hang { acts: true }),
                4 => fault(Operation::Batch, Effect::fdi(400, "FDI.3021", "One or more tasks do not exist")),
                6 => fault(Operation::List, Effect::Drip { bytes: 100, every_ms: 10 }),
                8 => fault(Operation::Batch, Effect::throttled(None)),
                10 => fault(Operation::List, Effect::html(502)),
                12 => fault(Operation::List, Effect::Crowd { tasks: 200_000 }),
                14 => fault(Operation::Batch, Effect::Cut { acts: true }),
                16 => fault(Operation::List, Effect::name_not_utf8(&task_id(instance, 0))),
                _ => 0,
            };
        }
    }

    /// Creates everything, then edits without pause. Returns how many edits there were.
    pub async fn act(&self, span: Duration) -> usize {
        let edits = Arc::new(AtomicUsize::new(0));
        let acting = async {
            self.create().await;
            let editing = (0..EDITORS).map(|_| async {
                loop {
                    self.edit().await;
                    edits.fetch_add(1, Ordering::Relaxed);
                }
            });
            futures::future::join_all(editing).await
        };
        let _ = tokio::time::timeout(span, acting).await;
        edits.load(Ordering::Relaxed)
    }

    async fn create(&self) {
        let namespace = serde_json::from_value(json!({"metadata": {"name": self.namespace}})).unwrap();
        let namespaces: Api<Namespace> = Api::all(self.env.client.clone());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        for name in ["token", "refused"] {
            let secret = json!({"metadata": {"name": name}, "stringData": {"token": name}});
            self.secrets().create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
        }
        for instance in 0..INSTANCES {
            self.create_instance(instance).await;
        }
        let creating = (0..GROUPS).map(|group| self.create_group(group));
        futures::stream::iter(creating).buffer_unordered(EDITORS).collect::<Vec<_>>().await;
    }

    async fn create_instance(&self, instance: usize) {
        let new = object(&self.instance, &instance_name(instance), &instance_spec(self.env, instance));
        let _ = self.instances().create(&PostParams::default(), &new).await;
    }

    async fn create_group(&self, group: usize) {
        let new = object(&self.group, &group_name(group), &group_spec(group));
        let _ = self.groups().create(&PostParams::default(), &new).await;
    }

    /// One random edit. It may fail: the other editor may have deleted the object.
    async fn edit(&self) {
        let (group, instance) = (rand::rng().random_range(0..GROUPS), rand::rng().random_range(0..INSTANCES));
        match rand::rng().random_range(0..100) {
            0..50 => {
                let state = if rand::rng().random_bool(0.5) { "Running" } else { "Stopped" };
                self.patch_group(group, json!({"spec": {"desiredState": state}})).await;
            }
            50..65 => {
                let ids = task_ids(group, rand::rng().random_range(0..TASKS));
                self.patch_group(group, json!({"spec": {"taskIds": ids}})).await;
            }
            65..75 => {
                let annotations = json!({"reconcile.fluxcd.io/requestedAt": rand::rng().next_u64().to_string()});
                self.patch_group(group, json!({"metadata": {"annotations": annotations}})).await;
            }
            75..80 => {
                let suspend = rand::rng().random_bool(0.3);
                self.patch_group(group, json!({"spec": {"suspend": suspend}})).await;
            }
            80..88 => {
                let _ = self.groups().delete(&group_name(group), &DeleteParams::default()).await;
                self.create_group(group).await;
            }
            88..92 => {
                let _ = self.instances().delete(&instance_name(instance), &DeleteParams::default()).await;
                self.create_instance(instance).await;
            }
            92..97 => {
                let limit = json!({"requestsPerSecond": rand::rng().random_range(50..=100)});
                let patch = Patch::Merge(json!({"spec": {"rateLimit": limit}}));
                let _ = self.instances().patch(&instance_name(instance), &PatchParams::default(), &patch).await;
            }
            _ => {
                let patch = Patch::Merge(json!({"stringData": {"token": rand::rng().next_u64().to_string()}}));
                let _ = self.secrets().patch("refused", &PatchParams::default(), &patch).await;
            }
        }
    }

    async fn patch_group(&self, group: usize, patch: Value) {
        let _ = self.groups().patch(&group_name(group), &PatchParams::default(), &Patch::Merge(patch)).await;
    }
}
