//! Installing the operator, and what an installation is.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cluster::{PATIENCE, apply, file, get, kubectl, try_kubectl, wait};
use crate::orders::Orders;
use crate::simulator::{self, PROJECT};

/// The overlay that the tests install.
pub const OVERLAY: &str = "deploy/overlays/e2e";
pub const PODS: &str = "pods --namespace=fdi-system --selector=app.kubernetes.io/name=fdi-operator";

/// What an overlay says, with the simulator's address in the place of the example.
pub async fn render(overlay: &str) -> String {
    let shipped = kubectl(&format!("kustomize {}", file(overlay).display())).await;
    assert!(shipped.contains(EXAMPLE), "{overlay} allows no {EXAMPLE}");
    shipped.replace(EXAMPLE, &simulator::endpoint().await)
}

const EXAMPLE: &str = "http://192.0.2.1:6443";

/// Applies an overlay.
pub async fn apply_overlay(overlay: &str) {
    let args = "apply --server-side --force-conflicts --filename=-";
    try_kubectl(args, &render(overlay).await).await.unwrap_or_else(|told| panic!("{overlay}: {told}"));
}

/// Applies an overlay and waits until its pods are the only ones.
pub async fn install(overlay: &str) {
    apply_overlay(overlay).await;
    rolled_out().await;
}

pub async fn rolled_out() {
    let wait_for = format!("--timeout={}s", PATIENCE.as_secs());
    kubectl(&format!("rollout status deployment/fdi-operator --namespace=fdi-system {wait_for}")).await;
    let running = async || names(&get(PODS).await).len();
    let replicas = get("deployment/fdi-operator --namespace=fdi-system").await["spec"]["replicas"].clone();
    wait("pods of the last rollout are gone", PATIENCE, running, |running| json!(running) == replicas).await;
}

pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_group_is_ready_soon_after_the_installation() {
    install(OVERLAY).await;
    let orders = Orders::new("installed", 25).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    assert_eq!(orders.simulator.running().await.len(), 25);
    let shown = kubectl("get fditaskgroups --namespace=installed --no-headers").await;
    assert!(shown.contains("Running") && shown.contains("25/25"), "{shown}");
    orders.end().await;
}

#[tokio::test]
async fn the_samples_become_ready() {
    let began = Instant::now();
    apply_overlay(OVERLAY).await;
    println!("the installation was applied in {:.1} s", began.elapsed().as_secs_f64());
    rolled_out().await;
    println!("the operator was rolled out after {:.1} s", began.elapsed().as_secs_f64());
    let orders = Orders::new("orders", 0).await;
    let samples = kubectl(&format!("kustomize {}", file("deploy/samples").display())).await;
    let samples = try_kubectl("create --dry-run=client --output=json --filename=-", &samples).await.unwrap();
    let mut samples: Value = serde_json::from_str(&as_list(&samples)).unwrap();
    for sample in samples["items"].as_array_mut().unwrap() {
        match sample["kind"].as_str() {
            // The simulator is no host of Huawei Cloud, which is all that differs.
            Some("FdiInstance") => {
                sample["spec"].as_object_mut().unwrap().remove("region");
                sample["spec"]["endpoint"] = json!(orders.simulator.endpoint());
                sample["spec"]["projectId"] = json!(PROJECT);
                sample["spec"]["instanceId"] = json!(orders.simulator.instance());
            }
            Some("FdiTaskGroup") => orders.simulator.create(sample["spec"]["taskIds"].clone()).await,
            Some("Secret") => {
                orders.simulator.accept_key("REPLACE-WITH-THE-ACCESS-KEY", "REPLACE-WITH-THE-SECRET-KEY").await;
            }
            other => panic!("a sample of kind {other:?}"),
        }
    }
    let began = Instant::now();
    apply(&samples).await;
    kubectl(&format!(
        "wait fditaskgroups --all --namespace=orders --for=condition=Ready --timeout={}s",
        PATIENCE.as_secs()
    ))
    .await;
    println!("the samples were Ready {:.1} s after they were applied", began.elapsed().as_secs_f64());
    orders.end().await;
}

/// kubectl prints several objects one after the other.
fn as_list(objects: &str) -> String {
    let items: Vec<Value> = serde_json::Deserializer::from_str(objects).into_iter().map(Result::unwrap).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[tokio::test]
async fn applying_the_installation_again_changes_nothing() {
    install(OVERLAY).await;
    // A difference is a failure of this command, and its words.
    let told = try_kubectl("diff --server-side --force-conflicts --filename=-", &render(OVERLAY).await).await;
    assert_eq!(told, Ok(String::new()));
}

#[tokio::test]
async fn the_operators_namespace_refuses_a_pod_that_is_not_restricted() {
    install(OVERLAY).await;
    let told = try_kubectl("run loose --image=loose --namespace=fdi-system --dry-run=server", "").await.unwrap_err();
    assert!(told.contains(r#"violates PodSecurity "restricted"#), "{told}");
}
