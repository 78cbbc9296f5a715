//! One poison task among ten: however the service refuses it, the others start and the status names
//! it.

use fdi_operator::crd::reasons;
use fdi_simulator::{
    AlreadyThere, ApplyBeforeError, Effect, ErrorShape, Manner, MissingPlan, Operation, Refusal, Trigger, UnknownId,
};
use serde_json::json;

use crate::harness::{Operator, TestEnv};

/// For n tasks at most 2·n − 1 calls isolate all poison tasks, however many there are.
const FOR_TEN: usize = 19;

fn poison(code: &str) -> Manner {
    Manner::Poison { action: None, status: 400, code: code.into(), message: "One of them.".into(), times: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_refused_batch_already_did_the_others_start_and_poison_tasks_are_named() {
    for policy in [ApplyBeforeError::None, ApplyBeforeError::Prefix, ApplyBeforeError::AllButRefused] {
        for poisoned in [1, 3, 10] {
            let (env, ids) = TestEnv::new(10).await;
            env.service.set_policies(|policies| policies.apply_before_error = policy);
            for id in &ids[..poisoned] {
                env.service.set_manners(id, [poison("FDI.3021")]).unwrap();
            }
            let _operator = Operator::start(&env).await;
            env.group("orders", "Running", &ids).await;
            let group = env.wait_reason("orders", reasons::TASKS_FAILED).await;
            let status = group.status.unwrap();
            let calls = env.service.batch_calls().len();
            assert!(calls <= FOR_TEN, "{policy:?}, {poisoned} poisoned: {calls} calls");
            assert_eq!(status.tasks.unwrap().failed, i32::try_from(poisoned).unwrap());
            assert_eq!(
                status.tasks.unwrap().ready,
                i32::try_from(10 - poisoned).unwrap(),
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
async fn a_missing_plan_is_reported_whether_the_service_refuses_the_batch_or_the_task() {
    for (policy, shape) in [
        (MissingPlan::WholeRequest, ErrorShape::Flat),
        (MissingPlan::WholeRequest, ErrorShape::Wrapped),
        (MissingPlan::FailureItem, ErrorShape::Flat),
    ] {
        let (env, ids) = TestEnv::new(10).await;
        env.service.set_policies(|policies| {
            policies.missing_plan = policy;
            policies.error_shape = shape;
        });
        env.service.set_manners(&ids[7], [Manner::NoSchedulePlan]).unwrap();
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        let status = env.wait_reason("orders", reasons::TASKS_FAILED).await.status.unwrap();
        assert_eq!(status.ready_tasks.as_deref(), Some("9/10"));
        assert_eq!((status.failures[0].code.as_str(), &status.failures[0].task_id), ("FDI.3083", &ids[7]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_deleted_between_list_and_call_harms_no_other_under_any_policy() {
    for policy in [UnknownId::Whole400, UnknownId::Whole404, UnknownId::FailureItem] {
        let (env, ids) = TestEnv::new(10).await;
        env.service.set_policies(|policies| policies.unknown_id = policy);
        // The list still shows the task that is gone.
        env.service.fault(Trigger::on(Operation::List).times(1), Effect::Frozen);
        env.service.delete_task(&ids[3]).unwrap();
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait("orders", "9 ready", |g| g.status.as_ref().is_some_and(|s| s.tasks.is_some_and(|t| t.ready == 9)))
            .await;
        env.wait_reason("orders", reasons::TASKS_FAILED).await;
        assert!(env.service.batch_calls().len() <= FOR_TEN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_already_in_the_desired_state_is_a_success_under_every_policy() {
    for policy in [AlreadyThere::Success, AlreadyThere::FailureItem, AlreadyThere::WholeRequest] {
        let (env, ids) = TestEnv::new(10).await;
        env.service.set_policies(|policies| policies.start_running = policy);
        // The first list does not show yet what happened at the console.
        env.service.fault(Trigger::on(Operation::List).times(1), Effect::Frozen);
        for id in &ids[..5] {
            env.service.set_running(id, true).unwrap();
        }
        let _operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        env.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_concerns_the_whole_instance_costs_few_calls_and_stalls_its_groups() {
    for code in ["FDI.3002", "FDI.3039", "FDI.7777"] {
        let (env, ids) = TestEnv::new(200).await;
        env.service.refuse_batches(Some(Refusal::fdi(400, code, "The instance is frozen.")));
        let operator = Operator::start(&env).await;
        env.group("orders", "Running", &ids).await;
        let group = env.wait_reason("orders", reasons::BATCH_REFUSED).await;
        let message = &crate::harness::condition(&group, "Stalled").unwrap().message;
        assert!(message.contains("The instance is frozen") && message.contains(code), "{message}");
        let calls = env.service.batch_calls().len();
        // Two at once: a batch each, its halves, and a call each in the five back-offs until it
        // stalls and the one in which the status is written.
        assert!(calls <= 2 * (2 + 5 + 1), "{code}: {calls} calls until it stalled");
        drop(operator);
        env.service.refuse_batches(None);
        let _operator = Operator::start(&env).await;
        env.wait_ready("orders").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_task_has_its_own_batch_until_it_has_succeeded_once() {
    let (env, ids) = TestEnv::new(10).await;
    env.service.set_manners(&ids[0], [poison("FDI.3021")]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_reason("orders", reasons::TASKS_FAILED).await;
    let before = env.sent_batches().len();
    for id in &ids[1..] {
        env.service.set_running(id, false).unwrap();
    }
    env.service.wait_until_all(true, &ids[1..], crate::harness::TIMEOUT).await.unwrap();
    for (_, batch) in &env.sent_batches()[before..] {
        assert!(!batch.contains(&ids[0]) || batch.len() == 1, "{batch:?}");
    }
    env.service.set_manners(&ids[0], []).unwrap();
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    env.wait_ready("orders").await;
}
