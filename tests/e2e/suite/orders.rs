//! A namespace of a test's own, restricted, with an `FdiInstance` that signs in to the simulator.

use serde_json::{Value, json};

use crate::cluster::{PATIENCE, apply, get, kubectl, wait, wait_gone};
use crate::simulator::{PROJECT, Simulator, TOKEN};

/// The shortest that the definition allows; what somebody undoes is seen so late at most.
const POLL_SECONDS: u64 = 10;

pub struct Orders {
    pub namespace: String,
    pub tasks: Vec<String>,
    pub simulator: Simulator,
}

pub struct Group {
    name: String,
    namespace: String,
}

impl Orders {
    /// With so many stopped tasks.
    pub async fn new(namespace: &str, tasks: usize) -> Self {
        // What an earlier run left, on a cluster that stayed.
        kubectl(&format!("delete namespace {namespace} --ignore-not-found --timeout={}s", PATIENCE.as_secs())).await;
        let simulator = Simulator::instance_for(namespace).await;
        let tasks: Vec<String> = (0..tasks).map(|number| format!("{namespace}-{number}")).collect();
        if !tasks.is_empty() {
            simulator.create(json!(tasks)).await;
        }
        let orders = Self { namespace: namespace.to_owned(), tasks, simulator };
        apply(&json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}))
        .await;
        if !orders.tasks.is_empty() {
            orders.sign_in().await;
        }
        orders
    }

    async fn sign_in(&self) {
        let metadata = |name: &str| json!({"name": name, "namespace": self.namespace});
        apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("token"), "stringData": {"token": TOKEN}},
            {"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiInstance", "metadata": metadata("roma"), "spec": {
                "endpoint": self.simulator.endpoint(),
                "projectId": PROJECT, "instanceId": self.simulator.instance(),
                "pollIntervalSeconds": POLL_SECONDS, "auth": {"token": {"secretRef": {"name": "token"}}}}},
        ]}))
        .await;
    }

    pub async fn group(&self, name: &str, desired: &str, tasks: &[String]) -> Group {
        self.group_with(name, json!({"desiredState": desired, "taskIds": tasks})).await
    }

    pub async fn group_with(&self, name: &str, mut spec: Value) -> Group {
        spec["instanceRef"] = json!({"name": "roma"});
        apply(&json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec}))
        .await;
        Group { name: name.to_owned(), namespace: self.namespace.clone() }
    }

    /// Removes the namespace, so that the operator has nothing of this test left to do.
    pub async fn end(self) {
        kubectl(&format!("delete namespace {} --wait=false", self.namespace)).await;
        wait_gone(&format!("namespace/{}", self.namespace)).await;
    }
}

impl Group {
    pub fn kubectl_name(&self) -> String {
        format!("fditaskgroup/{} --namespace={}", self.name, self.namespace)
    }

    pub async fn object(&self) -> Value {
        get(&self.kubectl_name()).await
    }

    /// Waits until the group as it is now says `Ready`, by what its status says of this generation.
    pub async fn wait_ready(&self) {
        self.wait("it is Ready", |object| condition(object, "Ready")["status"] == "True").await;
    }

    pub async fn wait(&self, wish: &str, right: impl Fn(&Value) -> bool) -> Value {
        let wish = format!("{}: {wish}", self.kubectl_name());
        let right = |object: &Value| {
            object["status"]["observedGeneration"] == object["metadata"]["generation"] && right(object)
        };
        wait(&wish, PATIENCE, async || self.object().await, right).await
    }
}

/// The condition of this type, or null.
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|one| one["type"] == kind)).cloned().unwrap_or_default()
}
