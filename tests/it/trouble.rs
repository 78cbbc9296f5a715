//! Answers that are lost or make no sense, and services that are away: observe first, never a contrary call, never too much.

use std::time::Duration;

use fdi_operator::crd::{reasons, types};
use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, Stage};

/// The first batch meets the effect; everything converges, in one direction, and is observed before anything is repeated.
async fn once(what: &str, effect: Effect, acts: bool) {
    let (stage, ids) = Stage::new(10).await;
    stage.service.fault(Trigger::on(Operation::Batch).times(1), effect);
    let operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let group = stage.wait_ready("orders").await;
    assert!(group.status.unwrap().failures.is_empty(), "{what}");
    let calls = stage.service.batch_calls();
    assert!(calls.iter().all(|call| call.action == Some(Action::Start)), "{what}");
    assert_eq!(calls.len(), if acts { 1 } else { 2 }, "{what}: what was done is not asked for again");
    if let [first, second] = &calls[..] {
        let between = |seq: u64| first.seq < seq && seq < second.seq;
        assert!(stage.service.list_calls().iter().any(|list| between(list.seq)), "{what}: observed in between");
    }
    operator.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_looked_after_before_anything_is_sent() {
    once("cut before acting", Effect::Cut { acts: false }, false).await;
    once("cut after acting", Effect::Cut { acts: true }, true).await;
    once("cut after the headers", Effect::CutBody { bytes: 9 }, true).await;
    once("no answer, not acted", Effect::Hang { acts: false }, false).await;
    once("no answer, acted", Effect::Hang { acts: true }, true).await;
    // Not done yet when it is looked after: repeated, for starting twice is starting once.
    once("acting after the caller gave up", Effect::Delay { before_ms: 2600, after_ms: 0 }, false).await;
    once("500", Effect::fdi(500, "FDI.9999", "Network error."), false).await;
    once("500 after acting", Effect::fdi(500, "FDI.9999", "Network error.").after_acting(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_sense_counts_for_nothing() {
    once("200 with HTML", Effect::html(200).after_acting(), true).await;
    once("half a JSON", Effect::answer(200, r#"{"success":[{"#).after_acting(), true).await;
    once("an empty body", Effect::answer(200, "").after_acting(), true).await;
    once("IDs missing", Effect::MissingIds { count: 3 }, true).await;
    once("IDs twice", Effect::TwiceIds { count: 3 }, true).await;
    once("IDs in both lists", Effect::BothLists { count: 3 }, true).await;
    once("a stranger", Effect::ExtraIds { ids: vec!["stranger".into()] }, true).await;
    once("wrong counts", Effect::WrongCounts { success: -1, failure: 0 }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stop_a_flip_back_and_a_stale_list_are_not_ready_too_soon() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.set_running(&ids[0], true).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    // The stop is lost but will act after a second; until then lists say Running.
    stage.service.set_manners(&ids[0], [Manner::SettlesAfter { ms: 1000 }]).unwrap();
    stage.service.fault(Trigger::on(Operation::Batch).times(1), Effect::Cut { acts: true });
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage
        .sim
        .wait_for(Duration::from_secs(10), |v| v.log().iter().find(|e| e.action.is_some()).map(|_| ()))
        .await
        .unwrap();
    stage.edit("orders", json!({"desiredState": "Running"})).await;
    let group = stage.wait_ready("orders").await;
    assert_eq!(group.metadata.generation, Some(3));
    assert_eq!(stage.service.running(), ids, "Ready only once the stop had shown and was put right");
    let told: Vec<_> = stage.service.batch_calls().iter().map(|call| call.action).collect();
    assert_eq!(told, [Some(Action::Stop), Some(Action::Start)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_with_and_without_a_time_to_come_back_loses_nothing() {
    for (after, pause) in [(Some(2), Duration::from_secs(2)), (None, Duration::from_millis(80))] {
        let (stage, ids) = Stage::new(30).await;
        stage.service.fault(Trigger::on(Operation::Batch).times(1), Effect::throttled(after));
        let operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_ready("orders").await;
        let calls = stage.service.batch_calls();
        let refused = calls.iter().position(|call| call.status == Some(429)).unwrap();
        let told = calls[refused].answered_at.unwrap();
        // A call beside the refused one may have been on its way; all later ones come after the pause.
        let next = stage.service.calls().iter().map(|c| c.arrived_at).filter(|&at| at > told + 50).min().unwrap();
        assert!(Duration::from_millis((next - told).unsigned_abs()) >= pause, "asked again after {} ms", next - told);
        operator.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_over_quickly_and_the_instance_says_so_at_once() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    let revisions = stage.revisions.of("orders").len();
    let fault = stage.service.fault(Trigger::all(), Effect::html(503));
    let trouble = async {
        loop {
            let status = stage.instances().get("roma").await.unwrap().status.unwrap_or_default();
            if status.conditions.iter().any(|c| c.type_ == types::READY && c.reason == reasons::UNAVAILABLE) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), trouble).await.unwrap();
    assert_eq!(stage.revisions.of("orders").len(), revisions, "one failed look changes the FdiInstance only");
    stage.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    stage.sim.clear_fault(fault);
    stage.wait_ready("orders").await;
    assert_eq!(stage.service.batch_calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_instance_holds_up_no_other() {
    let (stage, ids) = Stage::new(3).await;
    let other = fdi_simulator::Simulator::start(fdi_simulator::Options::default()).await.unwrap();
    other.fault(Trigger::all(), Effect::Hang { acts: false });
    stage.instance("hanging", json!({"endpoint": other.url()})).await;
    stage.group_with("stuck", "Running", &ids, json!({"instanceRef": {"name": "hanging"}})).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.wait_reason("stuck", reasons::NOT_OBSERVED).await;
}
