//! Instances in trouble: one failed look, outage, throttling, refusals; the others are not affected.

use std::time::{Duration, Instant};

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Effect, Operation, Options, Simulator, Trigger};
use serde_json::json;

use crate::harness::{INSTANCE, Operator, PROJECT, Stage, TOKEN, condition, fast, says};

#[tokio::test(flavor = "multi_thread")]
async fn one_failed_look_shows_on_the_instance_and_on_no_group() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let before = stage.wait_ready("orders").await.metadata.resource_version;
    stage.service.fault(Trigger::on(Operation::List).times(1), Effect::html(502));
    stage.wait_instance("roma", reasons::UNAVAILABLE).await;
    stage.wait_instance("roma", reasons::SIGNED_IN).await;
    assert_eq!(stage.groups().get("orders").await.unwrap().metadata.resource_version, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_becomes_stale_and_is_over_soon_after_the_service_is_back() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.sim.refuse_connections(true);
    let group = stage.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    assert_eq!(says(&group).unwrap().0, ConditionStatus::Unknown);
    assert!(condition(&group, "Reconciling").is_some());
    stage.sim.refuse_connections(false);
    let back = Instant::now();
    stage.wait_ready("orders").await;
    assert!(
        back.elapsed() < Duration::from_secs(3),
        "{:?}: a fiftieth of ten minutes is far more than it may take",
        back.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_stall_the_groups_with_a_reason_that_says_what_to_do() {
    let rows = [
        (Effect::gateway(403, "APIGW.0302", "The IAM user is not authorized to access the API."), reasons::FORBIDDEN),
        (Effect::gateway(404, "APIGW.0101", "The API does not exist."), reasons::REQUEST_REJECTED),
        (
            Effect::gateway(401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail"),
            reasons::SIGN_IN_REFUSED,
        ),
    ];
    for (effect, reason) in rows {
        let (stage, ids) = Stage::new(2).await;
        let fault = stage.service.fault(Trigger::on(Operation::List), effect);
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_instance("roma", reason).await;
        let group = stage.wait_reason("orders", reason).await;
        assert_eq!(says(&group).unwrap().0, ConditionStatus::Unknown);
        assert!(condition(&group, "Stalled").is_some());
        assert_eq!(condition(&group, "Synced").unwrap().status, ConditionStatus::False);
        assert!(stage.told().is_empty());
        stage.sim.clear_fault(fault);
        if reason != reasons::SIGN_IN_REFUSED {
            stage.wait_ready("orders").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_calls_pause_the_instance_and_nothing_is_lost() {
    for retry_after in [None, Some(1)] {
        let (stage, ids) = Stage::new(20).await;
        stage.service.fault(Trigger::on(Operation::Batch).times(1), Effect::throttled(retry_after));
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_ready("orders").await;
        let calls = stage.service.calls();
        let refused = calls.iter().find(|call| call.status == Some(429)).unwrap();
        let next =
            calls.iter().find(|call| call.seq > refused.seq && call.arrived_at > refused.arrived_at + 20).unwrap();
        let pause = Duration::from_millis(u64::try_from(next.arrived_at - refused.answered_at.unwrap()).unwrap());
        let least = retry_after.map_or(fast().backoff.base, Duration::from_secs).mul_f64(0.85);
        assert!(pause >= least, "{retry_after:?}: paused for {pause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_hangs_holds_up_nobody_else() {
    let (stage, ids) = Stage::new(2).await;
    let slow = Simulator::start(Options::default()).await.unwrap();
    slow.set_token(TOKEN, Some(PROJECT), Duration::from_secs(3600));
    slow.instance(PROJECT, INSTANCE).create_tasks(1);
    slow.fault(Trigger::all(), Effect::Hang { acts: false });
    for n in 0..5 {
        let change = json!({"endpoint": slow.url(), "instanceId": format!("{n}{INSTANCE}")});
        stage.instance(&format!("slow-{n}"), change).await;
        let more = json!({"instanceRef": {"name": format!("slow-{n}")}});
        stage.group_with(&format!("waits-{n}"), "Running", &["t".to_owned()], more).await;
    }
    let _operator = Operator::start(&stage).await;
    let began = Instant::now();
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert!(began.elapsed() < Duration::from_millis(1400), "{:?}: less than one hanging request", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_instances_that_come_back_together_do_not_stampede() {
    let (stage, _) = Stage::new(0).await;
    for n in 0..50 {
        let id = format!("{n:02}{}", &INSTANCE[2..]);
        stage.sim.instance(PROJECT, &id).create_tasks(1);
        stage.instance(&format!("i{n:02}"), json!({"instanceId": id, "rateLimit": {"requestsPerSecond": 5}})).await;
    }
    let _operator = Operator::start(&stage).await;
    for n in 0..50 {
        stage.wait_instance(&format!("i{n:02}"), reasons::SIGNED_IN).await;
    }
    stage.sim.refuse_connections(true);
    for n in 0..50 {
        stage.wait_instance(&format!("i{n:02}"), reasons::UNAVAILABLE).await;
    }
    let since = stage.sim.last_seq();
    stage.sim.refuse_connections(false);
    for n in 0..50 {
        stage.wait_instance(&format!("i{n:02}"), reasons::SIGNED_IN).await;
    }
    // One list proves that the service is back: each instance asks once to recover, and polls go on at their own pace.
    let calls = stage.sim.calls(&fdi_simulator::Filter { since, ..Default::default() });
    let mut first: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let begin = calls.first().unwrap().arrived_at;
    for call in calls.iter().filter(|call| call.arrived_at < begin + 100) {
        *first.entry(call.instance.clone().unwrap_or_default()).or_default() += 1;
    }
    assert!(first.values().all(|n| *n <= 5), "{first:?}: the rate limit of each instance bounds the rush");
}
