//! Tasks that are on and fail their runs are seen wherever people check, and cost nothing while
//! nothing changes.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, FdiTaskGroup, condition_types, event_reasons, reasons};
use fdi_simulator::{Entry, LastRun, MonitorFields, MonitorOrder, Monitoring, Operation};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::harness::{Operator, Process, TIMEOUT, TestEnv, condition, fast_timings, is_ready, kubectl};

/// A run that failed at the source.
const SOURCE_FAULT: u16 = 103;

/// How many of the group's tasks fail their runs, if its condition says the same.
fn failing(group: &FdiTaskGroup) -> Option<i32> {
    let runs = condition(group, condition_types::RUNS_HEALTHY)?;
    let failing = group.status.as_ref()?.tasks?.failing;
    assert_eq!(runs.status == ConditionStatus::False, failing > 0, "{runs:?}");
    Some(failing)
}

async fn wait_event(env: &TestEnv, reason: &str) -> String {
    let events: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let published = async {
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            if let Some(event) = all.into_iter().find(|event| event.reason.as_deref() == Some(reason)) {
                return event.note.unwrap_or_default();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, published).await.unwrap_or_else(|_| panic!("no event {reason}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_25_tasks_that_fail_their_runs_are_seen_within_a_poll_and_gone_once_cured() {
    let (env, ids) = TestEnv::new(25).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    for id in [&ids[3], &ids[7], &ids[20]] {
        // As often as the operator polls, so that most lists meet it in another phase of a run.
        env.service.fail_runs(id, SOURCE_FAULT, Some(Duration::from_millis(70))).unwrap();
    }
    let group = env.wait("orders", "3 failing", |group| failing(group) == Some(3)).await;
    assert!(is_ready(&group), "the tasks are on, as they should be");
    let named: Vec<_> = group.status.unwrap().failed_runs.iter().map(|run| run.task_id.clone()).collect();
    assert!(named.len() == 3 && [&ids[3], &ids[7], &ids[20]].into_iter().all(|id| named.contains(id)), "{named:?}");
    let get = kubectl(&["get", "ftg", "orders", "-n", &env.namespace], "").await.stdout;
    let (header, row) = get.split_once('\n').unwrap();
    let column = header.find("FAILING").expect("a column FAILING");
    assert!(row[column..].starts_with("3 "), "{get}");
    let describe = kubectl(&["describe", "ftg", "orders", "-n", &env.namespace], "").await.stdout;
    assert!(describe.contains(reasons::RUNS_FAILED) && describe.contains(&ids[7]), "{describe}");
    let note = wait_event(&env, event_reasons::RUNS_FAILED).await;
    assert!(note.contains("3 tasks"), "{note}");

    let version = env.groups().get("orders").await.unwrap().resource_version();
    let lists = env.service.list_calls().len();
    tokio::time::sleep(fast_timings().poll_interval_unit * 10 * 12).await;
    assert!(env.service.list_calls().len() >= lists + 10, "ten polls went by");
    let group = env.groups().get("orders").await.unwrap();
    assert_eq!(group.resource_version(), version, "nothing is written while the same tasks fail: {group:#?}");

    for id in [&ids[3], &ids[7], &ids[20]] {
        env.service.recover_runs(id).unwrap();
    }
    let group = env.wait("orders", "none failing", |group| failing(group) == Some(0)).await;
    assert!(group.status.unwrap().failed_runs.is_empty());
    assert!(wait_event(&env, event_reasons::RUNS_RECOVERED).await.contains("run without errors again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metric_counts_failing_tasks_and_since_when_they_fail_survives_a_restart() {
    let (env, ids) = TestEnv::new(5).await;
    env.instance("roma", json!({"pollIntervalSeconds": 10})).await;
    env.group("orders", "Running", &ids).await;
    let mut process = Process::start(&env, &["--leader-election=false"]);
    env.wait_ready("orders").await;
    env.service.fail_runs(&ids[1], SOURCE_FAULT, None).unwrap();
    let group = env.wait("orders", "1 failing", |group| failing(group) == Some(1)).await;
    let since = group.status.unwrap().failed_runs[0].since.clone();
    let line = format!("fdi_operator_failing_tasks{{exported_namespace=\"{}\",name=\"roma\"}} 1", env.namespace);
    let metrics = process.get("/metrics").await.1;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");

    process.signal(rustix::process::Signal::TERM);
    process.ended(TIMEOUT).await;
    let _process = Process::start(&env, &["--leader-election=false"]);
    env.service.fail_runs(&ids[2], SOURCE_FAULT, None).unwrap();
    let group = env.wait("orders", "2 failing", |group| failing(group) == Some(2)).await;
    let runs = group.status.unwrap().failed_runs.clone();
    let first = runs.iter().find(|run| run.task_id == ids[1]).unwrap();
    assert_eq!(first.since, since, "as before");
}

/// The tasks whose monitor logs were requested so far.
fn logs_requested(env: &TestEnv) -> Vec<String> {
    let calls = env.service.calls().into_iter().filter(|call| call.operation == Operation::MonitorLogs);
    calls.flat_map(|call| call.ids.iter().map(ToString::to_string).collect::<Vec<_>>()).collect()
}

/// The causes in the status, if all of so many failed runs have one.
fn causes(group: &FdiTaskGroup, count: usize) -> Option<Vec<String>> {
    let runs = &group.status.as_ref()?.failed_runs;
    let causes: Vec<String> = runs.iter().filter_map(|run| run.cause.clone()).collect();
    (causes.len() == count).then_some(causes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_each_failed_run_is_named_for_one_request_whatever_the_log_is_like() {
    for (order, fields) in
        [(MonitorOrder::NewestFirst, MonitorFields::SnakeCase), (MonitorOrder::OldestFirst, MonitorFields::CamelCase)]
    {
        let (env, ids) = TestEnv::new(3).await;
        env.service.set_policies(|policies| (policies.monitor_order, policies.monitor_fields) = (order, fields));
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
        for (id, code) in ids.iter().zip([SOURCE_FAULT, 503, 914]) {
            env.service.record_run(id, LastRun::Success, None).unwrap();
            env.service.fail_runs(id, code, None).unwrap();
        }
        let group = env.wait("orders", "explained", |group| causes(group, 3).is_some()).await;
        let mut causes = causes(&group, 3).unwrap();
        causes.sort();
        assert!(causes[0].starts_with("103 (fault of the source): The source is faulty"), "{causes:?}");
        assert!(causes[1].starts_with("503 (fault of the target)") && causes[2].starts_with("914 (rejected"));
        tokio::time::sleep(fast_timings().poll_interval_unit * 10 * 3).await;
        assert_eq!(logs_requested(&env).len(), 3, "one request for each task and failure");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_forbidden_or_missing_cost_one_request_and_the_cause() {
    for monitoring in [Monitoring::Forbidden, Monitoring::Missing] {
        let (env, ids) = TestEnv::new(3).await;
        env.service.set_policies(|policies| policies.monitoring = monitoring);
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
        for id in &ids {
            env.service.fail_runs(id, SOURCE_FAULT, None).unwrap();
        }
        env.wait("orders", "3 failing", |group| failing(group) == Some(3)).await;
        env.wait_log("a refused log", |log| log.iter().any(|entry| entry.operation == Operation::MonitorLogs)).await;
        let lists = env.service.list_calls().len();
        let polls = |log: &[Entry]| log.iter().filter(|entry| entry.operation == Operation::List).count();
        env.wait_log("more polls", |log| polls(log) > lists + 3).await;
        assert_eq!(logs_requested(&env).len(), 1, "{monitoring:?}");
        let group = env.groups().get("orders").await.unwrap();
        assert!(causes(&group, 0).is_some() && is_ready(&group), "{group:#?}");
        assert!(condition(&group, condition_types::SYNCED).unwrap().is_true(), "nothing else suffers");
        env.wait_instance("roma", reasons::SIGNED_IN).await;
        env.edit("orders", json!({"desiredState": "Stopped"})).await;
        env.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_tasks_that_fail_at_once_cost_a_bounded_number_of_requests_and_writes() {
    let (env, ids) = TestEnv::new(300).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    let revisions = env.revisions.of("orders").len();
    for id in &ids {
        env.service.fail_runs(id, SOURCE_FAULT, None).unwrap();
    }
    let group = env.wait("orders", "explained", |group| causes(group, 50).is_some()).await;
    assert_eq!(failing(&group), Some(300));
    tokio::time::sleep(fast_timings().poll_interval_unit * 10 * 3).await;
    assert_eq!(logs_requested(&env).len(), 50, "only for those that the status names");
    let writes = env.revisions.of("orders").len() - revisions;
    assert!(writes <= 2 + 5 + 1, "{writes} writes");
    let size = serde_json::to_vec(&group.status).unwrap().len();
    assert!(size < 24 * 1024, "{size} bytes");
}
