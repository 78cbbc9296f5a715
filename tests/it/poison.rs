//! One bad task among ten: under each way in which the service may refuse, the others move and the culprit is named.

use fdi_operator::crd::reasons;
use fdi_simulator::{
    AlreadyThere, ApplyBeforeError, Effect, ErrorShape, Manner, MissingPlan, Operation, Refusal, Trigger, UnknownId,
};
use serde_json::json;

use crate::harness::{Operator, Stage};

/// For n tasks at most 2·n − 1 calls find all culprits, however many there are.
const FOR_TEN: usize = 19;

fn poison(code: &str) -> Manner {
    Manner::Poison { action: None, status: 400, code: code.into(), message: "One of them.".into(), times: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_done_before_a_batch_was_refused_the_others_move_and_the_culprits_are_named() {
    for policy in [ApplyBeforeError::None, ApplyBeforeError::Prefix, ApplyBeforeError::AllButCulprits] {
        for culprits in [1, 3, 10] {
            let (stage, ids) = Stage::new(10).await;
            stage.service.set_policies(|policies| policies.apply_before_error = policy);
            for id in &ids[..culprits] {
                stage.service.set_manners(id, [poison("FDI.3021")]).unwrap();
            }
            let _operator = Operator::start(&stage).await;
            stage.group("orders", "Running", &ids).await;
            let group = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
            let status = group.status.unwrap();
            let calls = stage.service.batch_calls().len();
            assert!(calls <= FOR_TEN, "{policy:?}, {culprits} culprits: {calls} calls");
            assert_eq!(status.tasks.unwrap().failed, i32::try_from(culprits).unwrap());
            assert_eq!(
                status.tasks.unwrap().ready,
                i32::try_from(10 - culprits).unwrap(),
                "{policy:?} {:?}",
                status.failures
            );
            for failure in &status.failures {
                assert_eq!(failure.code, "FDI.3021");
                assert!(failure.message.contains("One of them (FDI.3021). Check the task ID"), "{}", failure.message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_plan_is_told_whether_the_service_refuses_the_whole_batch_or_the_task_in_every_shape() {
    for (policy, shape) in [
        (MissingPlan::WholeRequest, ErrorShape::Flat),
        (MissingPlan::WholeRequest, ErrorShape::Wrapped),
        (MissingPlan::FailureItem, ErrorShape::Flat),
    ] {
        let (stage, ids) = Stage::new(10).await;
        stage.service.set_policies(|policies| {
            policies.missing_plan = policy;
            policies.error_shape = shape;
        });
        stage.service.set_manners(&ids[7], [Manner::NoSchedulePlan]).unwrap();
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        let status = stage.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
        assert_eq!(status.ready_tasks.as_deref(), Some("9/10"));
        assert_eq!((status.failures[0].code.as_str(), &status.failures[0].task_id), ("FDI.3083", &ids[7]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_deleted_between_look_and_call_spoils_nothing_under_any_policy() {
    for policy in [UnknownId::Whole400, UnknownId::Whole404, UnknownId::FailureItem] {
        let (stage, ids) = Stage::new(10).await;
        stage.service.set_policies(|policies| policies.unknown_id = policy);
        // The list still shows the task that is gone.
        stage.service.fault(Trigger::on(Operation::List).times(1), Effect::Frozen);
        stage.service.delete_task(&ids[3]).unwrap();
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage
            .wait("orders", "9 ready", |g| g.status.as_ref().is_some_and(|s| s.tasks.is_some_and(|t| t.ready == 9)))
            .await;
        stage.wait_reason("orders", reasons::TASKS_FAILED).await;
        assert!(stage.service.batch_calls().len() <= FOR_TEN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_already_there_is_a_success_under_every_policy() {
    for policy in [AlreadyThere::Success, AlreadyThere::FailureItem, AlreadyThere::WholeRequest] {
        let (stage, ids) = Stage::new(10).await;
        stage.service.set_policies(|policies| policies.start_running = policy);
        // The first list is older than what happened at the console.
        stage.service.fault(Trigger::on(Operation::List).times(1), Effect::Frozen);
        for id in &ids[..5] {
            stage.service.set_running(id, true).unwrap();
        }
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        stage.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_of_the_whole_instance_costs_a_handful_of_calls_and_stalls_its_groups() {
    for code in ["FDI.3002", "FDI.3039", "FDI.7777"] {
        let (stage, ids) = Stage::new(200).await;
        stage.service.refuse_batches(Some(Refusal::fdi(400, code, "The instance is frozen.")));
        let operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        let group = stage.wait_reason("orders", reasons::BATCH_REFUSED).await;
        let message = &crate::harness::condition(&group, "Stalled").unwrap().message;
        assert!(message.contains("The instance is frozen") && message.contains(code), "{message}");
        let calls = stage.service.batch_calls().len();
        assert!(calls <= 12, "{code}: {calls} calls until it stalled");
        drop(operator);
        stage.service.refuse_batches(None);
        let _operator = Operator::start(&stage).await;
        stage.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_culprit_travels_alone_until_it_has_succeeded_once() {
    let (stage, ids) = Stage::new(10).await;
    stage.service.set_manners(&ids[0], [poison("FDI.3021")]).unwrap();
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_reason("orders", reasons::TASKS_FAILED).await;
    let before = stage.told().len();
    for id in &ids[1..] {
        stage.service.set_running(id, false).unwrap();
    }
    stage.service.wait_until_all(true, &ids[1..], crate::harness::SOON).await.unwrap();
    for (_, told) in &stage.told()[before..] {
        assert!(!told.contains(&ids[0]) || told.len() == 1, "{told:?}");
    }
    stage.service.set_manners(&ids[0], []).unwrap();
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage.wait_ready("orders").await;
}
