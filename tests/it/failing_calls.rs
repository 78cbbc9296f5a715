//! What failing calls cost, and that every task gets its state once the failure ends.

use std::time::{Duration, Instant};

use fdi_operator::crd::{FdiTaskGroup, reasons};
use fdi_simulator::{Action, Effect, Entry, Manner, Operation, Trigger};
use serde_json::json;

use crate::harness::{Operator, TestEnv, condition, fast_timings, shared};

/// Requests of the operator and revisions of one group.
#[derive(Debug)]
struct Cost {
    calls: usize,
    lists: usize,
    throttled: usize,
    writes: usize,
}

fn cost(env: &TestEnv, group: &str, log: &[Entry]) -> Cost {
    let count = |operation| log.iter().filter(|entry| entry.operation == operation).count();
    Cost {
        calls: count(Operation::Batch),
        lists: count(Operation::List),
        throttled: log.iter().filter(|entry| entry.status == Some(429)).count(),
        // The first revision is the object without a status.
        writes: env.revisions.of(group).len() - 1,
    }
}

fn transitions_of_synced(revisions: &[FdiTaskGroup]) -> usize {
    let mut states: Vec<_> = revisions.iter().filter_map(|group| Some(condition(group, "Synced")?.status)).collect();
    states.dedup();
    states.len().saturating_sub(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_are_refused_one_by_one_are_tried_again_in_full_batches() {
    let (env, ids) = TestEnv::new(27).await;
    for id in &ids {
        let manner = Manner::Refuses {
            action: None,
            code: "FDI.3026".into(),
            message: "The source database is down.".into(),
            times: None,
        };
        env.service.set_manners(id, [manner]).unwrap();
    }
    // Without the lists that come with time.
    env.instance("roma", json!({"pollIntervalSeconds": 3600})).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let cost = cost(&env, "orders", &env.service.calls());
    eprintln!("27 tasks refused one by one, five attempts: {cost:?}");
    assert!(cost.calls == 15 && cost.lists <= 11 && cost.writes <= 8, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_calls_alone_costs_two_transitions_and_few_writes() {
    let (env, ids) = TestEnv::new(27).await;
    let operator = Operator::start(&env).await;
    env.group("orders", "Stopped", &ids).await;
    env.wait_ready("orders").await;
    let before = env.revisions.of("orders").len();
    // The 150 s of an outage, a fiftieth as long.
    env.service.fault(Trigger::on(Operation::Batch).lasting(Duration::from_secs(3)), Effect::html(502));
    env.edit("orders", json!({"desiredState": "Running"})).await;
    env.wait_ready("orders").await;
    let revisions = env.revisions.of("orders");
    let (writes, transitions) = (revisions.len() - before - 1, transitions_of_synced(&revisions[before..]));
    eprintln!("calls fail for 3 s: {writes} writes, Synced changed {transitions} times");
    assert!(writes <= 8 && transitions <= 2, "{writes} writes, {transitions} transitions");
    operator.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_serves_one_request_a_second_or_less_gets_about_as_many() {
    let runs = [1, 2, 3].map(|seconds| async move {
        let (env, ids) = TestEnv::new(27).await;
        let interval = Duration::from_secs(seconds);
        env.service.fault(Trigger::all(), Effect::one_request_per(seconds * 1000));
        env.instance("roma", json!({"rateLimit": {"requestsPerSecond": 5}})).await;
        let _operator = Operator::start(&env).await;
        let began = Instant::now();
        env.group("orders", "Running", &ids).await;
        env.service.wait_until_all(true, &ids, Duration::from_secs(120)).await.unwrap();
        let took = began.elapsed();
        let cost = cost(&env, "orders", &env.service.calls());
        eprintln!("one request in {seconds} s: all 27 tasks started after {took:.1?}, {cost:?}");
        // One list and three calls are the least.
        assert!(took < interval * 12, "{took:?} for one request in {seconds} s");
        assert!(cost.throttled <= 8, "{cost:?}");
    });
    futures::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_a_low_rate_cost_few_lists() {
    let (env, ids) = TestEnv::new(600).await;
    env.instance("roma", json!({"rateLimit": {"requestsPerSecond": 10}, "pollIntervalSeconds": 3600})).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.service.wait_until_all(true, &ids, Duration::from_secs(60)).await.unwrap();
    let log = env.service.calls();
    let first = log.iter().position(|entry| entry.operation == Operation::Batch).unwrap();
    let last = log.iter().rposition(|entry| entry.operation == Operation::Batch).unwrap();
    let cost = cost(&env, "orders", &log[first..=last]);
    eprintln!("600 tasks at 10 requests a second: {cost:?}");
    // One of them because the events of the instance and its group come apart.
    assert!(cost.calls == 60 && cost.lists <= 2, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_throttled_together_are_one_failure() {
    for in_flight in [1, 4, 10] {
        let (env, ids) = TestEnv::new(100).await;
        env.instance("roma", json!({"rateLimit": {"maxConcurrentCalls": in_flight}})).await;
        let _operator = Operator::start(&env).await;
        env.wait_instance("roma", reasons::SIGNED_IN).await;
        let throttled = Trigger::on(Operation::Batch).lasting(Duration::from_millis(150));
        env.service.fault(throttled, Effect::throttled(None));
        let began = Instant::now();
        env.group("orders", "Running", &ids).await;
        let group = env.wait_ready("orders").await;
        let took = began.elapsed();
        let cost = cost(&env, "orders", &env.service.calls());
        eprintln!("one throttle, {in_flight} calls in flight: converged after {took:.1?}, {cost:?}");
        assert!(cost.throttled > 0, "nothing was throttled");
        assert!(took < Duration::from_secs(5), "{in_flight} calls in flight: {took:?}");
        assert!(group.status.unwrap().failures.is_empty());
        let revisions = env.revisions.of("orders");
        let ready = revisions.iter().filter_map(|group| condition(group, "Ready"));
        assert!(ready.into_iter().all(|ready| ready.reason != reasons::OBSERVATION_STALE), "no list failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_that_makes_the_service_fail_is_named_and_the_others_are_started() {
    let (env, ids) = TestEnv::new(27).await;
    let manner = Manner::Poison {
        action: None,
        status: 500,
        code: "FDI.9999".into(),
        message: "Network error.".into(),
        times: None,
    };
    env.service.set_manners(&ids[13], [manner]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let cost = cost(&env, "orders", &env.service.calls());
    eprintln!("one task of 27 makes the service answer 500: {cost:?}");
    let failures = group.status.unwrap().failures.clone();
    assert_eq!(failures.iter().map(|failure| &failure.task_id).collect::<Vec<_>>(), [&ids[13]]);
    assert_eq!(env.service.running().len(), 26);
    assert!(cost.calls <= 25 && cost.writes <= 15, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_with_a_foreign_code_is_split() {
    for (status, code) in [(400, "ROMA.13000"), (400, "Something.1"), (409, "13000"), (422, "FDI.7777")] {
        let (env, ids) = TestEnv::new(10).await;
        let manner =
            Manner::Poison { action: None, status, code: code.into(), message: "Not this one.".into(), times: None };
        env.service.set_manners(&ids[4], [manner]).unwrap();
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
        let failures = group.status.unwrap().failures.clone();
        let [failure] = &failures[..] else { panic!("{code}: {failures:?}") };
        assert_eq!((failure.task_id.as_str(), failure.code.as_str()), (ids[4].as_str(), code));
        assert!(!failure.message.contains("endpoint"), "{}", failure.message);
        assert_eq!(env.service.running().len(), 9, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_taken_back_while_a_list_is_under_way_sends_nothing() {
    let (env, ids) = TestEnv::new(9).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.service.fault(Trigger::on(Operation::List).times(1), Effect::Delay { before_ms: 1000, after_ms: 0 });
    let lists = env.service.calls().len();
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_log("the slow list", |log| log.len() > lists).await;
    env.edit("orders", json!({"desiredState": "Running"})).await;
    env.wait_ready("orders").await;
    assert_eq!(env.sent_batches().len(), 1, "{:?}", env.sent_batches());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_service_refused_costs_no_settle_window_after_a_flip() {
    let (env, ids) = TestEnv::new(5).await;
    let refusal = Effect::fdi(400, "FDI.3026", "The source database is down.");
    env.service.fault(Trigger::on(Operation::Batch), refusal);
    let _operator = Operator::start(&env).await;
    // For a group that is there before the operator, a predecessor might have sent a call.
    env.wait_instance("roma", reasons::SIGNED_IN).await;
    env.group("orders", "Running", &ids).await;
    env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let began = Instant::now();
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_ready("orders").await;
    let took = began.elapsed();
    assert!(took < fast_timings().settle_window / 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_call_that_acted_is_observed_before_anything_is_ready() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    // The recorder of the revisions compares each with what the service does.
    env.service.fault(Trigger::on(Operation::Batch).times(1), Effect::throttled(Some(1)).after_acting());
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_log("the stop", |log| log.iter().any(|entry| entry.action == Some(Action::Stop))).await;
    env.edit("orders", json!({"desiredState": "Running"})).await;
    env.wait_ready("orders").await;
    assert_eq!(env.service.running().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_delayed_by_a_sign_in_is_not_sent_after_an_opposite_edit() {
    let (env, ids) = TestEnv::for_replicas(shared().await, 10).await;
    let _operator = Operator::start(&env).await;
    env.group("other", "Stopped", &ids[9..]).await;
    env.wait_ready("other").await;
    // The token expires between the list and the call, and IAM issues the next one slowly.
    env.service.fault(Trigger::on(Operation::Batch).times(1), Effect::sign_in_refused());
    env.sim.fault(Trigger::on(Operation::Token).times(1), Effect::Delay { before_ms: 1000, after_ms: 0 });
    env.group("orders", "Running", &ids[..9]).await;
    env.wait_log("the batch with the old token", |log| log.iter().any(|e| e.operation == Operation::Batch)).await;
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_ready("orders").await;
    assert!(env.service.running().is_empty());
    let acted: usize = env.service.batch_calls().iter().map(|call| call.applied.len()).sum();
    assert_eq!(acted, 0, "{:#?}", env.service.batch_calls());
}
