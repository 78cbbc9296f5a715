//! The same task in several groups; two `FdiInstance` objects for one ROMA instance.

use std::time::Duration;

use fdi_operator::crd::reasons;
use fdi_simulator::{AccessKey, Action};
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Operator, Stage, TOKEN};

/// Creation times are whole seconds: the next group is younger only after one.
async fn a_second_later() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_group_owns_and_exactly_one_hand_over_happens_when_it_goes() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("old", "Running", &ids[..2]).await;
    stage.wait_ready("old").await;
    a_second_later().await;
    stage.group("young", "Stopped", &ids[1..]).await;
    let group = stage.wait_reason("young", reasons::TASKS_CONFLICT).await;
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains("FdiTaskGroup old") && message.contains(&ids[1]), "{message}");
    assert_eq!(stage.told().len(), 1, "nothing was sent for the task of the other group");
    stage.delete_group("old").await;
    stage.wait_ready("young").await;
    assert_eq!(stage.told()[1..], [(Action::Stop, vec![ids[1].clone()])]);
    assert!(stage.service.task(&ids[0]).unwrap().running, "a task that nobody lists any more is left as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_drops_a_task_hands_it_over_and_flips_of_both_do_not_oscillate() {
    let (stage, ids) = Stage::new(1).await;
    let _operator = Operator::start(&stage).await;
    stage.group("a", "Running", &ids).await;
    a_second_later().await;
    stage.group("b", "Stopped", &ids).await;
    stage.wait_ready("a").await;
    for (a, b) in [("Stopped", "Running"), ("Running", "Stopped"), ("Stopped", "Running")] {
        stage.edit("a", json!({"desiredState": a})).await;
        stage.edit("b", json!({"desiredState": b})).await;
        stage.wait_ready("a").await;
    }
    assert_eq!(stage.told().len(), 4, "the first start and one call for each flip of the owner");
    stage.edit("a", json!({"taskIds": ["something-else"]})).await;
    stage.wait_ready("b").await;
    assert_eq!(stage.told().last().unwrap().0, Action::Start);
    assert_eq!(stage.told().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_owner_still_owns() {
    let (stage, ids) = Stage::new(1).await;
    let _operator = Operator::start(&stage).await;
    stage.group_with("old", "Running", &ids, json!({"suspend": true})).await;
    a_second_later().await;
    stage.group("young", "Running", &ids).await;
    stage.wait_reason("young", reasons::TASKS_CONFLICT).await;
    assert!(stage.told().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_moved_between_groups_in_one_apply_is_told_nothing_new() {
    let (stage, ids) = Stage::new(4).await;
    let _operator = Operator::start(&stage).await;
    stage.group("a", "Running", &ids[..3]).await;
    stage.group("b", "Running", &ids[3..]).await;
    stage.wait_ready("a").await;
    stage.wait_ready("b").await;
    let before = stage.told().len();
    stage.group("b", "Running", &ids[2..]).await;
    stage.group("a", "Running", &ids[..2]).await;
    stage.wait_ready("a").await;
    stage.wait_ready("b").await;
    assert_eq!(stage.told().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_for_one_roma_instance_the_older_serves_and_the_younger_takes_over_when_it_goes() {
    let (stage, ids) = Stage::new(2).await;
    a_second_later().await;
    stage.instance("twin", json!({"endpoint": stage.sim.url().replace("http://127", "HTTP://127")})).await;
    let _operator = Operator::start(&stage).await;
    stage.group("of-the-older", "Running", &ids[..1]).await;
    stage.group_with("of-the-younger", "Running", &ids[1..], json!({"instanceRef": {"name": "twin"}})).await;
    stage.wait_ready("of-the-older").await;
    stage.wait_instance("twin", reasons::DUPLICATE_INSTANCE).await;
    let group = stage.wait_reason("of-the-younger", reasons::DUPLICATE_INSTANCE).await;
    assert!(crate::harness::condition(&group, "Stalled").is_some());
    assert!(!stage.service.task(&ids[1]).unwrap().running);
    stage.instances().delete("roma", &DeleteParams::default()).await.unwrap();
    stage.wait_ready("of-the-younger").await;
    stage.wait_reason("of-the-older", reasons::INSTANCE_NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_instance_that_cannot_serve_keeps_nobody_from_serving() {
    let key = |secret: &str| json!({"token": null, "accessKey": {"secretRef": {"name": secret}}});
    let unusable = [
        ("no Secret", key("nowhere")),
        ("a key that may only read", key("reader")),
        ("a refused key", key("refused")),
        ("an unreachable IAM", json!({"token": null, "password": {"secretRef": {"name": "user"}}})),
    ];
    for (what, auth) in unusable {
        let (stage, ids) = Stage::bare(2).await;
        stage.sim.set_key("READERKEY00000000001", AccessKey { read_only: true, ..AccessKey::new("reader-sk") });
        stage.secret("reader", &[("accessKey", "READERKEY00000000001"), ("secretKey", "reader-sk")]).await;
        stage.secret("refused", &[("accessKey", "UNKNOWNKEY0000000001"), ("secretKey", "unknown-sk")]).await;
        stage.secret("user", &[("domainName", "ACCOUNT"), ("userName", "nobody"), ("password", "PW")]).await;
        // Nothing listens there.
        stage.instance("older", json!({"auth": auth, "iamEndpoint": "http://127.0.0.1:1"})).await;
        let older = json!({"instanceRef": {"name": "older"}});
        stage.group_with("of-the-older", "Running", &ids[..1], older).await;
        a_second_later().await;
        stage.secret("roma-credentials", &[("token", TOKEN)]).await;
        stage.instance("roma", json!({})).await;
        stage.group("of-the-younger", "Running", &ids[1..]).await;
        let _operator = Operator::start(&stage).await;
        stage.wait_ready("of-the-younger").await;
        assert!(stage.service.task(&ids[1]).unwrap().running, "{what}");
        assert!(!stage.service.task(&ids[0]).unwrap().running, "{what}");
    }
}
