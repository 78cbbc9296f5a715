//! A new version of the operator takes over while somebody keeps undoing its work.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{PATIENCE, get, wait};
use crate::install::{OVERLAY, PODS, apply_overlay, install, rolled_out};
use crate::orders::{Orders, condition};

/// One poll of the new pod at worst, and a busy machine.
const CORRECTED_WITHIN: Duration = Duration::from_secs(30);
const ROLLOUT: &str = "tests/e2e/manifests/next";

async fn images() -> Vec<String> {
    let pods = get(PODS).await;
    let pods = pods["items"].as_array().unwrap();
    pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rollout_misses_no_correction() {
    install(OVERLAY).await;
    // A task for each correction: nobody is to look like one who fights the operator.
    let orders = Orders::new("rollout", 40).await;
    let group = orders.group("nightly", "Running", &orders.tasks).await;
    group.wait_ready().await;
    let mut untouched = orders.tasks.iter();
    apply_overlay(ROLLOUT).await;
    // Until the new version is alone, and once after: before, between and after the hand-over.
    loop {
        let alone = images().await.iter().all(|image| image.ends_with(":e2e-next"));
        let Some(task) = untouched.next() else { break };
        orders.simulator.switch(task, false).await;
        let runs = async || orders.simulator.running().await.contains(task);
        wait(&format!("{task} was stopped and runs again"), CORRECTED_WITHIN, runs, |runs| *runs).await;
        if alone {
            break;
        }
    }
    rolled_out().await;
    assert_eq!(images().await, ["fdi-operator.test/fdi-operator:e2e-next"]);
    group.wait_ready().await;
    let object = group.object().await;
    assert_eq!(condition(&object, "Stalled"), json!(null), "{object}");
    wait("all run", PATIENCE, async || orders.simulator.running().await.len(), |running| *running == 40).await;
    orders.end().await;
}
