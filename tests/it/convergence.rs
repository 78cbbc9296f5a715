//! Convergence: tasks reach the desired state in the fewest calls, and then the operator is silent.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, event_reasons, reasons};
use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::harness::{Operator, TIMEOUT, TestEnv, fast_timings, kubectl, ready_condition};

fn call_count(env: &TestEnv) -> usize {
    env.service.batch_calls().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_wait_returns_only_once_the_tasks_are_in_the_desired_state() {
    let (env, ids) = TestEnv::new(25).await;
    for id in &ids {
        env.service.set_manners(id, [Manner::SettlesAfter { ms: 700 }]).unwrap();
    }
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let wait = ["wait", "--for=condition=Ready", "ftg/orders", "--timeout=30s", "-n", &env.namespace];
    let waited = kubectl(&wait, "").await;
    assert!(waited.status.success(), "{}", waited.stderr);
    assert_eq!(env.service.running().len(), 25);
    assert_eq!(call_count(&env), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_142_groups_costs_exactly_100_calls_and_then_nothing() {
    let (env, ids) = TestEnv::new(994).await;
    for (n, ids) in ids.chunks(7).enumerate() {
        env.group(&format!("g{n:03}"), "Running", ids).await;
    }
    let _operator = Operator::start(&env).await;
    for n in 0..142 {
        env.wait_ready(&format!("g{n:03}")).await;
    }
    assert_eq!(call_count(&env), 100);
    let versions = resource_versions(&env).await;
    let lists = env.service.list_calls().len();
    // Five poll intervals of ten shortened seconds.
    let polls = fast_timings().poll_interval_unit * 10 * 5;
    tokio::time::sleep(polls).await;
    assert_eq!(call_count(&env), 100);
    assert_eq!(resource_versions(&env).await, versions, "an idle operator writes nothing");
    let lists = env.service.list_calls().len() - lists;
    assert!((4..=10).contains(&lists), "{lists} list requests in five intervals");
}

async fn resource_versions(env: &TestEnv) -> Vec<Option<String>> {
    let groups = env.groups().list(&ListParams::default()).await.unwrap();
    let instances = env.instances().list(&ListParams::default()).await.unwrap();
    let groups = groups.items.into_iter().map(|group| group.metadata.resource_version);
    groups.chain(instances.items.into_iter().map(|instance| instance.metadata.resource_version)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_groups_applied_one_by_one_cost_at_most_105_calls() {
    let (env, ids) = TestEnv::new(994).await;
    env.instance("roma", json!({"rateLimit": {"requestsPerSecond": 5}})).await;
    let _operator = Operator::start(&env).await;
    for (n, ids) in ids.chunks(7).enumerate() {
        env.group(&format!("g{n:03}"), "Running", ids).await;
    }
    env.service.wait_until_all(true, &ids, Duration::from_secs(90)).await.unwrap();
    assert!(call_count(&env) <= 105, "{} calls", call_count(&env));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_switched_at_the_console_is_corrected_and_an_event_reports_it() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.service.set_running(&ids[1], false).unwrap();
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    env.wait_ready("orders").await;
    let calls = env.service.batch_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].ids.iter().map(|id| &**id).collect::<Vec<_>>(), [&ids[1]]);
    let events: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let published = async {
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            if all.iter().any(|event| event.reason.as_deref() == Some(event_reasons::DRIFT_CORRECTED)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, published).await.expect("an event reports the correction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_schedule_plan_is_named_with_code_and_cure_and_the_others_start() {
    let (env, ids) = TestEnv::new(10).await;
    env.service.set_manners(&ids[4], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let status = group.status.unwrap();
    assert_eq!(status.ready_tasks.as_deref(), Some("9/10"));
    let [failure] = &status.failures[..] else { panic!("{:?}", status.failures) };
    assert_eq!((failure.task_id.as_str(), failure.code.as_str()), (ids[4].as_str(), "FDI.3083"));
    assert!(failure.message.contains("not configured with scheduled plans"), "{}", failure.message);
    assert!(env.service.batch_calls().len() <= 19);
    assert!(env.service.batch_calls().iter().all(|call| !call.ids.is_empty() && call.ids.len() <= 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_is_retried_without_losing_anything() {
    let (env, ids) = TestEnv::new(20).await;
    env.service.fault(Trigger::on(Operation::Batch).times(2), Effect::fdi(500, "FDI.9999", "Network error."));
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    assert_eq!(env.service.running().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_entries_of_a_200_mark_exactly_those_tasks() {
    let (env, ids) = TestEnv::new(10).await;
    for id in &ids[..3] {
        let manner = Manner::Refuses {
            action: Some(Action::Start),
            code: "FDI.3081".into(),
            message: "The task does not exist.".into(),
            times: None,
        };
        env.service.set_manners(id, [manner]).unwrap();
    }
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let mut failed: Vec<String> = group.status.unwrap().failures.iter().map(|f| f.task_id.clone()).collect();
    let mut expected = ids[..3].to_vec();
    failed.sort();
    expected.sort();
    assert_eq!(failed, expected);
    assert_eq!(call_count(&env), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kills_during_a_convergence_it_converges_and_never_sends_the_opposite_call() {
    let (env, ids) = TestEnv::new(200).await;
    env.service.fault(Trigger::on(Operation::Batch), Effect::Delay { before_ms: 20, after_ms: 20 });
    env.group("orders", "Running", &ids).await;
    for _ in 0..4 {
        let operator = Operator::start(&env).await;
        let before = call_count(&env);
        env.sim
            .wait_for(TIMEOUT, |view| {
                (view.log().iter().filter(|e| e.action.is_some()).count() >= before + 3).then_some(())
            })
            .await
            .unwrap();
        operator.kill().await;
    }
    let _operator = Operator::start(&env).await;
    env.wait_ready("orders").await;
    assert!(env.service.batch_calls().iter().all(|call| call.action == Some(Action::Start)));
    let repeated = env.service.batch_calls().iter().map(|call| call.ids.len()).sum::<usize>() - 200;
    assert!(repeated <= 4 * 2 * 10, "{repeated} tasks were started twice: more than were in flight at the kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_old_status_stands_until_the_first_list() {
    let (env, ids) = TestEnv::new(3).await;
    let operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let before = env.wait_ready("orders").await;
    operator.end().await;
    let fault = env.service.fault(Trigger::on(Operation::List), Effect::html(502));
    let _operator = Operator::start(&env).await;
    env.sim
        .wait_for(TIMEOUT, |view| (view.log().iter().filter(|e| e.status == Some(502)).count() >= 2).then_some(()))
        .await
        .unwrap();
    assert_eq!(env.status("orders").await, *before.status.clone().unwrap());
    env.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    env.sim.clear_fault(fault);
    env.wait_ready("orders").await;
    assert_eq!(call_count(&env), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_an_outage_is_not_ready_before_the_tasks_are_observed_stopped() {
    let (env, ids) = TestEnv::new(3).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.sim.refuse_connections(true);
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    let revisions = env.revisions.of("orders");
    let ready = |g: &&fdi_operator::crd::FdiTaskGroup| {
        g.metadata.generation == Some(2) && ready_condition(g).is_some_and(|(s, _)| s == ConditionStatus::True)
    };
    assert!(!revisions.iter().any(|group| ready(&group)), "Ready before the tasks were observed stopped");
    env.sim.refuse_connections(false);
    env.wait_ready("orders").await;
    assert!(env.service.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_ids_count_once_and_the_message_reports_them() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &[ids.clone(), ids.clone()].concat()).await;
    let group = env.wait_ready("orders").await;
    assert_eq!(group.status.as_ref().unwrap().ready_tasks.as_deref(), Some("2/2"));
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains("2 duplicate IDs"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_causes_a_reconcile_and_is_echoed() {
    let (env, ids) = TestEnv::new(1).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    let annotate = ["annotate", "ftg/orders", "reconcile.fluxcd.io/requestedAt=now-please", "-n", &env.namespace];
    assert!(kubectl(&annotate, "").await.status.success());
    let echoed = |g: &fdi_operator::crd::FdiTaskGroup| {
        g.status.as_ref().unwrap().last_handled_reconcile_at.as_deref() == Some("now-please")
    };
    env.wait("orders", "echoed", echoed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_group_is_observed_and_nothing_is_sent_for_it() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group_with("orders", "Running", &ids, json!({"suspend": true})).await;
    env.wait_reason("orders", reasons::SUSPENDED).await;
    assert_eq!(call_count(&env), 0);
    env.edit("orders", json!({"suspend": false})).await;
    env.wait_ready("orders").await;
}
