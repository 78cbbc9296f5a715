//! `fdi-operator import`: how what it writes fits with what is there. `team.rs` applies it.

use fdi_simulator::NewTasks;
use serde_json::json;

use super::{printed, run};
use crate::harness::TestEnv;

#[tokio::test(flavor = "multi_thread")]
async fn no_group_that_exists_is_overwritten_by_one_of_the_same_name() {
    let (env, _) = TestEnv::new(1).await;
    let names = ["orders-a", "orders-b"].map(str::to_owned).to_vec();
    env.service.create(&NewTasks { count: 2, names, ..NewTasks::default() });
    env.group_with("orders-stopped", "Stopped", &[], json!({"taskIds": null, "taskNames": ["orders-a"]})).await;
    env.instance("other", json!({"suspend": true})).await;
    env.group_with("orders-stopped-2", "Stopped", &["a".to_owned()], json!({"instanceRef": {"name": "other"}})).await;

    let free = printed(&env, &["import", "roma", "--by=name"]).await;
    assert!(free.contains("name: orders-stopped-3\n") && free.contains("orders-b"), "{free}");
    // Who imports all tasks anew wants the groups of this instance anew, and no others.
    let all = printed(&env, &["import", "roma", "--by=name", "--as=ids", "--all"]).await;
    assert!(all.contains("name: orders-stopped\n") && !all.contains("orders-stopped-2"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_groups_is_not_overwritten_by_those_of_a_few_new_tasks() {
    let (env, _) = TestEnv::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let import = ["import", "roma", "--directory", folder.path().to_str().unwrap()];
    printed(&env, &import).await;
    env.service.create(&NewTasks { task_tag: Some("new".to_owned()), ..NewTasks::default() });
    let kustomization = || std::fs::read_to_string(folder.path().join("kustomization.yaml")).unwrap();
    let before = kustomization();
    let refused = run(&env, &import).await;
    assert!(refused.code == 1 && refused.stderr.contains("exists: give another folder"), "{refused:#?}");
    assert_eq!(kustomization(), before);
    printed(&env, &[&import[..], &["--all"]].concat()).await;
    assert!(kustomization().contains("new-stopped.yaml"), "{}", kustomization());
}
