//! Tasks chosen by name and by selector, on the real API server: what is renamed, made and deleted
//! at the console, and groups that overlap.

use fdi_operator::crd::{FdiTaskGroup, failure_codes, reasons};
use fdi_simulator::{Action, NewTasks};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Operator, TestEnv, kubectl};

/// Creates tasks of these names with a tag.
fn create(env: &TestEnv, names: &[&str], tag: &str) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let count = names.len();
    env.service.create(&NewTasks { names, count, task_tag: Some(tag.to_owned()), ..NewTasks::default() })
}

async fn group(env: &TestEnv, name: &str, state: &str, choice: Value) {
    let mut spec = choice;
    spec["taskIds"] = Value::Null;
    env.group_with(name, state, &[], spec).await;
}

/// Has the instance listed now.
async fn list_again(env: &TestEnv, group: &str, token: &str) -> FdiTaskGroup {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    env.groups().patch(group, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    env.wait(group, token, |group| {
        group.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(token))
    })
    .await
}

fn matched(group: &FdiTaskGroup) -> Option<i32> {
    Some(group.status.as_ref()?.selection.as_ref()?.matched)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_follows_the_console_and_calls_only_what_it_takes_in() {
    let (env, _) = TestEnv::new(0).await;
    let nightly = create(&env, &["orders-1", "orders-2", "orders-3"], "nightly");
    create(&env, &["reports-1"], "hourly");
    let _operator = Operator::start(&env).await;
    group(&env, "nightly", "Running", json!({"selector": {"tags": ["nightly"], "exclude": {"names": ["*-3"]}}})).await;
    let ready = env.wait_ready("nightly").await;
    assert_eq!(matched(&ready), Some(2));
    assert_eq!(env.sent_batches(), [(Action::Start, nightly[..2].to_vec())]);

    let more = create(&env, &["orders-4"], "nightly");
    list_again(&env, "nightly", "one more").await;
    env.wait("nightly", "three tasks", |group| crate::harness::is_ready(group) && matched(group) == Some(3)).await;
    assert_eq!(env.sent_batches()[1..], [(Action::Start, more.clone())]);

    env.service.delete_task(&more[0]).unwrap();
    list_again(&env, "nightly", "first list without it").await;
    list_again(&env, "nightly", "second list without it").await;
    env.wait("nightly", "two tasks", |group| crate::harness::is_ready(group) && matched(group) == Some(2)).await;
    env.service.rename_task(&nightly[1], "archive-3").unwrap();
    list_again(&env, "nightly", "first list with the other name").await;
    list_again(&env, "nightly", "second list with the other name").await;
    env.wait("nightly", "one task", |group| crate::harness::is_ready(group) && matched(group) == Some(1)).await;
    assert_eq!(env.sent_batches().len(), 2, "nothing was called for what left");
    let events = kubectl(&["events", "-n", &env.namespace, "--for", "fditaskgroup/nightly"], "").await.stdout;
    assert!(events.contains("SelectionChanged") && events.contains("1 task chosen no longer: archive-3"), "{events}");
    let instance = env.instances().get("roma").await.unwrap().status.unwrap().tasks.unwrap();
    assert_eq!((instance.total, instance.managed, instance.unmanaged), (4, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_beats_what_is_selected_and_a_wrong_name_is_reported_with_it() {
    let (env, _) = TestEnv::new(0).await;
    let ids = create(&env, &["a", "b", "twice", "twice"], "");
    let _operator = Operator::start(&env).await;
    group(&env, "all", "Stopped", json!({"selector": {"names": ["*"]}})).await;
    env.wait_ready("all").await;
    group(&env, "some", "Running", json!({"taskNames": ["a", "twice"]})).await;
    let group = env.wait_reason("some", reasons::TASKS_FAILED).await;
    let status = group.status.unwrap();
    assert_eq!((status.failures[0].task_name.as_str(), status.failures[0].task_id.as_str()), ("twice", ""));
    assert_eq!(status.failures[0].code, failure_codes::TASK_NAME_AMBIGUOUS);
    assert!(ids[2..].iter().all(|id| status.failures[0].message.contains(id)), "{}", status.failures[0].message);
    assert_eq!(env.sent_batches(), [(Action::Start, vec![ids[0].clone()])]);
    env.wait("all", "one overridden", |group| {
        let selection = group.status.as_ref().and_then(|status| status.selection.clone());
        crate::harness::is_ready(group) && selection.is_some_and(|found| (found.matched, found.overridden) == (4, 1))
    })
    .await;
    env.service.rename_task(&ids[3], "once").unwrap();
    list_again(&env, "some", "renamed").await;
    env.wait_ready("some").await;
    assert_eq!(env.sent_batches()[1..], [(Action::Start, vec![ids[2].clone()])]);
}
