//! From accepted to settled: slow tasks, tasks that never switch, tasks that flap, and lists that
//! lag behind.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Effect, Manner, Operation, Trigger};

use crate::harness::{Operator, TIMEOUT, TestEnv, fast_timings, ready_condition};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_settles_slowly_gets_no_second_call() {
    let (env, ids) = TestEnv::new(5).await;
    for id in &ids {
        env.service.set_manners(id, [Manner::SettlesAfter { ms: 1500 }]).unwrap();
    }
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    assert_eq!(env.sent_batches().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_settles_is_tried_five_times_and_named() {
    let (env, ids) = TestEnv::new(2).await;
    env.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let status = env.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    let [failure] = &status.failures[..] else { panic!("{:?}", status.failures) };
    assert_eq!((failure.code.as_str(), failure.attempts, &failure.task_id), ("NotSettled", 5, &ids[0]));
    let first = env.service.batch_calls()[0].arrived_at;
    let second = env
        .service
        .batch_calls()
        .iter()
        .filter(|call| call.ids.iter().any(|id| **id == *ids[0]))
        .nth(1)
        .unwrap()
        .arrived_at;
    let window = fast_timings().settle_window;
    assert!(
        Duration::from_millis(u64::try_from(second - first).unwrap()) >= window,
        "a second call within the settle window"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_flaps_by_itself_ends_contested() {
    let (env, ids) = TestEnv::new(1).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.service.set_manners(&ids[0], [Manner::Flaps { every_ms: 400 }]).unwrap();
    let group = env.wait_reason("orders", reasons::TASKS_CONTESTED).await;
    assert!(crate::harness::condition(&group, "Stalled").is_some());
    let calls = env.sent_batches().len();
    assert!(calls <= 6, "{calls} calls before it backed off");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lag_behind_cause_neither_repeated_calls_nor_a_false_ready() {
    for effect in [Effect::StaleFor { ms: 900 }, Effect::StaleBy { calls: 3 }] {
        let (env, ids) = TestEnv::new(10).await;
        env.service.fault(Trigger::on(Operation::List), effect.clone());
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
        env.edit("orders", serde_json::json!({"desiredState": "Stopped"})).await;
        env.wait_ready("orders").await;
        assert_eq!(env.sent_batches().len(), 2, "{effect:?}: {:#?}", env.sent_batches());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_frozen_before_the_start_never_makes_the_group_ready() {
    let (env, ids) = TestEnv::new(2).await;
    env.service.fault(Trigger::on(Operation::List), Effect::Frozen);
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait("orders", "NotSettled", |g| {
        g.status.as_ref().is_some_and(|s| s.failures.iter().any(|f| f.code == "NotSettled"))
    })
    .await;
    assert!(
        !env.revisions
            .of("orders")
            .iter()
            .any(|g| ready_condition(g).is_some_and(|(ready, _)| ready == ConditionStatus::True))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_may_still_take_effect_is_remembered_across_a_restart() {
    let (env, ids) = TestEnv::new(10).await;
    for id in &ids {
        env.service.set_manners(id, [Manner::SettlesAfter { ms: 1800 }]).unwrap();
    }
    let first = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_log("the start", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    env.edit("orders", serde_json::json!({"desiredState": "Stopped"})).await;
    env.wait("orders", "the edit reported", |group| ready_condition(group).is_some()).await;
    first.end().await;
    // The recorder of the revisions fails the test if the group is Ready when a task runs.
    let _second = Operator::start(&env).await;
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    let early = env
        .revisions
        .of("orders")
        .iter()
        .any(|g| ready_condition(g).is_some_and(|(ready, _)| ready == ConditionStatus::True));
    assert!(!early, "Ready before the start took effect");
    env.wait_ready("orders").await;
    assert!(env.service.running().is_empty());
}
