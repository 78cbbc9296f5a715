//! What one task, one instance or one tenant has wrong is theirs alone.

use fdi_operator::crd::reasons;
use fdi_simulator::{AccessKey, Effect, Filter, InstanceHandle, Operation, Trigger};
use serde_json::json;

use crate::harness::{INSTANCE, Operator, PROJECT, SOON, Stage};

const KEY: &str = "AKIDEXAMPLEROMA00001";

/// An instance of the service beside the stage's own one, and its `FdiInstance` with an access key.
async fn with_key(stage: &Stage, name: &str, instance: &str, secret: &str) -> InstanceHandle {
    stage
        .instance(
            name,
            json!({"instanceId": instance, "auth": {"token": null, "accessKey": {"secretRef": {"name": secret}}}}),
        )
        .await;
    stage.sim.instance(PROJECT, instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_an_unreadable_entry_is_pending_by_name_and_spoils_no_other() {
    let (stage, ids) = Stage::new(4).await;
    let faults = [
        Effect::entry_field(&ids[3], "status", 2),
        Effect::entry_field(&ids[3], "status", json!(null)),
        Effect::entry_field(&ids[3], "status", "STARTING"),
        Effect::entry_repeats(&ids[3], "status", 2),
    ];
    let _operator = Operator::start(&stage).await;
    for (number, effect) in faults.into_iter().enumerate() {
        let fault = stage.service.fault(Trigger::on(Operation::List), effect.clone());
        let wanted = if number % 2 == 0 { "Running" } else { "Stopped" };
        stage.group("orders", wanted, &ids[..3]).await;
        stage.group("odd", wanted, &ids[3..]).await;
        stage.wait_ready("orders").await;
        let odd = stage.wait_reason("odd", reasons::PROGRESSING).await;
        let message = crate::harness::condition(&odd, "Ready").unwrap().message.clone();
        assert!(message.contains(&ids[3]) && message.contains("status"), "{effect:?}: {message}");
        let named = |call: &fdi_simulator::Entry| call.ids.iter().any(|id| **id == *ids[3]);
        assert!(!stage.service.batch_calls().iter().any(named), "{effect:?}: nothing is sent for it");
        stage.delete_group("odd").await;
        stage.wait_gone("odd").await;
        stage.sim.clear_fault(fault);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_no_text_are_no_matter() {
    let (stage, ids) = Stage::new(2).await;
    for effect in [
        Effect::name_not_utf8(&ids[1]),
        Effect::entry_raw(&ids[1], "task_name", br#""\ud83d""#),
        Effect::entry_repeats(&ids[1], "task_name", "another"),
    ] {
        stage.service.fault(Trigger::on(Operation::List), effect);
    }
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert_eq!(stage.told().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_refuses_a_shared_key_does_not_take_it_from_another() {
    let (stage, ids) = Stage::bare(3).await;
    stage.sim.set_key(KEY, AccessKey::new("right"));
    stage.secret("key", &[("accessKey", KEY), ("secretKey", "right")]).await;
    with_key(&stage, "roma", INSTANCE, "key").await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    let refuses = with_key(&stage, "other", "other-instance", "key").await;
    refuses.accept_only_keys(&["AKIDSOMEBODYELSE0001"]);
    stage.group_with("theirs", "Running", &["t1".to_owned()], json!({"instanceRef": {"name": "other"}})).await;
    stage.wait_instance("other", reasons::SIGN_IN_REFUSED).await;
    stage.service.set_running(&ids[0], false).unwrap();
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_for_somebodys_key_do_not_lock_it() {
    let (stage, ids) = Stage::bare(3).await;
    stage.sim.set_key(KEY, AccessKey::new("right"));
    stage.secret("key", &[("accessKey", KEY), ("secretKey", "right")]).await;
    with_key(&stage, "roma", INSTANCE, "key").await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    for name in ["wrong-1", "wrong-2", "wrong-3"] {
        stage.secret(name, &[("accessKey", KEY), ("secretKey", name)]).await;
        with_key(&stage, name, name, name).await;
        let group = json!({"instanceRef": {"name": name}});
        stage.group_with(name, "Running", &["t1".to_owned()], group).await;
    }
    for name in ["wrong-1", "wrong-2", "wrong-3"] {
        stage.wait_instance(name, reasons::SIGN_IN_REFUSED).await;
    }
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage.wait_ready("orders").await;
    assert_eq!(stage.sim.counts(&Filter::default()).sign_ins_refused, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_million_tasks_says_that_its_list_is_too_large() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.fault(Trigger::on(Operation::List), Effect::Crowd { tasks: 1_000_000 });
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_instance("roma", reasons::LIST_TOO_LARGE).await;
    assert!(stage.told().is_empty());
}
