//! Sequences of events, in the orders in which people cause them.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Action, Manner, NewTasks};
use serde_json::json;

use crate::harness::{Operator, TOKEN, TestEnv, ready_condition};

#[tokio::test(flavor = "multi_thread")]
async fn instance_secret_and_group_may_be_applied_in_any_order() {
    for order in ["isg", "igs", "sig", "sgi", "gis", "gsi"] {
        let (env, ids) = TestEnv::bare(2).await;
        let _operator = Operator::start(&env).await;
        for part in order.chars() {
            match part {
                'i' => env.instance("roma", json!({})).await,
                's' => env.secret("roma-credentials", &[("token", TOKEN)]).await,
                _ => env.group("orders", "Running", &ids).await,
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        env.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_reference_is_reported_at_once() {
    let (env, ids) = TestEnv::bare(1).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let group = env.wait_reason("orders", reasons::INSTANCE_NOT_FOUND).await;
    assert_eq!(ready_condition(&group).unwrap().0, ConditionStatus::Unknown);
    env.instance("roma", json!({})).await;
    env.wait_reason("orders", reasons::SECRET_NOT_FOUND).await;
    env.secret("roma-credentials", &[("password", "x")]).await;
    let group = env.wait_reason("orders", reasons::SECRET_INVALID).await;
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains(r#"the key "token" of the Secret "roma-credentials" is missing"#), "{message}");
    env.secret("roma-credentials", &[("token", TOKEN)]).await;
    env.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_cured_at_the_service_is_found_by_the_slow_retry() {
    let (env, ids) = TestEnv::new(2).await;
    env.service.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_reason("orders", reasons::TASKS_FAILED).await;
    env.service.set_manners(&ids[0], []).unwrap();
    env.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_is_not_retried_at_once_after_a_restart() {
    let (env, ids) = TestEnv::new(1).await;
    env.service.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    let operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let before = env.wait_reason("orders", reasons::TASKS_FAILED).await;
    operator.end().await;
    let calls = env.sent_batches().len();
    let _operator = Operator::start(&env).await;
    let lists = env.service.list_calls().len();
    env.wait_log("ten lists", |log| {
        log.iter().filter(|e| e.operation == fdi_simulator::Operation::List).count() > lists + 10
    })
    .await;
    assert!(env.sent_batches().len() <= calls + 1, "{} calls after the restart", env.sent_batches().len() - calls);
    assert_eq!(env.status("orders").await.failures, before.status.unwrap().failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_recreated_under_its_name_during_a_reconcile_does_not_inherit_a_status() {
    let (env, ids) = TestEnv::new(10).await;
    let delay = fdi_simulator::Effect::Delay { before_ms: 400, after_ms: 0 };
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    env.service.fault(fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch), delay);
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    let stops = |log: &[fdi_simulator::Entry]| log.iter().any(|e| e.action == Some(Action::Stop));
    env.wait_log("a stop", stops).await;
    env.delete_group("orders").await;
    env.group("orders", "Running", &ids).await;
    let uid = env.groups().get("orders").await.unwrap().metadata.uid;
    env.wait_ready("orders").await;
    let wrong = env
        .revisions
        .of("orders")
        .into_iter()
        .find(|g| g.metadata.uid == uid && g.status.as_ref().is_some_and(|s| s.observed_generation > 1));
    assert!(wrong.is_none(), "{wrong:#?}");
    assert_eq!(env.service.running().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_do_not_exist_appear_later_or_vanish_are_reported_correctly() {
    let (env, mut ids) = TestEnv::new(700).await;
    ids.extend((0..300).map(|n| format!("absent-{n:03}")));
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let status = env.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    assert_eq!((status.tasks.unwrap().ready, status.tasks.unwrap().failed), (700, 300));
    assert_eq!((status.failures.len(), status.failures_omitted), (100, Some(200)));
    assert_eq!(env.sent_batches().len(), 70);
    assert!(env.sent_batches().iter().flat_map(|(_, ids)| ids).all(|id| !id.starts_with("absent")));
    env.service.create(&NewTasks { ids: ids[700..].to_vec(), ..NewTasks::default() });
    env.wait_ready("orders").await;
    env.service.delete_task(&ids[0]).unwrap();
    let status = env.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    assert_eq!((status.failures[0].code.as_str(), &status.failures[0].task_id), ("TaskNotFound", &ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_suspension_during_a_convergence_the_calls_in_flight_are_the_last() {
    for what in ["group", "instance"] {
        let (env, ids) = TestEnv::new(300).await;
        env.service.fault(
            fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch),
            fdi_simulator::Effect::Delay { before_ms: 60, after_ms: 0 },
        );
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_log("five calls", |log| log.iter().filter(|e| e.action.is_some()).count() >= 5).await;
        if what == "group" {
            env.edit("orders", json!({"suspend": true})).await;
        } else {
            env.instance("roma", json!({"suspend": true})).await;
        }
        let at = env.sent_batches().len();
        env.wait_reason("orders", reasons::SUSPENDED).await;
        let sent = env.sent_batches().len();
        assert!(sent <= at + 4, "{what}: {} more calls", sent - at);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(env.sent_batches().len(), sent);
        if what == "group" {
            env.edit("orders", json!({"suspend": false})).await;
        } else {
            env.instance("roma", json!({"suspend": false})).await;
        }
        env.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_a_long_convergence_takes_effect_after_one_more_call_per_connection() {
    let (env, ids) = TestEnv::new(1000).await;
    env.service.fault(
        fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch),
        fdi_simulator::Effect::Delay { before_ms: 50, after_ms: 0 },
    );
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_log("ten calls", |log| log.iter().filter(|e| e.action.is_some()).count() >= 10).await;
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    let at_edit = env.sent_batches().len();
    env.wait_ready("orders").await;
    let batches = env.sent_batches();
    let starts_after = batches[at_edit..].iter().filter(|(action, _)| *action == Action::Start).count();
    // Two connections: the calls in flight at the edit, and one more on each.
    assert!(starts_after <= 4, "{starts_after} starts after the edit");
    assert!(env.service.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_edits_does_not_starve_drift_elsewhere() {
    let (env, ids) = TestEnv::new(30).await;
    let _operator = Operator::start(&env).await;
    env.group("quiet", "Running", &ids[..5]).await;
    env.group("busy", "Running", &ids[5..]).await;
    env.wait_ready("quiet").await;
    env.service.set_running(&ids[0], false).unwrap();
    let editing = async {
        for n in 0.. {
            let state = if n % 2 == 0 { "Stopped" } else { "Running" };
            env.edit("busy", json!({"desiredState": state})).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let corrected = env.service.wait_until_all(true, &ids[..1], Duration::from_secs(5));
    tokio::select! {
        () = editing => {}
        result = corrected => result.expect("corrected within 5 s under an edit every 300 ms"),
    }
}
