//! `deletionPolicy`: Orphan goes at once and never has a finalizer; Stop stops what it owns, waits, and never stays for ever.

use fdi_operator::crd::{FINALIZER, reasons};
use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Operator, Stage};

async fn ready_with_stop(stage: &Stage, name: &str, ids: &[String]) {
    stage.group_with(name, "Running", ids, json!({"deletionPolicy": "Stop"})).await;
    let held = |g: &fdi_operator::crd::FdiTaskGroup| g.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    stage.wait(name, "held", held).await;
    stage.wait_ready(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphan_goes_at_once_and_never_has_a_finalizer() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.delete_group("orders").await;
    assert!(stage.groups().get_opt("orders").await.unwrap().is_none());
    assert!(stage.revisions.of("orders").iter().all(|g| g.metadata.finalizers.is_none()));
    assert_eq!(stage.service.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_stops_what_it_owns_but_not_what_another_group_lists_and_shows_its_progress() {
    let (stage, ids) = Stage::new(3).await;
    stage.service.set_manners(&ids[0], [Manner::SettlesAfter { ms: 800 }]).unwrap();
    let _operator = Operator::start(&stage).await;
    ready_with_stop(&stage, "orders", &ids).await;
    stage.group("other", "Running", &ids[2..]).await;
    stage.delete_group("orders").await;
    let group = stage.wait_reason("orders", reasons::DELETING).await;
    assert!(crate::harness::condition(&group, "Ready").unwrap().message.contains("stopped"), "{group:?}");
    stage.wait_gone("orders").await;
    assert_eq!(stage.service.running(), [ids[2].clone()]);
    stage.wait_ready("other").await;
    assert!(stage.told().iter().filter(|(action, _)| *action == Action::Stop).all(|(_, told)| !told.contains(&ids[2])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_or_suspension_during_deletion_lets_go_at_once() {
    for change in [json!({"deletionPolicy": "Orphan"}), json!({"suspend": true})] {
        let (stage, ids) = Stage::new(1).await;
        stage.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        stage.service.set_running(&ids[0], true).unwrap();
        let _operator = Operator::start(&stage).await;
        ready_with_stop(&stage, "orders", &ids).await;
        stage.delete_group("orders").await;
        stage.wait_reason("orders", reasons::DELETING).await;
        stage.edit("orders", change).await;
        stage.wait_gone("orders").await;
        assert_eq!(stage.service.running().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_instance_lets_go_untouched() {
    let (stage, ids) = Stage::new(1).await;
    let _operator = Operator::start(&stage).await;
    ready_with_stop(&stage, "orders", &ids).await;
    stage.instance("roma", json!({"suspend": true})).await;
    stage.delete_group("orders").await;
    stage.wait_gone("orders").await;
    assert_eq!(stage.service.running().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_instance_or_secret_it_lets_go_after_a_while() {
    for gone in ["instance", "secret"] {
        let (stage, ids) = Stage::new(1).await;
        let _operator = Operator::start(&stage).await;
        ready_with_stop(&stage, "orders", &ids).await;
        stage.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        stage.delete_group("orders").await;
        stage.wait_reason("orders", reasons::DELETING).await;
        if gone == "instance" {
            stage.instances().delete("roma", &DeleteParams::default()).await.unwrap();
        } else {
            let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
            secrets.delete("roma-credentials", &DeleteParams::default()).await.unwrap();
        }
        stage.wait_gone("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_service_or_a_task_that_never_stops_is_given_up() {
    for dead in [true, false] {
        let (stage, ids) = Stage::new(1).await;
        let _operator = Operator::start(&stage).await;
        ready_with_stop(&stage, "orders", &ids).await;
        stage.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        stage.sim.refuse_connections(dead);
        stage.delete_group("orders").await;
        stage.wait_gone("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_namespace_that_ends_it_does_not_stay() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    ready_with_stop(&stage, "orders", &ids).await;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    // Nobody empties namespaces here; what is refused in a terminating one (new objects such as events) is.
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    stage.delete_group("orders").await;
    stage.wait_gone("orders").await;
    assert!(stage.service.running().is_empty());
}

/// A group whose stopped tasks somebody has started at the console.
async fn started_at_the_console(stage: &Stage, ids: &[String]) {
    stage.group_with("orders", "Stopped", ids, json!({"deletionPolicy": "Stop"})).await;
    stage.wait_ready("orders").await;
    for id in ids {
        stage.service.set_running(id, true).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_from_before_the_deletion_does_not_end_it_while_the_service_fails() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    started_at_the_console(&stage, &ids).await;
    let outage = stage.service.fault(Trigger::all(), Effect::html(502));
    stage.delete_group("orders").await;
    stage.wait_reason("orders", reasons::DELETING).await;
    stage.wait_log("two failed lists", |log| log.iter().filter(|entry| entry.status == Some(502)).count() >= 2).await;
    assert!(stage.groups().get_opt("orders").await.unwrap().is_some());
    stage.sim.clear_fault(outage);
    stage.wait_gone("orders").await;
    assert!(stage.service.running().is_empty(), "gone, and its tasks run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_the_tasks_does_not_end_a_deletion() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    started_at_the_console(&stage, &ids).await;
    stage.service.fault(Trigger::on(Operation::List).times(1), Effect::Omits { ids: vec![] });
    stage.delete_group("orders").await;
    stage.wait_gone("orders").await;
    assert!(stage.service.running().is_empty(), "gone, and its tasks run");
}
