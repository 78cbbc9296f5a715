//! Things that happen one after the other, in every order that people make them happen.

use std::time::Duration;

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Action, Manner, NewTasks};
use serde_json::json;

use crate::harness::{Operator, Stage, TOKEN, says};

#[tokio::test(flavor = "multi_thread")]
async fn instance_secret_and_group_may_be_applied_in_any_order() {
    for order in ["isg", "igs", "sig", "sgi", "gis", "gsi"] {
        let (stage, ids) = Stage::bare(2).await;
        let _operator = Operator::start(&stage).await;
        for part in order.chars() {
            match part {
                'i' => stage.instance("roma", json!({})).await,
                's' => stage.secret("roma-credentials", &[("token", TOKEN)]).await,
                _ => stage.group("orders", "Running", &ids).await,
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        stage.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_at_once() {
    let (stage, ids) = Stage::bare(1).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let group = stage.wait_reason("orders", reasons::INSTANCE_NOT_FOUND).await;
    assert_eq!(says(&group).unwrap().0, ConditionStatus::Unknown);
    stage.instance("roma", json!({})).await;
    stage.wait_reason("orders", reasons::SECRET_NOT_FOUND).await;
    stage.secret("roma-credentials", &[("password", "x")]).await;
    let group = stage.wait_reason("orders", reasons::SECRET_INVALID).await;
    let message = &crate::harness::condition(&group, "Ready").unwrap().message;
    assert!(message.contains(r#"the key "token" of the Secret "roma-credentials" is missing"#), "{message}");
    stage.secret("roma-credentials", &[("token", TOKEN)]).await;
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_failure_cured_at_the_service_is_found_by_the_slow_retry_or_a_request() {
    let (stage, ids) = Stage::new(2).await;
    stage.service.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    stage.service.set_manners(&ids[0], []).unwrap();
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_failure_is_not_hammered_after_a_restart() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    let operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let before = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    operator.end().await;
    let calls = stage.told().len();
    let _operator = Operator::start(&stage).await;
    let lists = stage.service.list_calls().len();
    stage
        .wait_log("ten looks", |log| {
            log.iter().filter(|e| e.operation == fdi_simulator::Operation::List).count() > lists + 10
        })
        .await;
    assert!(stage.told().len() <= calls + 1, "{} calls after the restart", stage.told().len() - calls);
    assert_eq!(stage.status("orders").await.failures, before.status.unwrap().failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_recreated_under_its_name_during_a_pass_does_not_inherit_a_status() {
    let (stage, ids) = Stage::new(10).await;
    let delay = fdi_simulator::Effect::Delay { before_ms: 400, after_ms: 0 };
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.service.fault(fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch), delay);
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    let stops = |log: &[fdi_simulator::Entry]| log.iter().any(|e| e.action == Some(Action::Stop));
    stage.wait_log("a stop", stops).await;
    stage.delete_group("orders").await;
    stage.group("orders", "Running", &ids).await;
    let uid = stage.groups().get("orders").await.unwrap().metadata.uid;
    stage.wait_ready("orders").await;
    let wrong = stage
        .revisions
        .of("orders")
        .into_iter()
        .find(|g| g.metadata.uid == uid && g.status.as_ref().is_some_and(|s| s.observed_generation > 1));
    assert!(wrong.is_none(), "{wrong:#?}");
    assert_eq!(stage.service.running().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_come_later_go_at_the_service_and_many_do_not_exist() {
    let (stage, mut ids) = Stage::new(700).await;
    ids.extend((0..300).map(|n| format!("absent-{n:03}")));
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let status = stage.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    assert_eq!((status.tasks.unwrap().ready, status.tasks.unwrap().failed), (700, 300));
    assert_eq!((status.failures.len(), status.failures_omitted), (100, Some(200)));
    assert_eq!(stage.told().len(), 70);
    assert!(stage.told().iter().flat_map(|(_, ids)| ids).all(|id| !id.starts_with("absent")));
    stage.service.create(&NewTasks { ids: ids[700..].to_vec(), ..NewTasks::default() });
    stage.wait_ready("orders").await;
    stage.service.delete_task(&ids[0]).unwrap();
    let status = stage.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    assert_eq!((status.failures[0].code.as_str(), &status.failures[0].task_id), ("TaskNotFound", &ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_during_a_convergence_the_calls_in_flight_are_the_last() {
    for what in ["group", "instance"] {
        let (stage, ids) = Stage::new(300).await;
        stage.service.fault(
            fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch),
            fdi_simulator::Effect::Delay { before_ms: 60, after_ms: 0 },
        );
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_log("five calls", |log| log.iter().filter(|e| e.action.is_some()).count() >= 5).await;
        if what == "group" {
            stage.edit("orders", json!({"suspend": true})).await;
        } else {
            stage.instance("roma", json!({"suspend": true})).await;
        }
        let at = stage.told().len();
        stage.wait_reason("orders", reasons::SUSPENDED).await;
        let sent = stage.told().len();
        assert!(sent <= at + 4, "{what}: {} more calls", sent - at);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(stage.told().len(), sent);
        if what == "group" {
            stage.edit("orders", json!({"suspend": false})).await;
        } else {
            stage.instance("roma", json!({"suspend": false})).await;
        }
        stage.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_a_convergence_of_a_thousand_tasks_takes_effect_after_one_more_call_per_connection() {
    let (stage, ids) = Stage::new(1000).await;
    stage.service.fault(
        fdi_simulator::Trigger::on(fdi_simulator::Operation::Batch),
        fdi_simulator::Effect::Delay { before_ms: 50, after_ms: 0 },
    );
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_log("ten calls", |log| log.iter().filter(|e| e.action.is_some()).count() >= 10).await;
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    let at_edit = stage.told().len();
    stage.wait_ready("orders").await;
    let told = stage.told();
    let starts_after = told[at_edit..].iter().filter(|(action, _)| *action == Action::Start).count();
    // Two connections: those in flight at the edit, and one more each.
    assert!(starts_after <= 4, "{starts_after} starts after the edit");
    assert!(stage.service.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_edits_does_not_starve_drift_elsewhere() {
    let (stage, ids) = Stage::new(30).await;
    let _operator = Operator::start(&stage).await;
    stage.group("quiet", "Running", &ids[..5]).await;
    stage.group("busy", "Running", &ids[5..]).await;
    stage.wait_ready("quiet").await;
    stage.service.set_running(&ids[0], false).unwrap();
    let editing = async {
        for n in 0.. {
            let wish = if n % 2 == 0 { "Stopped" } else { "Running" };
            stage.edit("busy", json!({"desiredState": wish})).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let put_right = stage.service.wait_until_all(true, &ids[..1], Duration::from_secs(5));
    tokio::select! {
        () = editing => {}
        right = put_right => right.expect("corrected within 5 s under an edit every 300 ms"),
    }
}
