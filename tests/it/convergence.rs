//! Issue by issue, the main job: tasks become as wanted, in the fewest calls, and then there is silence.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, event_reasons, reasons};
use fdi_simulator::{Action, Effect, Manner, Operation, Trigger};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::harness::{Operator, SOON, Stage, fast, kubectl, says};

fn starts(stage: &Stage) -> usize {
    stage.service.batch_calls().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_wait_returns_only_when_the_tasks_are_in_the_wanted_state() {
    let (stage, ids) = Stage::new(25).await;
    for id in &ids {
        stage.service.set_manners(id, [Manner::SettlesAfter { ms: 700 }]).unwrap();
    }
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let wait = ["wait", "--for=condition=Ready", "ftg/orders", "--timeout=30s", "-n", &stage.namespace];
    let waited = kubectl(&wait, "").await;
    assert!(waited.status.success(), "{}", waited.stderr);
    assert_eq!(stage.service.running().len(), 25);
    assert_eq!(starts(&stage), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_forty_two_groups_present_at_start_cost_exactly_a_hundred_calls_and_then_there_is_silence() {
    let (stage, ids) = Stage::new(994).await;
    for (n, ids) in ids.chunks(7).enumerate() {
        stage.group(&format!("g{n:03}"), "Running", ids).await;
    }
    let _operator = Operator::start(&stage).await;
    for n in 0..142 {
        stage.wait_ready(&format!("g{n:03}")).await;
    }
    assert_eq!(starts(&stage), 100);
    let versions = resource_versions(&stage).await;
    let lists = stage.service.list_calls().len();
    // Five poll intervals of ten quick seconds.
    let polls = fast().poll_interval_unit * 10 * 5;
    tokio::time::sleep(polls).await;
    assert_eq!(starts(&stage), 100);
    assert_eq!(resource_versions(&stage).await, versions, "an idle operator writes nothing");
    let lists = stage.service.list_calls().len() - lists;
    assert!((4..=10).contains(&lists), "{lists} list requests in five intervals");
}

async fn resource_versions(stage: &Stage) -> Vec<Option<String>> {
    let groups = stage.groups().list(&ListParams::default()).await.unwrap();
    let instances = stage.instances().list(&ListParams::default()).await.unwrap();
    let groups = groups.items.into_iter().map(|group| group.metadata.resource_version);
    groups.chain(instances.items.into_iter().map(|instance| instance.metadata.resource_version)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_groups_applied_one_by_one_to_a_running_operator_cost_at_most_a_hundred_and_five() {
    let (stage, ids) = Stage::new(994).await;
    stage.instance("roma", json!({"rateLimit": {"requestsPerSecond": 5}})).await;
    let _operator = Operator::start(&stage).await;
    for (n, ids) in ids.chunks(7).enumerate() {
        stage.group(&format!("g{n:03}"), "Running", ids).await;
    }
    stage.service.wait_until_all(true, &ids, Duration::from_secs(90)).await.unwrap();
    assert!(starts(&stage) <= 105, "{} calls", starts(&stage));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_switched_at_the_console_is_put_right_and_told_in_an_event() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.service.set_running(&ids[1], false).unwrap();
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    stage.wait_ready("orders").await;
    let calls = stage.service.batch_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].ids.iter().map(|id| &**id).collect::<Vec<_>>(), [&ids[1]]);
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let told = async {
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            if all.iter().any(|event| event.reason.as_deref() == Some(event_reasons::DRIFT_CORRECTED)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, told).await.expect("an event tells it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_schedule_plan_is_named_with_code_and_cure_and_the_others_move() {
    let (stage, ids) = Stage::new(10).await;
    stage.service.set_manners(&ids[4], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let group = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    let status = group.status.unwrap();
    assert_eq!(status.ready_tasks.as_deref(), Some("9/10"));
    let [failure] = &status.failures[..] else { panic!("{:?}", status.failures) };
    assert_eq!((failure.task_id.as_str(), failure.code.as_str()), (ids[4].as_str(), "FDI.3083"));
    assert!(failure.message.contains("not configured with scheduled plans"), "{}", failure.message);
    assert!(stage.service.batch_calls().len() <= 19);
    assert!(stage.service.batch_calls().iter().all(|call| !call.ids.is_empty() && call.ids.len() <= 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_is_retried_without_losing_anything() {
    let (stage, ids) = Stage::new(20).await;
    stage.service.fault(Trigger::on(Operation::Batch).times(2), Effect::fdi(500, "FDI.9999", "Network error."));
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert_eq!(stage.service.running().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_entries_of_a_200_mark_exactly_those_tasks() {
    let (stage, ids) = Stage::new(10).await;
    for id in &ids[..3] {
        let manner = Manner::Refuses {
            action: Some(Action::Start),
            code: "FDI.3081".into(),
            message: "The task does not exist.".into(),
            times: None,
        };
        stage.service.set_manners(id, [manner]).unwrap();
    }
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let group = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    let mut failed: Vec<String> = group.status.unwrap().failures.into_iter().map(|f| f.task_id).collect();
    let mut expected = ids[..3].to_vec();
    failed.sort();
    expected.sort();
    assert_eq!(failed, expected);
    assert_eq!(starts(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_convergence_and_started_again_it_converges_and_never_says_the_opposite() {
    let (stage, ids) = Stage::new(200).await;
    stage.service.fault(Trigger::on(Operation::Batch), Effect::Delay { before_ms: 20, after_ms: 20 });
    stage.group("orders", "Running", &ids).await;
    for _ in 0..4 {
        let operator = Operator::start(&stage).await;
        let before = starts(&stage);
        stage
            .sim
            .wait_for(SOON, |view| {
                (view.log().iter().filter(|e| e.action.is_some()).count() >= before + 3).then_some(())
            })
            .await
            .unwrap();
        operator.kill().await;
    }
    let _operator = Operator::start(&stage).await;
    stage.wait_ready("orders").await;
    assert!(stage.service.batch_calls().iter().all(|call| call.action == Some(Action::Start)));
    let repeated = stage.service.batch_calls().iter().map(|call| call.ids.len()).sum::<usize>() - 200;
    assert!(repeated <= 4 * 2 * 10, "{repeated} tasks were told twice: more than the calls in flight at the kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_old_status_stands_until_the_first_look() {
    let (stage, ids) = Stage::new(3).await;
    let operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let before = stage.wait_ready("orders").await;
    operator.end().await;
    let fault = stage.service.fault(Trigger::on(Operation::List), Effect::html(502));
    let _operator = Operator::start(&stage).await;
    stage
        .sim
        .wait_for(SOON, |view| (view.log().iter().filter(|e| e.status == Some(502)).count() >= 2).then_some(()))
        .await
        .unwrap();
    assert_eq!(stage.status("orders").await, before.status.clone().unwrap());
    stage.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    stage.sim.clear_fault(fault);
    stage.wait_ready("orders").await;
    assert_eq!(starts(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_an_outage_is_not_ready_before_the_tasks_were_seen_stopped() {
    let (stage, ids) = Stage::new(3).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.sim.refuse_connections(true);
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage.wait_reason("orders", reasons::OBSERVATION_STALE).await;
    let told = stage.revisions.of("orders");
    let ready = |g: &&fdi_operator::crd::FdiTaskGroup| {
        g.metadata.generation == Some(2) && says(g).is_some_and(|(s, _)| s == ConditionStatus::True)
    };
    assert!(!told.iter().any(|group| ready(&group)), "Ready before the tasks were seen stopped");
    stage.sim.refuse_connections(false);
    stage.wait_ready("orders").await;
    assert!(stage.service.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_ids_collapse_and_are_told() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &[ids.clone(), ids.clone()].concat()).await;
    let group = stage.wait_ready("orders").await;
    assert_eq!(group.status.as_ref().unwrap().ready_tasks.as_deref(), Some("2/2"));
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains("2 duplicate IDs"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_with_a_pass_and_echoed() {
    let (stage, ids) = Stage::new(1).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    let annotate = ["annotate", "ftg/orders", "reconcile.fluxcd.io/requestedAt=now-please", "-n", &stage.namespace];
    assert!(kubectl(&annotate, "").await.status.success());
    let echoed = |g: &fdi_operator::crd::FdiTaskGroup| {
        g.status.as_ref().unwrap().last_handled_reconcile_at.as_deref() == Some("now-please")
    };
    stage.wait("orders", "echoed", echoed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_group_is_observed_and_nothing_is_sent_for_it() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group_with("orders", "Running", &ids, json!({"suspend": true})).await;
    stage.wait_reason("orders", reasons::SUSPENDED).await;
    assert_eq!(starts(&stage), 0);
    stage.edit("orders", json!({"suspend": false})).await;
    stage.wait_ready("orders").await;
}
