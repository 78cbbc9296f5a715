//! A fault of one task, one instance or one tenant affects no other.

use fdi_operator::crd::reasons;
use fdi_simulator::{AccessKey, Effect, Filter, InstanceHandle, Operation, Trigger};
use serde_json::json;

use crate::harness::{INSTANCE, Operator, PROJECT, TIMEOUT, TestEnv};

const KEY: &str = "AKIDEXAMPLEROMA00001";

/// Another instance of the service, and its `FdiInstance` with an access key.
async fn with_key(env: &TestEnv, name: &str, instance: &str, secret: &str) -> InstanceHandle {
    let auth = json!({"token": null, "accessKey": {"secretRef": {"name": secret}}});
    env.instance(name, json!({"instanceId": instance, "auth": auth})).await;
    env.sim.instance(PROJECT, instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_malformed_entry_is_pending_by_name_and_affects_no_other() {
    let (env, ids) = TestEnv::new(4).await;
    let faults = [
        Effect::entry_field(&ids[3], "status", 2),
        Effect::entry_field(&ids[3], "status", json!(null)),
        Effect::entry_field(&ids[3], "status", "STARTING"),
        Effect::entry_repeats(&ids[3], "status", 2),
    ];
    let _operator = Operator::start(&env).await;
    for (number, effect) in faults.into_iter().enumerate() {
        let fault = env.service.fault(Trigger::on(Operation::List), effect.clone());
        let state = if number % 2 == 0 { "Running" } else { "Stopped" };
        env.group("orders", state, &ids[..3]).await;
        env.group("odd", state, &ids[3..]).await;
        env.wait_ready("orders").await;
        let odd = env.wait_reason("odd", reasons::PROGRESSING).await;
        let message = crate::harness::condition(&odd, "Ready").unwrap().message.clone();
        assert!(message.contains(&ids[3]) && message.contains("status"), "{effect:?}: {message}");
        let names_it = |call: &fdi_simulator::Entry| call.ids.iter().any(|id| **id == *ids[3]);
        assert!(!env.service.batch_calls().iter().any(names_it), "{effect:?}: nothing is sent for it");
        env.delete_group("odd").await;
        env.wait_gone("odd").await;
        env.sim.clear_fault(fault);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn task_names_that_are_not_valid_text_cause_no_failure() {
    let (env, ids) = TestEnv::new(2).await;
    for effect in [
        Effect::name_not_utf8(&ids[1]),
        Effect::entry_raw(&ids[1], "task_name", br#""\ud83d""#),
        Effect::entry_repeats(&ids[1], "task_name", "another"),
    ] {
        env.service.fault(Trigger::on(Operation::List), effect);
    }
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    assert_eq!(env.sent_batches().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_refuses_a_shared_key_does_not_block_it_for_another() {
    let (env, ids) = TestEnv::bare(3).await;
    env.sim.set_key(KEY, AccessKey::new("right"));
    env.secret("key", &[("accessKey", KEY), ("secretKey", "right")]).await;
    with_key(&env, "roma", INSTANCE, "key").await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    let refuses = with_key(&env, "other", "other-instance", "key").await;
    refuses.accept_only_keys(&["AKIDSOMEBODYELSE0001"]);
    env.group_with("theirs", "Running", &["t1".to_owned()], json!({"instanceRef": {"name": "other"}})).await;
    env.wait_instance("other", reasons::SIGN_IN_REFUSED).await;
    env.service.set_running(&ids[0], false).unwrap();
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    env.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secret_keys_in_other_secrets_do_not_lock_an_access_key() {
    let (env, ids) = TestEnv::bare(3).await;
    env.sim.set_key(KEY, AccessKey::new("right"));
    env.secret("key", &[("accessKey", KEY), ("secretKey", "right")]).await;
    with_key(&env, "roma", INSTANCE, "key").await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    for name in ["wrong-1", "wrong-2", "wrong-3"] {
        env.secret(name, &[("accessKey", KEY), ("secretKey", name)]).await;
        with_key(&env, name, name, name).await;
        let group = json!({"instanceRef": {"name": name}});
        env.group_with(name, "Running", &["t1".to_owned()], group).await;
    }
    for name in ["wrong-1", "wrong-2", "wrong-3"] {
        env.wait_instance(name, reasons::SIGN_IN_REFUSED).await;
    }
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_ready("orders").await;
    assert_eq!(env.sim.counts(&Filter::default()).sign_ins_refused, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_million_tasks_reports_that_its_list_is_too_large() {
    let (env, ids) = TestEnv::new(1).await;
    env.service.fault(Trigger::on(Operation::List), Effect::Crowd { tasks: 1_000_000 });
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_instance("roma", reasons::LIST_TOO_LARGE).await;
    assert!(env.sent_batches().is_empty());
}
