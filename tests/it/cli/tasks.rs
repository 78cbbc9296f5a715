//! `fdi-operator tasks`.

use fdi_simulator::{AccessKey, Filter, LastRun, Operation, User};
use serde_json::{Value, json};

use super::{command, finish, printed, run};
use crate::harness::{INSTANCE, PROJECT, TestEnv};

/// Everything that the service was asked so far, but lists and sign-ins.
fn other_calls(env: &TestEnv) -> Vec<String> {
    let calls = env.sim.calls(&Filter::default()).into_iter();
    let other = calls.filter(|call| !matches!(call.operation, Operation::List | Operation::Token));
    other.map(|call| format!("{call:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_is_listed_with_its_state_last_run_and_owner_and_nothing_else_is_sent() {
    let (env, ids) = TestEnv::new(3).await;
    env.service.set_running(&ids[0], true).unwrap();
    env.service.set_last_run(&ids[0], LastRun::Error).unwrap();
    env.service.rename_task(&ids[0], "orders-cdc").unwrap();
    env.group("orders", "Running", &ids[..1]).await;
    env.group_with("by-name", "Stopped", &[], json!({"taskIds": null, "selector": {"names": ["orders-*"]}})).await;

    let table = printed(&env, &["tasks", "roma"]).await;
    let row = table.lines().find(|line| line.starts_with("orders-cdc ")).unwrap_or_else(|| panic!("{table}"));
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((cells[1], cells[2], cells[3], *cells.last().unwrap()), (&*ids[0], "Running", "ERROR", "orders"));
    assert!(table.starts_with("NAME ") && table.lines().count() == 4, "{table}");

    let document = printed(&env, &["tasks", "roma", "--unmanaged", "-o=json"]).await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((document["instance"].as_str(), document["tasks"].as_array().unwrap().len()), (Some("roma"), 2));
    assert!(document["tasks"][0].get("group").is_none(), "{document}");
    assert_eq!(printed(&env, &["tasks", "roma", "--failing", "-o=name"]).await, format!("{}\n", ids[0]));
    let stopped = printed(&env, &["tasks", "roma", "--state=stopped", "-o=name"]).await;
    assert!(stopped.lines().count() == 2 && !stopped.contains(&*ids[0]), "{stopped}");
    assert_eq!(other_calls(&env), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_the_variables_of_the_official_sdk_sign_in_too() {
    let (env, ids) = TestEnv::bare(2).await;
    env.sim.set_project(PROJECT, "cn-north-4");
    let user: User = serde_json::from_value(json!({"domain": "ACCOUNT", "name": "reader", "password": "PW"})).unwrap();
    env.sim.set_user(user);
    env.secret("roma-credentials", &[("domainName", "ACCOUNT"), ("userName", "reader"), ("password", "PW")]).await;
    let auth = json!({"token": null, "password": {"secretRef": {"name": "roma-credentials"}}});
    env.instance("roma", json!({"auth": auth, "iamEndpoint": env.sim.url()})).await;
    assert!(printed(&env, &["tasks", "roma"]).await.contains(&*ids[1]));

    let key: AccessKey = serde_json::from_value(json!({"secret": "SK", "projects": [PROJECT]})).unwrap();
    env.sim.set_key("AK", key);
    let mut own_key = command(&env, &["tasks", "roma", "--credentials=environment", "-o=name"]).await;
    own_key.env("HUAWEICLOUD_SDK_AK", "AK").env("HUAWEICLOUD_SDK_SK", "SK");
    let listed = finish(own_key).await;
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 2), "{listed:#?}");
    assert_eq!(other_calls(&env), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_no_cluster_knows_is_listed_and_imported_with_the_key_of_the_environment() {
    let (env, ids) = TestEnv::bare(2).await;
    env.sim.set_key("AK", serde_json::from_value(json!({"secret": "SK"})).unwrap());
    let unconnected = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
        command.args(args).args(["--endpoint", &env.sim.url(), "--allow-insecure-endpoints"]);
        command.env_remove("KUBECONFIG").env("HOME", "/nowhere").env("HUAWEICLOUD_SDK_PROJECT_ID", PROJECT);
        command.env("HUAWEICLOUD_SDK_AK", "AK").env("HUAWEICLOUD_SDK_SK", "SK");
        finish(command).await
    };
    let listed = unconnected(&["tasks", INSTANCE]).await;
    assert!(listed.code == 0 && ids.iter().all(|id| listed.stdout.contains(&**id)), "{listed:#?}");
    let refused = unconnected(&["import", INSTANCE]).await;
    assert!(refused.code == 1 && refused.stderr.contains("--instance-ref"), "{refused:#?}");
    let imported = unconnected(&["import", INSTANCE, "--as=ids", "--instance-ref=roma"]).await;
    assert!(imported.code == 0 && imported.stdout.contains("name: roma\n"), "{imported:#?}");
    assert!(ids.iter().all(|id| imported.stdout.contains(&**id)), "{imported:#?}");
    assert_eq!(other_calls(&env), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_from_statuses_asks_neither_fdi_nor_for_the_secret() {
    let (env, ids) = TestEnv::bare(2).await;
    env.instance("roma", json!({})).await;
    env.group("orders", "Running", &ids).await;
    let table = printed(&env, &["tasks", "roma", "--from-status"]).await;
    assert!(ids.iter().all(|id| table.contains(&**id)) && table.contains("orders"), "{table}");
    assert!(env.sim.calls(&Filter::default()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_why_tasks_cannot_be_listed_says_what_to_do() {
    let (env, _) = TestEnv::bare(1).await;
    let fails = async |args: &[&str], words: &[&str]| {
        let done = run(&env, args).await;
        let named = words.iter().all(|word| done.stderr.contains(word));
        assert!(done.code == 1 && named && done.stdout.is_empty(), "{args:?}: {done:#?}");
    };
    fails(&["tasks", "roma"], &["no FdiInstance \"roma\"", "kubectl get fdiinstances"]).await;
    env.instance("roma", json!({})).await;
    fails(&["tasks", "roma"], &["no Secret \"roma-credentials\"", "create it"]).await;
    env.secret("roma-credentials", &[("tokn", "x")]).await;
    fails(&["tasks", "roma"], &["the key \"token\"", "is missing"]).await;
    env.secret("roma-credentials", &[("token", "refused")]).await;
    fails(&["tasks", "roma"], &["could not be listed", "Secret"]).await;
    fails(&["tasks", "roma", "--credentials=environment"], &["HUAWEICLOUD_SDK_AK is not set"]).await;
    fails(&["tasks", "roma", "--context=nowhere"], &["nowhere", "--context"]).await;
    fails(&["tasks", "roma", "--kubeconfig=/nowhere"], &["/nowhere", "--kubeconfig"]).await;
}
