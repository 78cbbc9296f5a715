//! Answers that are late, lost, cut, or contradict themselves: observed before anything else is sent, never a contrary call,
//! never counted as success.

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Action, Effect, Entry, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, Stage, says};

/// Every way in which the answer to one batch may go wrong.
fn ways() -> Vec<(&'static str, Effect)> {
    let object = r#"{"error_code":"FDI.9999","error_msg":"Network error."}"#;
    vec![
        ("timeout before acting", Effect::Hang { acts: false }),
        ("timeout after acting", Effect::Hang { acts: true }),
        ("slow, acts after the caller has gone", Effect::Delay { before_ms: 1800, after_ms: 0 }),
        ("cut before acting", Effect::Cut { acts: false }),
        ("cut after acting", Effect::Cut { acts: true }),
        ("cut in the body", Effect::CutBody { bytes: 7 }),
        ("nonsense with status 200", Effect::answer(200, "<html>")),
        ("nonsense with status 200 after acting", Effect::answer(200, "{\"success\":").after_acting()),
        ("empty 200", Effect::answer(200, "")),
        ("200 with an error object", Effect::answer(200, object)),
        ("500 after acting", Effect::fdi(500, "FDI.9999", "Network error.").after_acting()),
        ("502 from the gateway", Effect::html(502)),
        ("IDs missing", Effect::MissingIds { count: 3 }),
        ("IDs twice", Effect::TwiceIds { count: 2 }),
        ("IDs in both lists", Effect::BothLists { count: 2 }),
        ("IDs that nobody asked for", Effect::ExtraIds { ids: vec!["somebody-else".into()] }),
        ("counts that do not add up", Effect::WrongCounts { success: 3, failure: 0 }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_an_answer_the_next_act_is_a_look_and_all_ends_well() {
    for (what, effect) in ways() {
        let (stage, ids) = Stage::new(10).await;
        stage.service.fault(Trigger::on(Operation::Batch).times(1), effect);
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_ready("orders").await;
        let log = stage.service.calls();
        let first = log.iter().position(|entry| entry.operation == Operation::Batch).unwrap();
        assert_eq!(log[first + 1].operation, Operation::List, "{what}: looked at before anything else was sent");
        assert!(stage.told().iter().all(|(action, _)| *action == Action::Start), "{what}: a contrary call");
        assert_eq!(stage.service.running().len(), 10, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stop_a_flip_back_and_a_stale_list_are_not_ready_before_the_settle_window_has_passed() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    // The stop is lost on its way back, and the service takes its time.
    for id in &ids {
        stage.service.set_manners(id, [fdi_simulator::Manner::SettlesAfter { ms: 1500 }]).unwrap();
    }
    stage.service.fault(Trigger::on(Operation::Batch).times(1), Effect::Cut { acts: true });
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage.wait_log("the stop", |log| log.iter().any(|entry| entry.action == Some(Action::Stop))).await;
    stage.edit("orders", json!({"desiredState": "Running"})).await;
    stage.wait("orders", "acknowledged", |g| says(g).is_some() && g.metadata.generation == Some(3)).await;
    // The lists still say Running. The stop acts; only then may Ready come back, by a start.
    stage.service.wait_until_all(false, &ids, crate::harness::SOON).await.unwrap();
    let early =
        stage.revisions.of("orders").into_iter().any(|g| {
            g.metadata.generation == Some(3) && says(&g).is_some_and(|(ready, _)| ready == ConditionStatus::True)
        });
    assert!(!early, "Ready while the lost stop could still act");
    stage.wait_ready("orders").await;
    assert_eq!(stage.service.running().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_always_leaves_a_task_out_is_not_asked_for_in_a_loop() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.fault(
        Trigger::on(Operation::Batch),
        Effect::answer(200, r#"{"success_count":0,"failure_count":0,"success":[],"failure":[]}"#),
    );
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let group = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    assert_eq!(group.status.unwrap().failures[0].code, "OutcomeUnknown");
    let batches = |log: &[Entry]| log.iter().filter(|entry| entry.operation == Operation::Batch).count();
    assert_eq!(batches(&stage.service.calls()), 5);
}
