//! One bad task among ten: whatever way the service has of refusing, the others move, and the culprit says why.

use std::collections::HashMap;

use fdi_operator::crd::{ConditionStatus, reasons};
use fdi_simulator::{Action, AlreadyThere, ApplyBeforeError, ErrorShape, Manner, MissingPlan};

use crate::harness::{Operator, Stage, says};

/// Ten tasks under every way of refusing a task without schedule plan, with these culprits.
async fn matrix(culprits: &[usize]) {
    let operator_and_stage = async |shape, plan, applied| {
        let (stage, ids) = Stage::new(10).await;
        stage.service.set_policies(|policies| {
            policies.error_shape = shape;
            policies.missing_plan = plan;
            policies.apply_before_error = applied;
            policies.start_running = AlreadyThere::FailureItem;
        });
        for &culprit in culprits {
            stage.service.set_manners(&ids[culprit], [Manner::NoSchedulePlan]).unwrap();
        }
        let operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        let group = stage.wait_reason("orders", reasons::TASKS_FAILED).await;
        let what = format!("{shape:?} {plan:?} {applied:?} {culprits:?}");
        let status = group.status.unwrap();
        assert_eq!(status.ready_tasks, Some(format!("{}/10", 10 - culprits.len())), "{what}");
        let mut failed: Vec<_> = status.failures.iter().map(|f| (f.task_id.clone(), f.code.clone())).collect();
        let mut expected: Vec<_> = culprits.iter().map(|&n| (ids[n].clone(), "FDI.3083".to_owned())).collect();
        failed.sort();
        expected.sort();
        assert_eq!(failed, expected, "{what}");
        assert!(status.failures.iter().all(|f| f.message.contains("schedule plan")), "{what}: {:?}", status.failures);
        assert_eq!(stage.service.running().len(), 10 - culprits.len(), "{what}");
        let calls = stage.service.batch_calls();
        assert!(calls.len() <= 19, "{what}: {} calls", calls.len());
        assert!(calls.iter().all(|call| call.action == Some(Action::Start)), "{what}");
        let mut accepted: HashMap<_, usize> = HashMap::new();
        calls.iter().flat_map(|call| &call.applied).for_each(|id| *accepted.entry(id.clone()).or_default() += 1);
        assert!(accepted.values().all(|&times| times == 1), "{what}: a task that had been started was started again");
        operator.end().await;
    };
    for applied in [ApplyBeforeError::None, ApplyBeforeError::Prefix, ApplyBeforeError::AllButCulprits] {
        for shape in [ErrorShape::Flat, ErrorShape::Wrapped] {
            operator_and_stage(shape, MissingPlan::WholeRequest, applied).await;
        }
    }
    operator_and_stage(ErrorShape::Flat, MissingPlan::FailureItem, ApplyBeforeError::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_culprit_stands_alone_in_at_most_nineteen_calls_and_nine_tasks_move() {
    matrix(&[4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_three_culprits_spread_over_the_batch() {
    matrix(&[0, 5, 9]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_all_ten() {
    matrix(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_instance_is_no_tasks_fault_and_costs_no_thousand_calls() {
    for code in ["FDI.3002", "FDI.3039", "FDI.4711"] {
        let (stage, ids) = Stage::new(1000).await;
        stage.service.refuse_batches(Some(fdi_simulator::Refusal::fdi(400, code, "Not today.")));
        let _operator = Operator::start(&stage).await;
        stage.group("orders", "Running", &ids).await;
        let group = stage.wait_reason("orders", reasons::BATCH_REFUSED).await;
        assert_eq!(says(&group).unwrap().0, ConditionStatus::Unknown, "{code}");
        let calls = stage.service.batch_calls().len();
        assert!(calls <= 12, "{code}: {calls} calls until the group stalled");
        stage.service.refuse_batches(None);
        stage.wait_ready("orders").await;
    }
}
