//! From the definitions of the previous release to today's and back, with objects that stay.

use serde_json::{Value, json};

use crate::cluster::{PATIENCE, file, get, kubectl, wait};
use crate::install::{OVERLAY, install};
use crate::orders::Orders;
use crate::removal::uninstall;

const PREVIOUS: &str = "tests/e2e/previous-crds";

async fn apply_definitions(path: &str) {
    kubectl(&format!("apply --server-side --force-conflicts --filename={}", file(path).display())).await;
    kubectl("wait --for=condition=Established --timeout=30s crd/fdiinstances.fdi.romaconnect.dev crd/fditaskgroups.fdi.romaconnect.dev")
        .await;
}

/// Waits until the instance's `status.tasks.managed` is this: a field that the previous definitions
/// lack, and to be changed with them.
async fn wait_managed(wanted: &Value) {
    let instance = "fdiinstance/roma --namespace=upgrade";
    let managed = async || get(instance).await["status"]["tasks"]["managed"].clone();
    wait(&format!("tasks.managed of {instance} is {wanted}"), PATIENCE, managed, |managed| managed == wanted).await;
}

#[tokio::test]
async fn objects_outlive_the_way_to_new_definitions_and_back() {
    uninstall().await;
    apply_definitions(PREVIOUS).await;
    let orders = Orders::new("upgrade", 4).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    let made = group.object().await;

    install(OVERLAY).await;
    group.wait_ready().await;
    let upgraded = group.object().await;
    wait_managed(&json!(4)).await;

    apply_definitions(PREVIOUS).await;
    wait_managed(&Value::Null).await;
    orders.simulator.switch(&orders.tasks[1], false).await;
    orders.simulator.wait_running("the correction is made with the previous definitions too", 4).await;
    let back = group.object().await;
    assert_eq!((&made["spec"], &made["metadata"]["uid"]), (&upgraded["spec"], &upgraded["metadata"]["uid"]));
    assert_eq!((&made["spec"], &made["metadata"]["uid"]), (&back["spec"], &back["metadata"]["uid"]));
    let edited = orders.group("nightly", "Stopped", &orders.tasks).await;
    edited.wait_ready().await;
    assert!(orders.simulator.running().await.is_empty());
    orders.end().await;
}
