//! What every test needs: the control plane, a namespace, a simulator, an operator, and conditions
//! with deadlines.

mod cluster;
pub mod fake_api;
pub mod faults;
mod gate;
mod operator;
mod process;
mod proxy;
mod revisions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, FdiInstance, FdiTaskGroup, FdiTaskGroupStatus, condition_types};
use fdi_simulator::{Action, Entry, InstanceHandle, Options, Simulator, User};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

pub use cluster::{Cluster, OPERATOR_NAMESPACE, kubeconfig, kubectl, shared};
pub use gate::{Gate, KillPoint};
pub use operator::{GatedOperator, Operator, fast_timings};
pub use process::{Process, kubeconfig_for};
pub use proxy::Proxy;
pub use revisions::Revisions;

pub const PROJECT: &str = "0123456789abcdef0123456789abcdef";
pub const INSTANCE: &str = "1d94f3f6-1111-2222-3333-444455556666";
pub const TOKEN: &str = "token-of-the-tests";
/// How long a condition may take before a test fails. Generous, because machines are busy and a
/// test that succeeds never needs it.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A namespace with an instance `roma`, its simulator, and every status revision that its groups
/// had.
pub struct TestEnv {
    pub cluster: Arc<Cluster>,
    pub namespace: String,
    pub client: Client,
    pub sim: Simulator,
    pub service: InstanceHandle,
    pub revisions: Revisions,
    /// The newest uid and generation of each group, so that no test waits on a revision that is
    /// outdated.
    newest: Mutex<HashMap<String, (String, i64)>>,
}

impl TestEnv {
    /// With an instance, its Secret, and `tasks` stopped tasks at the service. No operator yet.
    pub async fn new(tasks: usize) -> (Self, Vec<String>) {
        Self::on(shared().await, tasks).await
    }

    /// The same on a control plane of the caller's choice.
    pub async fn on(cluster: Arc<Cluster>, tasks: usize) -> (Self, Vec<String>) {
        let (env, ids) = Self::bare_on(cluster, tasks).await;
        env.secret("roma-credentials", &[("token", TOKEN)]).await;
        env.instance("roma", json!({})).await;
        (env, ids)
    }

    /// The same without Secret and `FdiInstance`.
    pub async fn bare(tasks: usize) -> (Self, Vec<String>) {
        Self::bare_on(shared().await, tasks).await
    }

    /// For several operator processes. Each signs in by password and gets its own token, which
    /// identifies the process in the simulator's log. The namespace may hold a Lease.
    pub async fn for_replicas(cluster: Arc<Cluster>, tasks: usize) -> (Self, Vec<String>) {
        let (env, ids) = Self::bare_on(cluster, tasks).await;
        env.cluster.allow_lease_in(&env.namespace).await;
        env.sim.set_project(PROJECT, "cn-north-4");
        let user: User =
            serde_json::from_value(json!({"domain": "ACCOUNT", "name": "operator", "password": "PW"})).unwrap();
        env.sim.set_user(user);
        let data = [("domainName", "ACCOUNT"), ("userName", "operator"), ("password", "PW")];
        env.secret("roma-credentials", &data).await;
        let auth = json!({"token": null, "password": {"secretRef": {"name": "roma-credentials"}}});
        env.instance("roma", json!({"auth": auth, "iamEndpoint": env.sim.url()})).await;
        (env, ids)
    }

    async fn bare_on(cluster: Arc<Cluster>, tasks: usize) -> (Self, Vec<String>) {
        let client = cluster.client().await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let new = Namespace {
            metadata: ObjectMeta { generate_name: Some("it-".into()), ..Default::default() },
            ..Default::default()
        };
        let namespace = namespaces.create(&PostParams::default(), &new).await.unwrap().metadata.name.unwrap();
        let sim = Simulator::start(Options::default()).await.unwrap();
        sim.set_token(TOKEN, Some(PROJECT), Duration::from_secs(24 * 3600));
        let service = sim.instance(PROJECT, INSTANCE);
        let ids = service.create_tasks(tasks);
        let revisions = Revisions::record(client.clone(), &namespace, service.clone());
        (Self { cluster, namespace, client, sim, service, revisions, newest: Mutex::default() }, ids)
    }

    pub fn groups(&self) -> Api<FdiTaskGroup> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn instances(&self) -> Api<FdiInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates or replaces a Secret.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let data: serde_json::Map<String, Value> = data.iter().map(|(k, v)| ((*k).into(), json!(v))).collect();
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let _ = api.delete(name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
    }

    /// Applies an `FdiInstance` that points at the simulator; `change` is merged into its spec.
    pub async fn instance(&self, name: &str, change: Value) {
        let mut spec = json!({
            "endpoint": self.sim.url(), "projectId": PROJECT, "instanceId": INSTANCE,
            "auth": {"token": {"secretRef": {"name": "roma-credentials"}}},
            "pollIntervalSeconds": 10,
            "rateLimit": {"requestsPerSecond": 100, "maxConcurrentCalls": 2},
        });
        merge(&mut spec, change);
        self.apply("FdiInstance", name, json!({"spec": spec})).await;
    }

    /// Applies a group of `roma`.
    pub async fn group(&self, name: &str, state: &str, ids: &[String]) {
        self.group_with(name, state, ids, json!({})).await;
    }

