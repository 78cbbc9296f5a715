//! What becomes of the tasks of a group that goes.

use std::time::Duration;

use fdi_operator::cli::cleanup::cleanup;
use fdi_operator::crd::{FINALIZER, reasons};
use fdi_simulator::{Effect, Manner, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, SOON, Stage};

async fn gone(stage: &Stage, name: &str, within: Duration) {
    let gone = async {
        while stage.groups().get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(within, gone).await.unwrap_or_else(|_| panic!("{name} is still there after {within:?}"));
}

async fn stopping(tasks: usize) -> (Stage, Vec<String>, Operator) {
    let (stage, ids) = Stage::new(tasks).await;
    let operator = Operator::start(&stage).await;
    stage.group_with("orders", "Running", &ids, json!({"deletionPolicy": "Stop"})).await;
    let group = stage.wait_ready("orders").await;
    assert_eq!(group.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
    (stage, ids, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaning_group_never_has_a_finalizer_and_leaves_its_tasks() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert!(stage.revisions.of("orders").iter().all(|group| group.metadata.finalizers.is_none()));
    stage.delete_group("orders").await;
    assert!(stage.groups().get_opt("orders").await.unwrap().is_none());
    assert_eq!(stage.service.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_stops_what_it_owns_shows_progress_and_then_goes() {
    let (stage, ids, _operator) = stopping(3).await;
    stage.group("other", "Running", &ids[..1]).await;
    stage.wait_reason("other", reasons::TASKS_CONFLICT).await;
    stage.service.set_manners(&ids[2], [Manner::SettlesAfter { ms: 600 }]).unwrap();
    stage.delete_group("orders").await;
    stage.wait_reason("orders", reasons::DELETING).await;
    gone(&stage, "orders", SOON).await;
    assert_eq!(stage.service.running(), ids[..1], "the other group keeps its task running");
    stage.wait_ready("other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_or_orphaned_during_deletion_it_goes_at_once() {
    for change in [json!({"suspend": true}), json!({"deletionPolicy": "Orphan"})] {
        let (stage, _, operator) = stopping(1).await;
        stage.service.fault(Trigger::on(Operation::Batch), Effect::html(502));
        stage.delete_group("orders").await;
        stage.wait_reason("orders", reasons::DELETING).await;
        stage.edit("orders", change).await;
        gone(&stage, "orders", Duration::from_secs(5)).await;
        assert_eq!(stage.service.running().len(), 1);
        operator.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_instance_or_service_it_is_given_up_and_never_stuck() {
    let (stage, _, operator) = stopping(1).await;
    stage.instances().delete("roma", &kube::api::DeleteParams::default()).await.unwrap();
    stage.delete_group("orders").await;
    gone(&stage, "orders", SOON).await;
    operator.end().await;
    let (stage, _, _operator) = stopping(1).await;
    stage.sim.refuse_connections(true);
    stage.delete_group("orders").await;
    gone(&stage, "orders", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_frees_groups_whose_operator_is_gone_and_changes_nothing_unless_told_to() {
    let (stage, _, operator) = stopping(1).await;
    operator.end().await;
    stage.delete_group("orders").await;
    let here = [stage.namespace.clone()];
    let mut said = Vec::new();
    cleanup(&stage.client, &here, false, |line| said.push(line)).await.unwrap();
    assert!(said[0].ends_with("/orders: its finalizer would be removed"), "{said:?}");
    assert!(stage.groups().get_opt("orders").await.unwrap().is_some());
    said.clear();
    cleanup(&stage.client, &here, true, |line| said.push(line)).await.unwrap();
    assert!(said[0].ends_with("/orders: finalizer removed, its tasks were left as they are"), "{said:?}");
    gone(&stage, "orders", SOON).await;
    assert_eq!(stage.service.running().len(), 1);
}
