//! Recipes are run as they stand on the page, by a shell with real kubectl, against an operator at
//! work; only names of namespaces and objects are replaced.

use std::fs;
use std::path::Path;

use fdi_operator::crd::{FdiTaskGroup, reasons};
use serde_json::json;
use tokio::process::Command;

use super::blocks;
use crate::architecture::ROOT;
use crate::harness::{Operator, TestEnv};

/// The blocks of commands below a heading of a page.
fn section(page: &str, heading: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{page} has no {heading}"));
    let section = after.split("\n## ").next().unwrap();
    let found = blocks(section).into_iter().filter(|block| matches!(block.language, "" | "sh"));
    found.map(|block| block.lines.join("\n")).collect()
}

/// Runs a script as a person would, in the namespace of the test.
async fn run(env: &TestEnv, script: &str) -> String {
    let script = script.replace("-n orders", &format!("-n {}", env.namespace)).replace("orders-roma", "roma");
    let kubectl = env.cluster.plane().kubectl();
    let path = format!("{}:{}", kubectl.path().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("PATH", path)
        .env("KUBECONFIG", env.cluster.plane().kubeconfig_path())
        .env("KUBERC", "off")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Two groups whose tasks run.
async fn running() -> (TestEnv, Vec<String>, Operator) {
    let (env, ids) = TestEnv::new(6).await;
    let operator = Operator::start(&env).await;
    for (name, ids) in ["nightly-orders", "returns"].into_iter().zip(ids.chunks(3)) {
        env.group(name, "Running", ids).await;
    }
    for name in ["nightly-orders", "returns"] {
        env.wait_ready(name).await;
    }
    assert_eq!(env.service.running().len(), 6);
    (env, ids, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_for_an_emergency_stops_every_task_by_name_and_by_namespace() {
    let (env, _, _operator) = running().await;
    let recipe = section("docs/recipes.md", "Emergency: stop everything now");
    run(&env, &recipe[0]).await;
    assert_eq!(env.service.running().len(), 0, "the recipe ends once they are observed stopped");

    for name in ["nightly-orders", "returns"] {
        env.edit(name, json!({"desiredState": "Running"})).await;
        env.wait_ready(name).await;
    }
    let patched = run(&env, &recipe[1]).await;
    assert_eq!(patched.lines().filter(|line| line.ends_with("patched")).count(), 2, "{patched}");
    let wait = recipe[0].lines().last().unwrap();
    run(&env, wait).await;
    assert_eq!(env.service.running().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_for_maintenance_of_the_service_keeps_calls_back() {
    let (env, _, _operator) = running().await;
    run(&env, &section("docs/recipes.md", "Maintenance window")[0]).await;
    env.edit("returns", json!({"desiredState": "Stopped"})).await;
    env.wait_reason("returns", reasons::SUSPENDED).await;
    assert_eq!(env.service.running().len(), 6, "no call is sent while the instance is suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_checks_of_the_runbook_show_the_groups_and_reconcile_one() {
    let (env, _, _operator) = running().await;
    let checks = section("docs/operations.md", "First checks").remove(0);
    for line in checks.lines().filter(|line| !line.contains("kubectl logs")) {
        let line = line.replace("NAME", "returns").replacen("kubectl", &format!("kubectl -n {}", env.namespace), 1);
        let shown = run(&env, &line.replace(" -A ", " ")).await;
        assert!(line.contains("jsonpath") || shown.contains("returns"), "{line}: {shown}");
    }
    let handled =
        |group: &FdiTaskGroup| group.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.is_some());
    env.wait("returns", "the reconcile that was requested", handled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_gitops_suspends_a_group_in_a_field_that_flux_keeps() {
    let (env, _, _operator) = running().await;
    run(&env, &section("docs/gitops.md", "What survives GitOps")[0]).await;
    let group = env.groups().get("nightly-orders").await.unwrap();
    let managers = group.metadata.managed_fields.unwrap_or_default();
    assert!(group.spec.suspend);
    assert!(managers.iter().any(|entry| entry.manager.as_deref() == Some("flux-client-side-apply")));
}
