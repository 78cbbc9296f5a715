//! The tenant whose edits are timed.

use std::time::Duration;

use fdi_operator::crd::{FdiInstance, FdiTaskGroup};
use fdi_simulator::NewTasks;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::time::Instant;

use crate::edit::{LONGEST, edit};
use crate::support::{Environment, PROJECT, is_ready, object};

/// As many as keep any of them from an exhausted rate limit.
const INSTANCES: usize = 20;
const TASKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

fn instance_id(instance: usize) -> String {
    format!("quiet-{instance}")
}

/// Creates instances with a group each, and waits until all are Ready.
pub async fn create(env: &Environment) {
    let instances: Api<FdiInstance> = Api::default_namespaced(env.client.clone());
    let groups: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    for instance in 0..INSTANCES {
        let (name, id) = (format!("i{instance}"), instance_id(instance));
        let ids: Vec<String> = (0..TASKS).map(|task| format!("quiet-{instance}-{task}")).collect();
        env.sim.instance(PROJECT, &id).create(&NewTasks { ids: ids.clone(), ..NewTasks::default() });
        let spec = json!({
            "endpoint": env.sim.url(), "projectId": PROJECT, "instanceId": id,
            "auth": {"token": {"secretRef": {"name": "token"}}},
        });
        instances.create(&PostParams::default(), &object("FdiInstance", &name, &spec)).await.unwrap();
        let spec = json!({"instanceRef": {"name": name}, "desiredState": "Running", "taskIds": ids});
        let group = format!("g{instance}");
        groups.create(&PostParams::default(), &object("FdiTaskGroup", &group, &spec)).await.unwrap();
        while !is_ready(&groups.get(&group).await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Milliseconds from sending each edit.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Until the API server answered it.
    pub answers: Vec<f64>,
    /// Until the service received its call.
    pub calls: Vec<f64>,
}

/// Edits for so long.
pub async fn edits(env: &Environment, span: Duration) -> Latencies {
    let groups: Api<FdiTaskGroup> = Api::default_namespaced(env.client.clone());
    let (began, mut times) = (Instant::now(), Latencies::default());
    for instance in (0..INSTANCES).cycle() {
        if began.elapsed() >= span {
            break;
        }
        let edited = edit(env, &groups, &format!("g{instance}"), &instance_id(instance)).await;
        let milliseconds = |until: Instant| (until - edited.sent).as_secs_f64() * 1000.0;
        times.answers.push(milliseconds(edited.answered));
        times.calls.push(milliseconds(edited.called.unwrap_or_else(|| edited.sent + LONGEST)));
        tokio::time::sleep(PAUSE).await;
    }
    times
}
