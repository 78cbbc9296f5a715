//! `fdi-operator status` and `history`.

use fdi_simulator::Manner;
use serde_json::Value;

use super::{printed, run};
use crate::harness::{Operator, TestEnv};

#[tokio::test(flavor = "multi_thread")]
async fn status_is_a_tree_down_to_the_task_that_fails_and_exits_with_2_until_all_is_well() {
    let (env, ids) = TestEnv::new(3).await;
    let missing = run(&env, &["status", "orders"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("no FdiTaskGroup \"orders\""), "{missing:#?}");
    env.service.rename_task(&ids[1], "orders-cdc").unwrap();
    env.group("billing", "Stopped", &ids[..1]).await;
    let unseen = run(&env, &["status", "billing"]).await;
    assert!(unseen.code == 2 && unseen.stdout.contains("billing: LatestGenerationNotObserved"), "{unseen:#?}");

    env.service.set_manners(&ids[1], [Manner::NoSchedulePlan]).unwrap();
    let operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids[1..]).await;
    env.wait_reason("orders", "TasksFailed").await;
    env.wait_ready("billing").await;
    let tree = run(&env, &["status"]).await;
    assert_eq!(tree.code, 2, "{tree:#?}");
    for line in [
        format!("FdiInstance {}/roma: Ready, 3 tasks", env.namespace),
        "├─ FdiTaskGroup billing: Ready, 1/1 Stopped".to_owned(),
        "└─ FdiTaskGroup orders: TasksFailed, 1/2 Running".to_owned(),
        format!("└─ failed {} orders-cdc: to start, FDI.", ids[1]),
        "2 of 3 objects are Ready".to_owned(),
    ] {
        assert!(tree.stdout.contains(&line), "{line}\n{}", tree.stdout);
    }
    assert!(!tree.stdout.contains('\u{1b}'), "a pipe gets no colours");

    let document = run(&env, &["status", "-o=json"]).await;
    let report: Value = serde_json::from_str(&document.stdout).unwrap();
    let task = &report["instances"][0]["groups"][1]["tasks"][0];
    assert_eq!((document.code, &report["well"], &task["id"]), (2, &false.into(), &Value::from(&*ids[1])));
    let names = run(&env, &["status", "-o=name"]).await.stdout;
    assert_eq!(names, "fditaskgroup.fdi.romaconnect.dev/orders\n");
    assert_eq!(run(&env, &["status", "billing"]).await.code, 0);

    // An edit that no operator has seen is not what the status is about.
    operator.end().await;
    env.edit("billing", serde_json::json!({"desiredState": "Running"})).await;
    let stale = run(&env, &["status", "billing"]).await;
    assert!(stale.code == 2 && stale.stdout.contains("older generation"), "{stale:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_names_the_latest_calls_newest_first() {
    let (env, ids) = TestEnv::new(2).await;
    env.group("orders", "Running", &ids).await;
    let none = run(&env, &["history", "orders"]).await;
    assert!(none.code == 0 && none.stderr.contains("no call"), "{none:#?}");
    let _operator = Operator::start(&env).await;
    env.wait_ready("orders").await;
    let table = printed(&env, &["history", "orders"]).await;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(table.starts_with("AGE ") && row[2..] == ["Edit", "2", "0", "0", "1"], "{table}");
    let document: Value = serde_json::from_str(&printed(&env, &["history", "orders", "-o=json"]).await).unwrap();
    assert_eq!(document[0]["starts"], 2);
}
