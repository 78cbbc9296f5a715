//! The life of one team: what its instance runs is imported, applied and changed, and before each
//! step `fdi-operator plan` says what is called then.

use std::path::Path;
use std::process::Command;

use fdi_operator::crd::FdiTaskGroup;
use fdi_simulator::NewTasks;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Operator, TestEnv, is_ready, kubeconfig, kubectl};

/// Exit code, standard output and standard error.
async fn command(env: &TestEnv, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    command.args(args).args(["--namespace", &env.namespace]).env("KUBECONFIG", kubeconfig().await);
    command.env("FDI_OPERATOR_ALLOWED_ENDPOINTS", env.sim.url()).env("FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS", "true");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Action and IDs of each call, sorted.
type Calls = Vec<(String, Vec<String>)>;

/// What `fdi-operator plan` says, with these manifests as if they were applied.
async fn planned(env: &TestEnv, manifests: Option<&Path>) -> Calls {
    let mut args = vec!["plan", "--live", "--output=json"];
    if let Some(file) = manifests {
        args.extend(["--file", file.to_str().unwrap()]);
    }
    let (code, printed, errors) = command(env, &args).await;
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{code}: {printed}{errors}"));
    let calls: Vec<&Value> =
        report.as_array().unwrap().iter().flat_map(|one| one["calls"].as_array().unwrap()).collect();
    assert_eq!(code, if calls.is_empty() { 0 } else { 2 }, "{errors}");
    sorted(calls.into_iter().map(|call| {
        let ids = call["tasks"].as_array().unwrap().iter().map(|task| task["taskId"].as_str().unwrap().to_owned());
        (call["action"].as_str().unwrap().to_owned(), ids.collect())
    }))
}

fn sorted(calls: impl Iterator<Item = (String, Vec<String>)>) -> Calls {
    let mut calls: Calls = calls.collect();
    for (_, ids) in &mut calls {
        ids.sort();
    }
    calls.sort();
    calls
}

/// The calls that were sent since the first `seen`.
fn sent(env: &TestEnv, seen: usize) -> Calls {
    sorted(env.sent_batches().into_iter().skip(seen).map(|(action, ids)| (format!("{action:?}").to_lowercase(), ids)))
}

/// Has the instance listed so often.
async fn list_again(env: &TestEnv, group: &str, lists: usize) {
    for _ in 0..lists {
        let token = format!("{}", env.service.list_calls().len());
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
        env.groups().patch(group, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        env.wait(group, "the answer", |group| {
            group.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(&token))
        })
        .await;
    }
}

async fn apply(env: &TestEnv, manifest: &str) {
    let applied = kubectl(&["apply", "-n", &env.namespace, "-f", "-"], manifest).await;
    assert!(applied.status.success(), "{}", applied.stderr);
}

/// Tells what applying a manifest will call, applies it, and compares.
async fn step(env: &TestEnv, folder: &Path, manifest: &str, ready: &[&str]) -> Calls {
    let file = folder.join("step.yaml");
    std::fs::write(&file, manifest).unwrap();
    let (plan, seen) = (planned(env, Some(&file)).await, env.sent_batches().len());
    apply(env, manifest).await;
    for name in ready {
        let generation = env.groups().get(name).await.unwrap().metadata.generation;
        let current = |group: &FdiTaskGroup| group.metadata.generation >= generation && is_ready(group);
        env.wait(name, "Ready", current).await;
    }
    assert_eq!(sent(env, seen), plan, "{manifest}");
    plan
}

fn tasks(prefix: &str, count: usize, running: bool, tag: &str) -> NewTasks {
    NewTasks { prefix: prefix.into(), count, running, task_tag: Some(tag.into()), ..NewTasks::default() }
}

const GROUP: &str = "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiTaskGroup\n";

fn group(name: &str, state: &str, choice: &str) -> String {
    format!(
        "{GROUP}metadata: {{name: {name}}}\nspec: {{instanceRef: {{name: roma}}, desiredState: {state}, {choice}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_imports_its_tasks_and_knows_each_call_before_it_is_sent() {
    let (env, _) = TestEnv::new(0).await;
    // No poll comes between a change, its plan and its calls.
    env.instance("roma", json!({"pollIntervalSeconds": 3600})).await;
    env.service.create(&tasks("orders", 60, true, "nightly"));
    let hourly = env.service.create(&tasks("reports", 60, false, "hourly"));
    let names: Vec<String> = hourly.iter().map(|id| env.service.task(id).unwrap().name).collect();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("groups");
    let flags = ["import", "roma", "--by=tag", "--as=selector", "--directory", target.to_str().unwrap()];
    let (code, _, summary) = command(&env, &flags).await;
    assert_eq!((code, summary.as_str()), (0, "120 tasks in 2 groups\n"));

    // What was imported changes nothing.
    let applied = kubectl(&["apply", "-n", &env.namespace, "-k", target.to_str().unwrap()], "").await;
    assert!(applied.status.success(), "{}", applied.stderr);
    assert_eq!(planned(&env, None).await, []);
    let _operator = Operator::start(&env).await;
    env.wait_ready("nightly-running").await;
    env.wait_ready("hourly-stopped").await;
    assert_eq!(env.sent_batches(), []);
    let (_, _, summary) = command(&env, &flags).await;
    assert_eq!(summary, "0 tasks in 0 groups; 120 belong to groups already (--all imports them too)\n");

    // A selector is edited, and then takes half of the tasks only.
    let half = group("nightly-running", "Stopped", "selector: {tags: [nightly], names: ['orders-?', 'orders-1?']}");
    let calls = step(&env, folder.path(), &half, &["nightly-running"]).await;
    assert_eq!((calls.len(), calls.iter().map(|(_, ids)| ids.len()).sum::<usize>()), (2, 19));

    // Two groups overlap: what is named goes to the one that names it.
    let some = group("some", "Running", &format!("taskNames: [{}, {}, {}]", names[0], names[1], names[2]));
    let calls = step(&env, folder.path(), &some, &["some", "hourly-stopped"]).await;
    assert_eq!(calls.len(), 1);

    // A task is renamed at the console: its name stands for nothing, and the selector takes it.
    env.service.rename_task(&hourly[2], "renamed").unwrap();
    let (plan, seen) = (planned(&env, None).await, env.sent_batches().len());
    assert_eq!(plan, [("stop".to_owned(), vec![hourly[2].clone()])]);
    list_again(&env, "hourly-stopped", 2).await;
    let pending = |group: &FdiTaskGroup| {
        group.status.as_ref().is_some_and(|status| {
            status.pending.iter().any(|task| task.task_name == names[2] && task.task_id.is_empty())
        })
    };
    env.wait("some", "a name without a task", pending).await;
    env.wait_ready("hourly-stopped").await;
    assert_eq!(sent(&env, seen), plan);

    // One is made, one is deleted.
    let made = env.service.create(&tasks("late", 1, true, "hourly"));
    env.service.delete_task(&hourly[59]).unwrap();
    let (plan, seen) = (planned(&env, None).await, env.sent_batches().len());
    assert_eq!(plan, [("stop".to_owned(), made)]);
    list_again(&env, "hourly-stopped", 3).await;
    env.wait_ready("hourly-stopped").await;
    assert_eq!(sent(&env, seen), plan);

    // The plan says why it calls for no other task.
    let (code, text, _) = command(&env, &["plan"]).await;
    assert_eq!(code, 0);
    for line in ["0 calls", &format!("no call: group \"some\": no task has this name: {}", names[2])] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_environment_exports_by_name_means_the_same_tasks_in_another() {
    let (env, _) = TestEnv::new(0).await;
    env.service.create(&tasks("orders", 5, true, "nightly"));
    env.service.create(&tasks("reports", 4, false, ""));
    let (code, manifests, _) = command(&env, &["import", "roma", "--by=name", "--as=names"]).await;
    assert_eq!(code, 0);
    let (other, _) = TestEnv::new(0).await;
    let orders = other.service.create(&tasks("orders", 5, false, ""));
    other.service.create(&tasks("reports", 4, false, ""));
    apply(&other, &manifests).await;
    let plan = planned(&other, None).await;
    assert_eq!(plan, sorted([("start".to_owned(), orders)].into_iter()));
    let _operator = Operator::start(&other).await;
    other.wait_ready("orders-running").await;
    other.wait_ready("reports-stopped").await;
    assert_eq!(sent(&other, 0), plan);
}
