//! The shipped roles are exactly what the operator uses: the API server's audit log shows which
//! verbs it requested. All other integration tests run with the same service account, so a missing
//! permission fails them too.

use std::collections::BTreeSet;

use fdi_simulator::{Action, Entry};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Cluster, OPERATOR_NAMESPACE, Process, TIMEOUT, TestEnv, shared};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    verb: String,
    group: String,
    /// With its subresource.
    resource: String,
    /// Of the requested object, or the only one allowed.
    name: Option<String>,
}

impl Permission {
    fn allows(&self, requested: &Self) -> bool {
        let same = |of: fn(&Self) -> &String| of(self) == of(requested);
        same(|permission| &permission.verb)
            && same(|permission| &permission.group)
            && same(|permission| &permission.resource)
            && (self.name.is_none() || self.name == requested.name)
    }
}

/// What the operator has requested so far, and whether RBAC denied it.
fn requested(cluster: &Cluster) -> Vec<(Permission, bool)> {
    let log = std::fs::read_to_string(cluster.plane().audit_log_path()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| {
            event["user"]["username"] == json!(format!("system:serviceaccount:{OPERATOR_NAMESPACE}:fdi-operator"))
        })
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let what = &event["objectRef"];
            let sub = what["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
            let permission = Permission {
                verb: text(&event["verb"]),
                group: text(&what["apiGroup"]),
                resource: text(&what["resource"]) + &sub,
                name: what["name"].as_str().map(ToOwned::to_owned),
            };
            (permission, event["annotations"]["authorization.k8s.io/decision"] == "forbid")
        })
        .collect()
}

fn granted(rules: Option<Vec<PolicyRule>>) -> impl Iterator<Item = Permission> {
    rules.unwrap_or_default().into_iter().flat_map(|rule| {
        let mut permissions = Vec::new();
        for verb in &rule.verbs {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let permission =
                        Permission { verb: verb.clone(), group: group.clone(), resource: resource.clone(), name: None };
                    match rule.resource_names.as_deref() {
                        None | Some([]) => permissions.push(permission),
                        Some(names) => {
                            permissions.extend(
                                names.iter().map(|name| Permission { name: Some(name.clone()), ..permission.clone() }),
                            );
                        }
                    }
                }
            }
        }
        permissions
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_permission_is_used_and_none_is_missing() {
    let cluster = shared().await;
    let (env, ids) = TestEnv::new(2).await;
    let scope = format!("--namespaces={}", env.namespace);
    // Twice, because a Lease is created once and then updated; in the namespace that the manifests
    // use.
    for _ in 0..2 {
        let mut process = Process::of(&cluster, &[&scope]);
        process.wait_leading().await;
        process.logged("the CRD matches this operator").await;
        env.group_with("orders", "Running", &ids, json!({"deletionPolicy": "Stop"})).await;
        env.wait_ready("orders").await;
        // An event that is published twice is one Event, patched.
        for _ in 0..2 {
            let before = env.service.batch_calls().len();
            env.service.set_running(&ids[0], false).unwrap();
            // And observed: a task that is switched back before that counts as one that does not
            // settle.
            let corrected = |log: &[Entry]| {
                let call = log.iter().filter(|entry| entry.action.is_some()).nth(before);
                call.and_then(|call| call.answered_at).is_some_and(|at| {
                    log.iter().any(|entry| {
                        entry.arrived_at > at && entry.listed.iter().filter(|task| task.running).count() == 2
                    })
                })
            };
            env.wait_log("the correction", corrected).await;
            env.wait_ready("orders").await;
        }
        env.delete_group("orders").await;
        env.wait_gone("orders").await;
        assert!(env.service.batch_calls().iter().any(|call| call.action == Some(Action::Stop)));
        process.signal(Signal::TERM);
        assert!(process.ended(TIMEOUT).await.0.success(), "{}", process.log());
    }
    let roles: Api<ClusterRole> = Api::all(env.client.clone());
    let lease: Api<Role> = Api::namespaced(env.client.clone(), OPERATOR_NAMESPACE);
    let mut shipped: BTreeSet<Permission> = granted(lease.get("fdi-operator-lease").await.unwrap().rules).collect();
    for role in ["fdi-operator", "fdi-operator-schema"] {
        shipped.extend(granted(roles.get(role).await.unwrap().rules));
    }
    let requested = requested(&cluster);
    let denied: BTreeSet<&Permission> =
        requested.iter().filter(|(_, denied)| *denied).map(|(permission, _)| permission).collect();
    assert!(denied.is_empty(), "the shipped roles lack {denied:?}");
    let used: BTreeSet<Permission> = requested.into_iter().map(|(permission, _)| permission).collect();
    let unused = |permission: &&Permission| !used.iter().any(|requested| permission.allows(requested));
    let superfluous: Vec<&Permission> = shipped.iter().filter(unused).collect();
    assert!(superfluous.is_empty(), "the shipped roles grant what the operator does not use: {superfluous:?}");
    let unshipped = |requested: &&Permission| !shipped.iter().any(|permission| permission.allows(requested));
    let elsewhere: Vec<&Permission> = used.iter().filter(unshipped).collect();
    assert!(elsewhere.is_empty(), "granted by something other than the shipped roles: {elsewhere:?}");
}
