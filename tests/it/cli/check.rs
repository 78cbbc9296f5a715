//! `fdi-operator check`.

use fdi_simulator::{Filter, Operation};
use serde_json::{Value, json};

use super::{command, finish, printed, run};
use crate::harness::{TestEnv, kubeconfig};

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_works_has_a_tick_and_nothing_but_a_list_is_sent() {
    let (env, _) = TestEnv::new(3).await;
    let report = printed(&env, &["check"]).await;
    for line in [
        "✓ API server v",
        "✓ CRD fditaskgroups.fdi.romaconnect.dev",
        "✓ permission to patch fditaskgroups",
        "✓ roma: credentials: a token",
        "✓ roma: permission to list tasks: 3 tasks",
        "✓ roma: clock",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(!report.contains('✗') && !report.contains("! "), "{report}");
    let calls = env.sim.calls(&Filter::default());
    assert!(!calls.is_empty() && calls.iter().all(|call| call.operation == Operation::List), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_has_a_cross_and_says_what_to_do() {
    let (env, _) = TestEnv::bare(0).await;
    let fails = async |instance: &str, words: &[&str]| {
        let done = run(&env, &["check", instance]).await;
        let named = words.iter().all(|word| done.stdout.contains(word));
        assert!(done.code == 1 && named, "{words:?}\n{done:#?}");
    };
    env.instance("roma", json!({})).await;
    fails("roma", &["✗ roma: credentials\n  namespace", "no Secret \"roma-credentials\": create it"]).await;
    env.secret("roma-credentials", &[("token", "refused")]).await;
    fails("roma", &["✗ roma: endpoint and sign-in", "Secret", "✓ roma: clock"]).await;
    env.instance("far", json!({"endpoint": "http://127.0.0.1:1"})).await;
    fails("far", &["✗ far: endpoint and sign-in"]).await;
    let document = run(&env, &["check", "roma", "-o=json"]).await;
    let report: Value = serde_json::from_str(&document.stdout).unwrap();
    assert!(document.code == 1 && report["ok"] == false && report["checks"][0]["result"] == "ok", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_permissions_and_a_dead_api_server_are_named_as_such() {
    let (env, _) = TestEnv::bare(0).await;
    let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(kubeconfig().await).unwrap()).unwrap();
    config["users"][0]["user"]["as"] = json!("nobody");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nobody");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut check = command(&env, &["check"]).await;
    check.env("KUBECONFIG", &path);
    let done = finish(check).await;
    assert!(done.code == 1 && done.stdout.contains("✗ permission to list fditaskgroups"), "{done:#?}");
    assert!(
        done.stdout.contains("ask for the ClusterRole view") && done.stdout.contains("you may not read CRDs"),
        "{done:#?}"
    );

    config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    std::fs::write(&path, config.to_string()).unwrap();
    let dead = run(&env, &["check", "--kubeconfig", path.to_str().unwrap()]).await;
    assert!(dead.code == 1 && dead.stdout.contains("✗ API server"), "{dead:#?}");
}
