//! The same task in several groups; two `FdiInstance` objects for one ROMA instance.

use std::time::Duration;

use fdi_operator::crd::reasons;
use fdi_simulator::{AccessKey, Action};
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Operator, TOKEN, TestEnv};

/// Creation times are whole seconds: a group is younger only if it is created a second later.
async fn a_second_later() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_group_owns_a_task_and_hands_it_over_exactly_once_when_it_goes() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    env.group("old", "Running", &ids[..2]).await;
    env.wait_ready("old").await;
    a_second_later().await;
    env.group("young", "Stopped", &ids[1..]).await;
    let group = env.wait_reason("young", reasons::TASKS_CONFLICT).await;
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains("FdiTaskGroup old") && message.contains(&ids[1]), "{message}");
    assert_eq!(env.sent_batches().len(), 1, "nothing was sent for the task of the other group");
    env.delete_group("old").await;
    env.wait_ready("young").await;
    assert_eq!(env.sent_batches()[1..], [(Action::Stop, vec![ids[1].clone()])]);
    assert!(env.service.task(&ids[0]).unwrap().running, "a task that no group lists any more stays as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_drops_a_task_hands_it_over_and_edits_of_both_do_not_oscillate() {
    let (env, ids) = TestEnv::new(1).await;
    let _operator = Operator::start(&env).await;
    env.group("a", "Running", &ids).await;
    a_second_later().await;
    env.group("b", "Stopped", &ids).await;
    env.wait_ready("a").await;
    for (a, b) in [("Stopped", "Running"), ("Running", "Stopped"), ("Stopped", "Running")] {
        env.edit("a", json!({"desiredState": a})).await;
        env.edit("b", json!({"desiredState": b})).await;
        env.wait_ready("a").await;
    }
    assert_eq!(env.sent_batches().len(), 4, "the first start and one call for each edit of the owner");
    env.edit("a", json!({"taskIds": ["something-else"]})).await;
    env.wait_ready("b").await;
    assert_eq!(env.sent_batches().last().unwrap().0, Action::Start);
    assert_eq!(env.sent_batches().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_owner_still_owns() {
    let (env, ids) = TestEnv::new(1).await;
    let _operator = Operator::start(&env).await;
    env.group_with("old", "Running", &ids, json!({"suspend": true})).await;
    a_second_later().await;
    env.group("young", "Running", &ids).await;
    env.wait_reason("young", reasons::TASKS_CONFLICT).await;
    assert!(env.sent_batches().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_transferred_between_groups_in_one_apply_causes_no_call() {
    let (env, ids) = TestEnv::new(4).await;
    let _operator = Operator::start(&env).await;
    env.group("a", "Running", &ids[..3]).await;
    env.group("b", "Running", &ids[3..]).await;
    env.wait_ready("a").await;
    env.wait_ready("b").await;
    let before = env.sent_batches().len();
    env.group("b", "Running", &ids[2..]).await;
    env.group("a", "Running", &ids[..2]).await;
    env.wait_ready("a").await;
    env.wait_ready("b").await;
    assert_eq!(env.sent_batches().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_for_one_roma_instance_the_older_serves_until_it_goes() {
    let (env, ids) = TestEnv::new(2).await;
    a_second_later().await;
    env.instance("duplicate", json!({"endpoint": env.sim.url().replace("http://127", "HTTP://127")})).await;
    let _operator = Operator::start(&env).await;
    env.group("of-the-older", "Running", &ids[..1]).await;
    env.group_with("of-the-younger", "Running", &ids[1..], json!({"instanceRef": {"name": "duplicate"}})).await;
    env.wait_ready("of-the-older").await;
    env.wait_instance("duplicate", reasons::DUPLICATE_INSTANCE).await;
    let group = env.wait_reason("of-the-younger", reasons::DUPLICATE_INSTANCE).await;
    assert!(crate::harness::condition(&group, "Stalled").is_some());
    assert!(!env.service.task(&ids[1]).unwrap().running);
    env.instances().delete("roma", &DeleteParams::default()).await.unwrap();
    env.wait_ready("of-the-younger").await;
    env.wait_reason("of-the-older", reasons::INSTANCE_NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_instance_that_cannot_serve_does_not_block_a_younger_one() {
    let key = |secret: &str| json!({"token": null, "accessKey": {"secretRef": {"name": secret}}});
    let unusable = [
        ("no Secret", key("nowhere")),
        ("a key that may only read", key("reader")),
        ("a refused key", key("refused")),
        ("an unreachable IAM", json!({"token": null, "password": {"secretRef": {"name": "user"}}})),
    ];
    for (what, auth) in unusable {
        let (env, ids) = TestEnv::bare(2).await;
        env.sim.set_key("READERKEY00000000001", AccessKey { read_only: true, ..AccessKey::new("reader-sk") });
        env.secret("reader", &[("accessKey", "READERKEY00000000001"), ("secretKey", "reader-sk")]).await;
        env.secret("refused", &[("accessKey", "UNKNOWNKEY0000000001"), ("secretKey", "unknown-sk")]).await;
        env.secret("user", &[("domainName", "ACCOUNT"), ("userName", "nobody"), ("password", "PW")]).await;
        // Nothing listens there.
        env.instance("older", json!({"auth": auth, "iamEndpoint": "http://127.0.0.1:1"})).await;
        let older = json!({"instanceRef": {"name": "older"}});
        env.group_with("of-the-older", "Running", &ids[..1], older).await;
        a_second_later().await;
        env.secret("roma-credentials", &[("token", TOKEN)]).await;
        env.instance("roma", json!({})).await;
        env.group("of-the-younger", "Running", &ids[1..]).await;
        let _operator = Operator::start(&env).await;
        env.wait_ready("of-the-younger").await;
        assert!(env.service.task(&ids[1]).unwrap().running, "{what}");
        assert!(!env.service.task(&ids[0]).unwrap().running, "{what}");
    }
}
