//! Tasks that are on and fail their runs are seen wherever people check, and cost nothing while
//! nothing changes.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, FdiTaskGroup, condition_types, event_reasons, reasons};
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
    let named: Vec<_> = group.status.unwrap().failed_runs.into_iter().map(|run| run.task_id).collect();
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
    let line = format!("fdi_operator_failing_tasks{{namespace=\"{}\",instance=\"roma\"}} 1", env.namespace);
    let metrics = process.get("/metrics").await.1;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");

    process.signal(rustix::process::Signal::TERM);
    process.ended(TIMEOUT).await;
    let _process = Process::start(&env, &["--leader-election=false"]);
    env.service.fail_runs(&ids[2], SOURCE_FAULT, None).unwrap();
    let group = env.wait("orders", "2 failing", |group| failing(group) == Some(2)).await;
    let runs = group.status.unwrap().failed_runs;
    let first = runs.iter().find(|run| run.task_id == ids[1]).unwrap();
    assert_eq!(first.since, since, "as before");
}
