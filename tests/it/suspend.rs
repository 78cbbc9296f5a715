//! Suspending, and changing one's mind, in the middle of a convergence.

use std::time::Duration;

use fdi_operator::crd::reasons;
use fdi_simulator::{Action, Effect, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, SOON, Stage};

/// A convergence of 1,000 tasks under way: 100 ms a call, two at a time.
async fn converging() -> (Stage, Operator) {
    let (stage, ids) = Stage::new(1000).await;
    stage.service.fault(Trigger::on(Operation::Batch), Effect::Delay { before_ms: 100, after_ms: 0 });
    let operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let batches = |n: usize| {
        move |v: &mut fdi_simulator::View<'_>| {
            (v.log().iter().filter(|e| e.action.is_some()).count() >= n).then_some(())
        }
    };
    stage.sim.wait_for(SOON, batches(6)).await.unwrap();
    (stage, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_in_flight_when_a_group_is_suspended_are_the_last() {
    let (stage, _operator) = converging().await;
    stage.edit("orders", json!({"suspend": true})).await;
    let sent = stage.service.batch_calls().len();
    stage.wait_reason("orders", reasons::SUSPENDED).await;
    let last = stage.service.batch_calls().len();
    assert!(last <= sent + 4, "{} calls after the edit", last - sent);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.service.batch_calls().len(), last);
    stage.edit("orders", json!({"suspend": false})).await;
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_are_when_the_instance_is_suspended() {
    let (stage, _operator) = converging().await;
    stage.instance("roma", json!({"suspend": true})).await;
    let sent = stage.service.batch_calls().len();
    stage.wait_reason("orders", reasons::SUSPENDED).await;
    let last = stage.service.batch_calls().len();
    assert!(last <= sent + 4, "{} calls after the edit", last - sent);
    stage.instance("roma", json!({"suspend": false})).await;
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_edit_at_most_one_more_call_a_connection_says_what_was_wanted_before() {
    let (stage, _operator) = converging().await;
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    let sent = stage.service.batch_calls().len();
    stage.wait_ready("orders").await;
    let late = stage.service.batch_calls()[sent..].iter().filter(|c| c.action == Some(Action::Start)).count();
    assert!(late <= 4, "{late} starts after the edit to Stopped");
    assert!(stage.service.running().is_empty());
}
