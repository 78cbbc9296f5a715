//! Each task has one owner: the oldest group that lists it.

use fdi_operator::crd::reasons;
use fdi_simulator::Action;
use serde_json::json;

use crate::harness::{Operator, Stage};

/// Creation times have whole seconds; names break ties.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_claimant_owns_and_hands_over_exactly_once() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("a", "Running", &ids).await;
    stage.wait_ready("a").await;
    stage.group("b", "Stopped", &ids).await;
    let group = stage.wait_reason("b", reasons::TASKS_CONFLICT).await;
    assert_eq!(group.status.unwrap().tasks.unwrap().conflicting, 3);
    assert_eq!(stage.service.batch_calls().len(), 1, "nothing is sent for what another group owns");
    stage.edit("b", json!({"desiredState": "Running"})).await;
    stage.edit("b", json!({"desiredState": "Stopped"})).await;
    stage.wait_reason("b", reasons::TASKS_CONFLICT).await;
    assert_eq!(stage.service.batch_calls().len(), 1);
    stage.delete_group("a").await;
    stage.wait_ready("b").await;
    let told: Vec<_> = stage.service.batch_calls().iter().map(|call| call.action).collect();
    assert_eq!(told, [Some(Action::Start), Some(Action::Stop)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_owner_still_owns() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group_with("a", "Running", &ids, json!({"suspend": true})).await;
    stage.wait_reason("a", reasons::SUSPENDED).await;
    stage.group("b", "Running", &ids).await;
    stage.wait_reason("b", reasons::TASKS_CONFLICT).await;
    assert!(stage.service.batch_calls().is_empty());
}
