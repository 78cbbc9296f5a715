//! Pods come and go; corrections do not stop.

use serde_json::json;

use crate::cluster::{PATIENCE, get, kubectl, try_kubectl, wait};
use crate::install::{OVERLAY, PODS, install, names, rolled_out};
use crate::orders::Orders;

async fn pods() -> Vec<String> {
    names(&get(PODS).await)
}

/// The name of the pod that holds the Lease; empty when none does.
async fn leader() -> String {
    let args = "get lease/fdi-operator --namespace=fdi-system --output=jsonpath={.spec.holderIdentity}";
    let holder = try_kubectl(args, "").await.unwrap_or_default();
    // Behind the pod's name is what tells its processes apart.
    holder.split('_').next().unwrap_or_default().to_owned()
}

async fn wait_leader_other_than(old: &str) {
    let others = async || (leader().await, pods().await);
    let led = |(leader, pods): &(String, Vec<String>)| leader != old && pods.contains(leader);
    wait(&format!("a pod other than {old} leads"), PATIENCE, others, led).await;
}

async fn a_correction_is_made(orders: &Orders) {
    orders.simulator.switch(&orders.tasks[0], false).await;
    orders.simulator.wait_running("what was stopped runs again", orders.tasks.len()).await;
}

/// The pod is gone from the API server at once. kubelet still lets the process end by itself for
/// about two seconds.
async fn kill(pod: &str) {
    kubectl(&format!("delete pod/{pod} --namespace=fdi-system --grace-period=0 --force --wait=false")).await;
}

#[tokio::test]
async fn a_pod_that_is_killed_is_replaced_and_the_next_one_goes_on() {
    install(OVERLAY).await;
    let orders = Orders::new("killed", 3).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    let old = leader().await;
    kill(&old).await;
    a_correction_is_made(&orders).await;
    wait_leader_other_than(&old).await;
    group.wait_ready().await;
    orders.end().await;
}

#[tokio::test]
async fn a_pod_that_is_evicted_gives_its_work_over() {
    install(OVERLAY).await;
    let orders = Orders::new("evicted", 3).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    let old = leader().await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": old, "namespace": "fdi-system"}});
    let path = format!("create --raw=/api/v1/namespaces/fdi-system/pods/{old}/eviction --filename=-");
    try_kubectl(&path, &eviction.to_string()).await.unwrap();
    wait_leader_other_than(&old).await;
    a_correction_is_made(&orders).await;
    group.wait_ready().await;
    orders.end().await;
}

#[tokio::test]
async fn another_replica_takes_over_when_the_leader_is_killed() {
    install(OVERLAY).await;
    kubectl("scale deployment/fdi-operator --namespace=fdi-system --replicas=2").await;
    rolled_out().await;
    let orders = Orders::new("leader", 3).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    let (old, both) = (leader().await, pods().await);
    assert!(both.len() == 2 && both.contains(&old), "{old} leads {both:?}");
    kill(&old).await;
    // Usually the follower; the replacement tries for the Lease too, and both are right.
    wait_leader_other_than(&old).await;
    a_correction_is_made(&orders).await;
    group.wait_ready().await;
    kubectl("scale deployment/fdi-operator --namespace=fdi-system --replicas=1").await;
    orders.end().await;
}
