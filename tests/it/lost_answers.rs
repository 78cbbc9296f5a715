//! Responses that are late, lost, truncated or contradictory: the operator lists before it sends
//! anything else, never sends an opposite call, and never counts them as success.

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Action, Effect, Entry, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, TestEnv, ready_condition};

/// Every way in which the response to one batch may go wrong.
fn faults() -> Vec<(&'static str, Effect)> {
    let object = r#"{"error_code":"FDI.9999","error_msg":"Network error."}"#;
    vec![
        ("timeout before acting", Effect::Hang { acts: false }),
        ("timeout after acting", Effect::Hang { acts: true }),
        ("slow, acts after the caller has gone", Effect::Delay { before_ms: 1800, after_ms: 0 }),
        ("connection cut before acting", Effect::Cut { acts: false }),
        ("connection cut after acting", Effect::Cut { acts: true }),
        ("connection cut in the body", Effect::CutBody { bytes: 7 }),
        ("a malformed 200", Effect::answer(200, "<html>")),
        ("a malformed 200 after acting", Effect::answer(200, "{\"success\":").after_acting()),
        ("empty 200", Effect::answer(200, "")),
        ("200 with an error object", Effect::answer(200, object)),
        ("500 after acting", Effect::fdi(500, "FDI.9999", "Network error.").after_acting()),
        ("502 from the gateway", Effect::html(502)),
        ("IDs missing", Effect::MissingIds { count: 3 }),
        ("IDs twice", Effect::TwiceIds { count: 2 }),
        ("IDs in both lists", Effect::BothLists { count: 2 }),
        ("IDs that were not requested", Effect::ExtraIds { ids: vec!["somebody-else".into()] }),
        ("counts that do not add up", Effect::WrongCounts { success: 3, failure: 0 }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_response_the_operator_lists_next_and_converges() {
    for (what, effect) in faults() {
        let (env, ids) = TestEnv::new(10).await;
        env.service.fault(Trigger::on(Operation::Batch).times(1), effect);
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
        let log = env.service.calls();
        let first = log.iter().position(|entry| entry.operation == Operation::Batch).unwrap();
        assert_eq!(log[first + 1].operation, Operation::List, "{what}: the next request is a list");
        assert!(env.sent_batches().iter().all(|(action, _)| *action == Action::Start), "{what}: an opposite call");
        assert_eq!(env.service.running().len(), 10, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_stop_and_a_reverted_edit_a_stale_list_is_not_ready_within_the_settle_window() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    // The response to the stop is lost, and the tasks take a while to stop.
    for id in &ids {
        env.service.set_manners(id, [fdi_simulator::Manner::SettlesAfter { ms: 1500 }]).unwrap();
    }
    env.service.fault(Trigger::on(Operation::Batch).times(1), Effect::Cut { acts: true });
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_log("the stop", |log| log.iter().any(|entry| entry.action == Some(Action::Stop))).await;
    env.edit("orders", json!({"desiredState": "Running"})).await;
    env.wait("orders", "acknowledged", |g| ready_condition(g).is_some() && g.metadata.generation == Some(3)).await;
    // The lists still show Running. Only once the stop has taken effect may a start make the group
    // Ready.
    env.service.wait_until_all(false, &ids, crate::harness::TIMEOUT).await.unwrap();
    let early = env.revisions.of("orders").into_iter().any(|g| {
        g.metadata.generation == Some(3) && ready_condition(&g).is_some_and(|(ready, _)| ready == ConditionStatus::True)
    });
    assert!(!early, "Ready while the lost stop could still act");
    env.wait_ready("orders").await;
    assert_eq!(env.service.running().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_always_leaves_a_task_out_causes_no_loop() {
    let (env, ids) = TestEnv::new(1).await;
    env.service.fault(
        Trigger::on(Operation::Batch),
        Effect::answer(200, r#"{"success_count":0,"failure_count":0,"success":[],"failure":[]}"#),
    );
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
    assert_eq!(group.status.unwrap().failures[0].code, "OutcomeUnknown");
    let batches = |log: &[Entry]| log.iter().filter(|entry| entry.operation == Operation::Batch).count();
    assert_eq!(batches(&env.service.calls()), 5);
}
