//! From accepted to settled: slow tasks, tasks that never switch, tasks that flap, lists that lag behind.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Effect, Manner, Operation, Trigger};

use crate::harness::{Operator, SOON, Stage, fast, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_switch_over_is_waited_for_without_a_second_command() {
    let (stage, ids) = Stage::new(5).await;
    for id in &ids {
        stage.service.set_manners(id, [Manner::SettlesAfter { ms: 1500 }]).unwrap();
    }
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert_eq!(stage.told().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_settles_is_tried_five_times_and_named() {
    let (stage, ids) = Stage::new(2).await;
    stage.service.set_manners(&ids[0], [Manner::NeverSettles]).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let status = stage.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    let [failure] = &status.failures[..] else { panic!("{:?}", status.failures) };
    assert_eq!((failure.code.as_str(), failure.attempts, &failure.task_id), ("NotSettled", 5, &ids[0]));
    let first = stage.service.batch_calls()[0].arrived_at;
    let second = stage
        .service
        .batch_calls()
        .iter()
        .filter(|call| call.ids.iter().any(|id| **id == *ids[0]))
        .nth(1)
        .unwrap()
        .arrived_at;
    let window = fast().settle_window;
    assert!(
        Duration::from_millis(u64::try_from(second - first).unwrap()) >= window,
        "a second command inside the settle window"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_flaps_by_itself_ends_contested() {
    let (stage, ids) = Stage::new(1).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.service.set_manners(&ids[0], [Manner::Flaps { every_ms: 400 }]).unwrap();
    let group = stage.wait_reason("orders", reasons::TASKS_CONTESTED).await;
    assert!(crate::harness::condition(&group, "Stalled").is_some());
    let told = stage.told().len();
    assert!(told <= 6, "{told} calls before it backed off");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lag_behind_cause_neither_double_commands_nor_a_false_ready() {
    for effect in [Effect::StaleFor { ms: 900 }, Effect::StaleBy { calls: 3 }] {
        let (stage, ids) = Stage::new(10).await;
        stage.service.fault(Trigger::on(Operation::List), effect.clone());
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_ready("orders").await;
        stage.edit("orders", serde_json::json!({"desiredState": "Stopped"})).await;
        stage.wait_ready("orders").await;
        assert_eq!(stage.told().len(), 2, "{effect:?}: {:#?}", stage.told());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_frozen_before_the_start_never_becomes_ready() {
    let (stage, ids) = Stage::new(2).await;
    stage.service.fault(Trigger::on(Operation::List), Effect::Frozen);
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage
        .wait("orders", "NotSettled", |g| {
            g.status.as_ref().is_some_and(|s| s.failures.iter().any(|f| f.code == "NotSettled"))
        })
        .await;
    assert!(
        !stage.revisions.of("orders").iter().any(|g| says(g).is_some_and(|(ready, _)| ready == ConditionStatus::True))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_may_still_act_is_remembered_across_a_restart() {
    let (stage, ids) = Stage::new(10).await;
    for id in &ids {
        stage.service.set_manners(id, [Manner::SettlesAfter { ms: 1800 }]).unwrap();
    }
    let first = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_log("the start", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    stage.edit("orders", serde_json::json!({"desiredState": "Stopped"})).await;
    stage.wait("orders", "the edit reported", |group| says(group).is_some()).await;
    first.end().await;
    // The recorder of the revisions fails the test if the group is Ready when a task runs.
    let _second = Operator::start(&stage).await;
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    let early =
        stage.revisions.of("orders").iter().any(|g| says(g).is_some_and(|(ready, _)| ready == ConditionStatus::True));
    assert!(!early, "Ready before the start had acted");
    stage.wait_ready("orders").await;
    assert!(stage.service.running().is_empty());
}
