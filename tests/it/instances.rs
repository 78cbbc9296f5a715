//! Instances that fail: one failed list, an outage, throttling, rejections. The others are not
//! affected.

use std::time::{Duration, Instant};

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Effect, Operation, Options, Simulator, Trigger};
use serde_json::json;

use crate::harness::{INSTANCE, Operator, PROJECT, TOKEN, TestEnv, condition, fast_timings, ready_condition};

#[tokio::test(flavor = "multi_thread")]
async fn one_failed_list_shows_on_the_instance_and_on_no_group() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let before = env.wait_ready("orders").await.metadata.resource_version;
    env.service.fault(Trigger::on(Operation::List).times(1), Effect::html(502));
    env.wait_instance("roma", reasons::UNAVAILABLE).await;
    env.wait_instance("roma", reasons::SIGNED_IN).await;
    assert_eq!(env.groups().get("orders").await.unwrap().metadata.resource_version, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_makes_the_group_stale_and_it_recovers_soon_after_the_service() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.sim.refuse_connections(true);
    let group = env.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    assert_eq!(ready_condition(&group).unwrap().0, ConditionStatus::Unknown);
    assert!(condition(&group, "Reconciling").is_some());
    env.sim.refuse_connections(false);
    let back = Instant::now();
    env.wait_ready("orders").await;
    assert!(
        back.elapsed() < Duration::from_secs(3),
        "{:?}: recovery may take far less than a fiftieth of ten minutes",
        back.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_stall_the_groups_with_a_reason_for_each_cause() {
    let rows = [
        (Effect::gateway(403, "APIGW.0302", "The IAM user is not authorized to access the API."), reasons::FORBIDDEN),
        (Effect::gateway(404, "APIGW.0101", "The API does not exist."), reasons::REQUEST_REJECTED),
        (
            Effect::gateway(401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail"),
            reasons::SIGN_IN_REFUSED,
        ),
    ];
    for (effect, reason) in rows {
        let (env, ids) = TestEnv::new(2).await;
        let fault = env.service.fault(Trigger::on(Operation::List), effect);
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_instance("roma", reason).await;
        let group = env.wait_reason("orders", reason).await;
        assert_eq!(ready_condition(&group).unwrap().0, ConditionStatus::Unknown);
        assert!(condition(&group, "Stalled").is_some());
        assert_eq!(condition(&group, "Synced").unwrap().status, ConditionStatus::False);
        assert!(env.sent_batches().is_empty());
        env.sim.clear_fault(fault);
        if reason != reasons::SIGN_IN_REFUSED {
            env.wait_ready("orders").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_calls_pause_the_instance_and_nothing_is_lost() {
    for retry_after in [None, Some(1)] {
        let (env, ids) = TestEnv::new(20).await;
        env.service.fault(Trigger::on(Operation::Batch).times(1), Effect::throttled(retry_after));
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
        let calls = env.service.calls();
        let refused = calls.iter().find(|call| call.status == Some(429)).unwrap();
        let next =
            calls.iter().find(|call| call.seq > refused.seq && call.arrived_at > refused.arrived_at + 20).unwrap();
        let pause = Duration::from_millis(u64::try_from(next.arrived_at - refused.answered_at.unwrap()).unwrap());
        let least = retry_after.map_or(fast_timings().backoff.base, Duration::from_secs).mul_f64(0.85);
        assert!(pause >= least, "{retry_after:?}: paused for {pause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_hangs_delays_no_other() {
    let (env, ids) = TestEnv::new(2).await;
    let slow = Simulator::start(Options::default()).await.unwrap();
    slow.set_token(TOKEN, Some(PROJECT), Duration::from_secs(3600));
    slow.instance(PROJECT, INSTANCE).create_tasks(1);
    slow.fault(Trigger::all(), Effect::Hang { acts: false });
    for n in 0..5 {
        let change = json!({"endpoint": slow.url(), "instanceId": format!("{n}{INSTANCE}")});
        env.instance(&format!("slow-{n}"), change).await;
        let more = json!({"instanceRef": {"name": format!("slow-{n}")}});
        env.group_with(&format!("blocked-{n}"), "Running", &["t".to_owned()], more).await;
    }
    let _operator = Operator::start(&env).await;
    let began = Instant::now();
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    assert!(began.elapsed() < Duration::from_millis(1400), "{:?}: less than one hanging request", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_instances_that_recover_together_cause_no_burst() {
    let (env, _) = TestEnv::new(0).await;
    for n in 0..50 {
        let id = format!("{n:02}{}", &INSTANCE[2..]);
        env.sim.instance(PROJECT, &id).create_tasks(1);
        env.instance(&format!("i{n:02}"), json!({"instanceId": id, "rateLimit": {"requestsPerSecond": 5}})).await;
    }
    let _operator = Operator::start(&env).await;
    for n in 0..50 {
        env.wait_instance(&format!("i{n:02}"), reasons::SIGNED_IN).await;
    }
    env.sim.refuse_connections(true);
    for n in 0..50 {
        env.wait_instance(&format!("i{n:02}"), reasons::UNAVAILABLE).await;
    }
    let since = env.sim.last_seq();
    env.sim.refuse_connections(false);
    for n in 0..50 {
        env.wait_instance(&format!("i{n:02}"), reasons::SIGNED_IN).await;
    }
    // One list shows that the service is back: each instance sends one to recover, and polls go on
    // at their own interval.
    let calls = env.sim.calls(&fdi_simulator::Filter { since, ..Default::default() });
    let mut first: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let begin = calls.first().unwrap().arrived_at;
    for call in calls.iter().filter(|call| call.arrived_at < begin + 100) {
        *first.entry(call.instance.clone().unwrap_or_default()).or_default() += 1;
    }
    assert!(
        first.values().all(|n| *n <= 5),
        "{first:?}: the rate limit of each instance bounds the burst
"
    );
}
