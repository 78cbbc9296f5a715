//! `fdi-operator suspend`, `resume`, `start`, `stop`, `reconcile` and `wait`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fdi_simulator::Manner;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{printed, run};
use crate::harness::{Operator, TestEnv};

async fn version(env: &TestEnv, group: &str) -> String {
    env.groups().get(group).await.unwrap().metadata.resource_version.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_sets_one_field_under_its_own_name_and_a_second_one_writes_nothing() {
    let (env, ids) = TestEnv::new(1).await;
    env.group("orders", "Stopped", &ids).await;
    let before = env.groups().get("orders").await.unwrap().spec;
    let done = printed(&env, &["suspend", "orders"]).await;
    assert!(done.starts_with("fditaskgroup.fdi.romaconnect.dev/orders suspended"), "{done}");
    let group = env.groups().get("orders").await.unwrap();
    assert!(group.spec.suspend);
    assert_eq!(fdi_operator::crd::FdiTaskGroupSpec { suspend: false, ..group.spec }, before);
    let owned = group.metadata.managed_fields.unwrap();
    let entry = owned.iter().find(|entry| entry.manager.as_deref() == Some("fdi-operator-cli")).unwrap();
    assert_eq!(entry.fields_v1.as_ref().unwrap().0, json!({"f:spec": {"f:suspend": {}}}));

    let stored = version(&env, "orders").await;
    assert!(printed(&env, &["suspend", "orders"]).await.contains("is suspended already"));
    assert!(printed(&env, &["stop", "orders"]).await.contains("is to be Stopped already"));
    assert_eq!(version(&env, "orders").await, stored);
    printed(&env, &["resume", "orders"]).await;
    printed(&env, &["start", "orders"]).await;
    let spec = env.groups().get("orders").await.unwrap().spec;
    assert!(!spec.suspend && spec.desired_state == fdi_operator::crd::DesiredState::Running);

    printed(&env, &["suspend", "roma", "--instance"]).await;
    assert!(env.instances().get("roma").await.unwrap().spec.suspend);
    let missing = run(&env, &["stop", "orders", "nightly"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("\"nightly\""), "{missing:#?}");
    assert_eq!(env.groups().get("orders").await.unwrap().spec, spec, "no object is edited if one does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_not_lost_and_loses_no_other_while_somebody_writes_all_the_time() {
    let (env, ids) = TestEnv::new(1).await;
    env.group("orders", "Stopped", &ids).await;
    let api = env.groups();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let noise = tokio::spawn(async move {
        for round in 0.. {
            let patch = Patch::Merge(json!({"metadata": {"labels": {"round": round.to_string()}}}));
            let _ = api.patch("orders", &PatchParams::default(), &patch).await;
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    for _ in 0..3 {
        printed(&env, &["suspend", "orders"]).await;
        assert!(env.groups().get("orders").await.unwrap().spec.suspend);
        printed(&env, &["resume", "orders"]).await;
        assert!(!env.groups().get("orders").await.unwrap().spec.suspend);
    }
    noise.abort();
    assert!(writes.load(Ordering::Relaxed) > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_says_who_manages_the_object_and_what_will_become_of_it() {
    let (env, ids) = TestEnv::new(1).await;
    let group = json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup", "metadata": {"name": "orders",
        "labels": {"kustomize.toolkit.fluxcd.io/name": "orders", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}},
        "spec": {"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ids}});
    let flux = PatchParams::apply("kustomize-controller").force();
    env.groups().patch("orders", &flux, &Patch::Apply(&group)).await.unwrap();
    let undone = run(&env, &["stop", "orders"]).await;
    assert!(undone.code == 0 && undone.stderr.contains("git sets spec.desiredState, so Flux undoes"), "{undone:#?}");
    let kept = run(&env, &["suspend", "orders"]).await;
    assert!(kept.stderr.contains("git does not set spec.suspend, so Flux keeps"), "{kept:#?}");
    // And so it is.
    env.groups().patch("orders", &flux, &Patch::Apply(&group)).await.unwrap();
    let spec = env.groups().get("orders").await.unwrap().spec;
    assert!(spec.suspend && spec.desired_state == fdi_operator::crd::DesiredState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_is_suspended_says_that_nothing_happens_yet() {
    let (env, ids) = TestEnv::new(1).await;
    env.group_with("orders", "Stopped", &ids, json!({"suspend": true})).await;
    let own = run(&env, &["start", "orders"]).await;
    assert!(own.code == 0 && own.stderr.contains("it is suspended, so nothing is started"), "{own:#?}");
    env.instance("roma", json!({"suspend": true})).await;
    let resumed = run(&env, &["resume", "orders"]).await;
    assert!(resumed.stderr.contains("its FdiInstance \"roma\" is suspended"), "{resumed:#?}");
    assert!(run(&env, &["suspend", "orders"]).await.stderr.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn start_waits_for_its_tasks_and_reconcile_for_the_operator() {
    let (env, ids) = TestEnv::new(2).await;
    let operator = Operator::start(&env).await;
    env.group("orders", "Stopped", &ids).await;
    env.wait_ready("orders").await;
    let started = printed(&env, &["start", "orders", "--wait", "--timeout=30s"]).await;
    assert!(started.ends_with("fditaskgroup.fdi.romaconnect.dev/orders is Ready\n"), "{started}");
    assert_eq!(env.service.running().len(), 2);
    let handled = printed(&env, &["reconcile", "orders", "--wait", "--timeout=30s"]).await;
    assert!(handled.ends_with("orders is reconciled: Ready\n"), "{handled}");
    let group = env.groups().get("orders").await.unwrap();
    let requested = group.metadata.annotations.unwrap()["reconcile.fluxcd.io/requestedAt"].clone();
    assert_eq!(group.status.unwrap().last_handled_reconcile_at, Some(requested.into()));
    let handled = printed(&env, &["reconcile", "--instance", "--all", "--wait", "--timeout=30s"]).await;
    assert!(handled.ends_with("roma is reconciled: Ready\n"), "{handled}");
    printed(&env, &["suspend", "orders", "--wait", "--timeout=30s"]).await;
    let group = env.groups().get("orders").await.unwrap();
    assert_eq!(group.status.unwrap().observed_generation, group.metadata.generation.unwrap());
    // Without an operator nobody acts on a request, and the status of before says nothing about it.
    operator.end().await;
    let ignored = run(&env, &["reconcile", "orders", "--wait", "--timeout=200ms"]).await;
    assert!(ignored.code == 2 && ignored.stderr.contains("has not acted on the request"), "{ignored:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_fails_at_once_on_a_stalled_group_and_names_the_cause_when_the_time_is_over() {
    let (env, ids) = TestEnv::new(2).await;
    env.group("late", "Running", &ids[..1]).await;
    let late = run(&env, &["wait", "late", "--timeout=200ms"]).await;
    assert!(
        late.code == 2 && late.stderr.contains("late is not done after 200ms: LatestGenerationNotObserved"),
        "{late:#?}"
    );
    env.service.set_manners(&ids[1], [Manner::NoSchedulePlan]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids[1..]).await;
    env.wait_reason("orders", "TasksFailed").await;
    let stalled = run(&env, &["wait", "orders", "late", "--timeout=60s"]).await;
    assert!(stalled.code == 2 && stalled.stderr.contains("orders is stalled"), "{stalled:#?}");
    assert!(stalled.stdout.contains("late is Ready"), "{stalled:#?}");
    let patient = run(&env, &["wait", "orders", "--timeout=200ms", "--despite-stalled"]).await;
    assert!(patient.code == 2 && patient.stderr.contains("is not done after 200ms: TasksFailed"), "{patient:#?}");
    let chosen = printed(&env, &["wait", "--instance", "--all", "--timeout=30s"]).await;
    assert_eq!(chosen, "fdiinstance.fdi.romaconnect.dev/roma is Ready\n");
}
