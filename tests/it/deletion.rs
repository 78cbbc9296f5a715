//! `deletionPolicy`: with Orphan a group goes at once and never has a finalizer; with Stop it stops
//! the tasks it owns first, and never stays forever.

use fdi_operator::crd::{FINALIZER, reasons};
use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Operator, TestEnv};

async fn ready_with_stop(env: &TestEnv, name: &str, ids: &[String]) {
    env.group_with(name, "Running", ids, json!({"deletionPolicy": "Stop"})).await;
    let held = |g: &fdi_operator::crd::FdiTaskGroup| g.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    env.wait(name, "held", held).await;
    env.wait_ready(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_orphan_goes_at_once_and_never_has_a_finalizer() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.delete_group("orders").await;
    assert!(env.groups().get_opt("orders").await.unwrap().is_none());
    assert!(env.revisions.of("orders").iter().all(|g| g.metadata.finalizers.is_none()));
    assert_eq!(env.service.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_shows_progress_and_stops_its_tasks_except_those_that_another_group_lists() {
    let (env, ids) = TestEnv::new(3).await;
    env.service.set_manners(&ids[0], [Manner::SettlesAfter { ms: 800 }]).unwrap();
    let _operator = Operator::start(&env).await;
    ready_with_stop(&env, "orders", &ids).await;
    env.group("other", "Running", &ids[2..]).await;
    env.delete_group("orders").await;
    let group = env.wait_reason("orders", reasons::DELETING).await;
    assert!(crate::harness::condition(&group, "Ready").unwrap().message.contains("stopped"), "{group:?}");
    env.wait_gone("orders").await;
    assert_eq!(env.service.running(), [ids[2].clone()]);
    env.wait_ready("other").await;
    assert!(
        env.sent_batches()
            .iter()
            .filter(|(action, _)| *action == Action::Stop)
            .all(|(_, stopped)| !stopped.contains(&ids[2]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_or_suspension_during_deletion_removes_the_finalizer_at_once() {
    for change in [json!({"deletionPolicy": "Orphan"}), json!({"suspend": true})] {
        let (env, ids) = TestEnv::new(1).await;
        env.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        env.service.set_running(&ids[0], true).unwrap();
        let _operator = Operator::start(&env).await;
        ready_with_stop(&env, "orders", &ids).await;
        env.delete_group("orders").await;
        env.wait_reason("orders", reasons::DELETING).await;
        env.edit("orders", change).await;
        env.wait_gone("orders").await;
        assert_eq!(env.service.running().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_suspended_instance_the_group_goes_and_its_tasks_stay_untouched() {
    let (env, ids) = TestEnv::new(1).await;
    let _operator = Operator::start(&env).await;
    ready_with_stop(&env, "orders", &ids).await;
    env.instance("roma", json!({"suspend": true})).await;
    env.delete_group("orders").await;
    env.wait_gone("orders").await;
    assert_eq!(env.service.running().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_instance_or_secret_the_finalizer_is_removed_after_the_timeout() {
    for gone in ["instance", "secret"] {
        let (env, ids) = TestEnv::new(1).await;
        let _operator = Operator::start(&env).await;
        ready_with_stop(&env, "orders", &ids).await;
        env.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        env.delete_group("orders").await;
        env.wait_reason("orders", reasons::DELETING).await;
        if gone == "instance" {
            env.instances().delete("roma", &DeleteParams::default()).await.unwrap();
        } else {
            let secrets: Api<Secret> = Api::namespaced(env.client.clone(), &env.namespace);
            secrets.delete("roma-credentials", &DeleteParams::default()).await.unwrap();
        }
        env.wait_gone("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_dead_service_or_a_task_that_never_stops_the_deletion_is_given_up() {
    for dead in [true, false] {
        let (env, ids) = TestEnv::new(1).await;
        let _operator = Operator::start(&env).await;
        ready_with_stop(&env, "orders", &ids).await;
        env.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
        env.sim.refuse_connections(dead);
        env.delete_group("orders").await;
        env.wait_gone("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_terminating_namespace_the_group_does_not_stay() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    ready_with_stop(&env, "orders", &ids).await;
    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    // No controller empties namespaces here, but the API server rejects new objects, such as
    // events, in a terminating one.
    namespaces.delete(&env.namespace, &DeleteParams::default()).await.unwrap();
    env.delete_group("orders").await;
    env.wait_gone("orders").await;
    assert!(env.service.running().is_empty());
}

/// A group whose stopped tasks somebody has started at the console.
async fn group_with_tasks_started_at_the_console(env: &TestEnv, ids: &[String]) {
    env.group_with("orders", "Stopped", ids, json!({"deletionPolicy": "Stop"})).await;
    env.wait_ready("orders").await;
    for id in ids {
        env.service.set_running(id, true).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_from_before_the_deletion_does_not_end_it_while_the_service_fails() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    group_with_tasks_started_at_the_console(&env, &ids).await;
    let outage = env.service.fault(Trigger::all(), Effect::html(502));
    env.delete_group("orders").await;
    env.wait_reason("orders", reasons::DELETING).await;
    env.wait_log("two failed lists", |log| log.iter().filter(|entry| entry.status == Some(502)).count() >= 2).await;
    assert!(env.groups().get_opt("orders").await.unwrap().is_some());
    env.sim.clear_fault(outage);
    env.wait_gone("orders").await;
    assert!(env.service.running().is_empty(), "deleted, and its tasks still run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_the_tasks_does_not_end_a_deletion() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    group_with_tasks_started_at_the_console(&env, &ids).await;
    env.service.fault(Trigger::on(Operation::List).times(1), Effect::Omits { ids: vec![] });
    env.delete_group("orders").await;
    env.wait_gone("orders").await;
    assert!(env.service.running().is_empty(), "deleted, and its tasks still run");
}
