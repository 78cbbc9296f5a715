//! The shipped rights are exactly the used ones. All other tests run with them as well, so a missing verb fails them too.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use serde_json::json;

use crate::harness::verbs::{self, Right};
use crate::harness::{Operator, SOON, Stage, fast};

fn rights(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    all.insert(Right { verb: verb.clone(), group: group.clone(), resource: resource.clone() });
                }
            }
        }
    }
    all
}

/// What the API server holds after the shipped manifests were applied.
async fn granted(stage: &Stage) -> BTreeSet<Right> {
    let cluster: Api<ClusterRole> = Api::all(stage.client.clone());
    let roles: Api<Role> = Api::namespaced(stage.client.clone(), "fdi-system");
    let mut all = BTreeSet::new();
    for name in ["fdi-operator", "fdi-operator-schema"] {
        all.extend(rights(&cluster.get(name).await.unwrap().rules.unwrap()));
    }
    all.extend(rights(&roles.get("fdi-operator-lease").await.unwrap().rules.unwrap()));
    all
}

fn told(rights: &BTreeSet<Right>) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_right_is_used_and_none_is_missing() {
    let (stage, ids) = Stage::new(2).await;
    let operator = Operator::with(&stage, fast(), &["--leader-election=true"]).await;
    stage.group_with("orders", "Running", &ids, json!({"deletionPolicy": "Stop"})).await;
    stage.wait_ready("orders").await;
    let granted = granted(&stage).await;
    // The same event again is a patch of the first: a task is switched back and forth at the console.
    let all_used = async {
        while !granted.is_subset(&verbs::used()) {
            stage.service.set_running(&ids[0], false).unwrap();
            stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let _ = tokio::time::timeout(SOON, all_used).await;
    stage.delete_group("orders").await;
    stage.wait_gone("orders").await;
    operator.end().await;
    let used = verbs::used();
    let superfluous = granted.difference(&used).cloned().collect();
    assert_eq!(told(&superfluous), "", "granted and never used");
    let missing = used.difference(&granted).cloned().collect();
    assert_eq!(told(&missing), "", "used and not granted");
    assert_eq!(told(&verbs::refused()), "", "refused with 403");
}
