//! Things that come in any order, go, and come back.

use fdi_operator::crd::reasons;
use fdi_simulator::Manner;
use serde_json::json;

use crate::harness::{Operator, Stage, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn instance_secret_and_group_may_be_applied_in_any_order() {
    for order in ["isg", "igs", "sig", "sgi", "gis", "gsi"] {
        let (stage, ids) = Stage::bare(3).await;
        let operator = Operator::start(&stage).await;
        let mut there = String::new();
        for what in order.chars() {
            match what {
                'i' => stage.instance("roma", json!({})).await,
                's' => stage.secret("roma-credentials", &[("token", TOKEN)]).await,
                _ => stage.group("orders", "Running", &ids).await,
            }
            there.push(what);
            match (there.contains('g'), there.contains('i'), there.contains('s')) {
                (true, false, _) => drop(stage.wait_reason("orders", reasons::INSTANCE_NOT_FOUND).await),
                (true, true, false) => drop(stage.wait_reason("orders", reasons::SECRET_NOT_FOUND).await),
                _ => {}
            }
        }
        stage.wait_ready("orders").await;
        assert_eq!(stage.service.batch_calls().len(), 1, "{order}");
        operator.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stalls_and_a_rotated_secret_cures_it() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.sim.revoke_all_tokens();
    stage.wait_reason("orders", reasons::SIGN_IN_REFUSED).await;
    let token = stage.sim.issue_token(crate::harness::PROJECT);
    stage.secret("roma-credentials", &[("token", &token)]).await;
    stage.wait_ready("orders").await;
    assert_eq!(stage.service.batch_calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_cured_at_the_service_is_tried_at_once_on_request() {
    let (stage, ids) = Stage::new(2).await;
    stage.service.set_manners(&ids[0], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    stage.service.set_manners(&ids[0], []).unwrap();
    let annotate = ["annotate", "ftg/orders", "reconcile.fluxcd.io/requestedAt=cured", "-n", &stage.namespace];
    assert!(crate::harness::kubectl(&annotate, "").await.status.success());
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_recreated_under_its_name_inherits_nothing() {
    let (stage, ids) = Stage::new(2).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    stage.delete_group("orders").await;
    stage.group("orders", "Stopped", &ids).await;
    let group = stage.wait("orders", "Ready, stopped", |g| {
        g.spec.desired_state == fdi_operator::crd::DesiredState::Stopped
            && crate::harness::says(g).is_some_and(|(ready, _)| ready == fdi_operator::crd::ConditionStatus::True)
    });
    group.await;
    assert!(stage.service.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_ids_three_hundred_of_which_do_not_exist_only_the_others_are_called() {
    let (stage, mut ids) = Stage::new(700).await;
    ids.extend((0..300).map(|n| format!("not-there-{n:03}")));
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let status = stage.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
    let tasks = status.tasks.unwrap();
    assert_eq!((tasks.ready, tasks.failed), (700, 300));
    assert_eq!((status.failures.len(), status.failures_omitted), (100, Some(200)));
    assert_eq!(stage.service.batch_calls().len(), 70);
}