    /// The same with more in its spec.
    pub async fn group_with(&self, name: &str, state: &str, ids: &[String], change: Value) {
        let mut spec = json!({"instanceRef": {"name": "roma"}, "desiredState": state, "taskIds": ids});
        merge(&mut spec, change);
        self.apply("FdiTaskGroup", name, json!({"spec": spec})).await;
    }

    async fn apply(&self, kind: &str, name: &str, mut body: Value) {
        merge(
            &mut body,
            json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}),
        );
        let how = PatchParams::apply("tests").force();
        if kind == "FdiInstance" {
            self.instances().patch(name, &how, &Patch::Apply(body)).await.unwrap();
        } else {
            let group = self.groups().patch(name, &how, &Patch::Apply(body)).await.unwrap();
            self.remember(&group);
        }
    }

    fn remember(&self, group: &FdiTaskGroup) {
        let (uid, generation) = (group.metadata.uid.clone().unwrap(), group.metadata.generation.unwrap());
        self.newest.lock().unwrap().insert(group.name_any(), (uid, generation));
    }

    /// Merges into a group's spec.
    pub async fn edit(&self, name: &str, spec: Value) {
        let patch = json!({"spec": spec});
        let group = self.groups().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        self.remember(&group);
    }

    pub async fn delete_group(&self, name: &str) {
        self.groups().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn status(&self, name: &str) -> FdiTaskGroupStatus {
        self.groups().get(name).await.unwrap().status.map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// Waits until the `FdiInstance`'s Ready condition has this reason.
    pub async fn wait_instance(&self, name: &str, reason: &str) {
        let reported = async {
            loop {
                let status = self.instances().get(name).await.unwrap().status.unwrap_or_default();
                let ready = status.conditions.iter().find(|c| c.type_ == condition_types::READY);
                if ready.is_some_and(|c| c.reason == reason) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let in_time = tokio::time::timeout(TIMEOUT, reported).await.is_ok();
        assert!(in_time, "{name} did not report {reason}: {:#?}", self.instances().get(name).await.unwrap().status);
    }

    /// Waits until the group is gone.
    pub async fn wait_gone(&self, name: &str) {
        let gone = async {
            while self.groups().get_opt(name).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let in_time = tokio::time::timeout(TIMEOUT, gone).await.is_ok();
        assert!(in_time, "{name} is still there: {:#?}", self.groups().get(name).await.unwrap().status);
    }

    /// Waits until `found` accepts the call log.
    pub async fn wait_log(&self, what: &str, found: impl Fn(&[Entry]) -> bool) {
        let waited = self.sim.wait_for(TIMEOUT, |view| found(view.log()).then_some(())).await;
        assert!(waited.is_ok(), "the call log never showed {what}: {:#?}", self.service.batch_calls());
    }

    /// Actions and IDs of all batches so far.
    pub fn sent_batches(&self) -> Vec<(Action, Vec<String>)> {
        let ids = |entry: &Entry| entry.ids.iter().map(ToString::to_string).collect();
        self.service.batch_calls().iter().map(|entry| (entry.action.unwrap(), ids(entry))).collect()
    }

    /// Waits until the group fulfils the condition, or fails with its last status.
    pub async fn wait(&self, name: &str, what: &str, condition: impl Fn(&FdiTaskGroup) -> bool) -> FdiTaskGroup {
        let newest = self.newest.lock().unwrap().get(name).cloned();
        let is_current = |group: &FdiTaskGroup| {
            let generation = group.metadata.generation.unwrap_or_default();
            newest.as_ref().is_none_or(|(uid, least)| group.metadata.uid.as_ref() == Some(uid) && generation >= *least)
        };
        self.revisions.wait(name, what, TIMEOUT, |group| is_current(group) && condition(group)).await
    }

    /// Waits until the group's Ready condition has this reason in the current generation.
    pub async fn wait_reason(&self, name: &str, reason: &str) -> FdiTaskGroup {
        self.wait(name, reason, |group| ready_condition(group).is_some_and(|(_, current)| current == reason)).await
    }

    /// Waits until the group is Ready in its current generation.
    pub async fn wait_ready(&self, name: &str) -> FdiTaskGroup {
        self.wait(name, "Ready", is_ready).await
    }
}

/// Status and reason of the Ready condition, if it is of the current generation.
pub fn ready_condition(group: &FdiTaskGroup) -> Option<(ConditionStatus, String)> {
    let status = group.status.as_ref()?;
    let ready = status.conditions.iter().find(|c| c.type_ == condition_types::READY)?;
    let is_current = Some(ready.observed_generation) == group.metadata.generation
        && Some(status.observed_generation) == group.metadata.generation;
    is_current.then(|| (ready.status, ready.reason.to_string()))
}

/// Ready in the current generation.
pub fn is_ready(group: &FdiTaskGroup) -> bool {
    ready_condition(group).is_some_and(|(ready, _)| ready == ConditionStatus::True)
}

/// The condition of that type.
pub fn condition<'a>(group: &'a FdiTaskGroup, type_: &str) -> Option<&'a fdi_operator::crd::Condition> {
    group.status.as_ref()?.conditions.iter().find(|c| c.type_ == type_)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
