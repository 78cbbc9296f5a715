//! Groups, namespaces and the whole operator go, and nothing stays.

use serde_json::json;

use crate::cluster::{PATIENCE, file, kubectl, try_kubectl, wait_gone};
use crate::install::{OVERLAY, install};
use crate::orders::Orders;

/// Removes the operator and the definitions, if they are there.
pub async fn uninstall() {
    let timeout = format!("--ignore-not-found --timeout={}s", PATIENCE.as_secs());
    kubectl(&format!("delete --kustomize={} {timeout}", file(OVERLAY).display())).await;
}

#[tokio::test]
async fn a_namespace_whose_groups_stop_their_tasks_ends() {
    install(OVERLAY).await;
    let orders = Orders::new("ending", 12).await;
    let spec = json!({"desiredState": "Running", "taskIds": orders.tasks, "deletionPolicy": "Stop"});
    orders.group_with("nightly", spec).await.wait_ready().await;
    kubectl("delete namespace ending --wait=false").await;
    wait_gone("namespace/ending").await;
    // Kubernetes deletes all objects of a namespace at once: without instance or Secret nobody can
    // stop tasks, so the group lets go of them.
}

#[tokio::test]
async fn a_deleted_group_stops_its_tasks_first() {
    install(OVERLAY).await;
    let orders = Orders::new("stopping", 12).await;
    let spec = json!({"desiredState": "Running", "taskIds": orders.tasks, "deletionPolicy": "Stop"});
    let group = orders.group_with("nightly", spec).await;
    group.wait_ready().await;
    kubectl(&format!("delete {} --timeout={}s", group.kubectl_name(), PATIENCE.as_secs())).await;
    assert!(orders.simulator.running().await.is_empty());
    orders.end().await;
}

#[tokio::test]
async fn uninstalling_leaves_nothing() {
    install(OVERLAY).await;
    let orders = Orders::new("uninstall", 3).await;
    let spec = json!({"desiredState": "Running", "taskIds": orders.tasks, "deletionPolicy": "Stop"});
    orders.group_with("nightly", spec).await.wait_ready().await;
    // The order of docs/install.md: objects, then what looks after them.
    kubectl(&format!("delete fditaskgroups,fdiinstances --all --all-namespaces --timeout={}s", PATIENCE.as_secs()))
        .await;
    uninstall().await;

    let kinds = kubectl("api-resources --verbs=list --output=name").await;
    assert!(!kinds.contains("romaconnect"), "{kinds}");
    for kind in kinds.lines().filter(|kind| *kind != "events" && *kind != "events.events.k8s.io") {
        let all = format!("get {kind} --all-namespaces --output=name --selector=app.kubernetes.io/name=fdi-operator");
        let left = try_kubectl(&all, "").await.unwrap_or_default();
        assert_eq!(left, "", "of {kind}");
    }
    wait_gone("namespace/fdi-system").await;
    orders.end().await;
}
