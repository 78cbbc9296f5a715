//! The shipped rights are exactly what the operator uses: the API server's audit log tells which
//! verbs it asked for. All other integration tests run with the same service account, so a missing
//! right fails them too.

use std::collections::BTreeSet;

use fdi_simulator::{Action, Entry};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Cluster, HOME, Process, SOON, Stage, shared};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    group: String,
    /// With its subresource.
    resource: String,
    /// Asked for, or the only one allowed.
    name: Option<String>,
}

impl Right {
    fn allows(&self, asked: &Self) -> bool {
        let same = |of: fn(&Self) -> &String| of(self) == of(asked);
        same(|right| &right.verb)
            && same(|right| &right.group)
            && same(|right| &right.resource)
            && (self.name.is_none() || self.name == asked.name)
    }
}

/// The operator's requests so far: what it asked for, and whether that was refused by RBAC.
fn asked(cluster: &Cluster) -> Vec<(Right, bool)> {
    let log = std::fs::read_to_string(cluster.plane().audit_log_path()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| event["user"]["username"] == json!(format!("system:serviceaccount:{HOME}:fdi-operator")))
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let what = &event["objectRef"];
            let sub = what["subresource"].as_str().map(|sub| format!("/{sub}")).unwrap_or_default();
            let right = Right {
                verb: text(&event["verb"]),
                group: text(&what["apiGroup"]),
                resource: text(&what["resource"]) + &sub,
                name: what["name"].as_str().map(ToOwned::to_owned),
            };
            (right, event["annotations"]["authorization.k8s.io/decision"] == "forbid")
        })
        .collect()
}

fn granted(rules: Option<Vec<PolicyRule>>) -> impl Iterator<Item = Right> {
    rules.unwrap_or_default().into_iter().flat_map(|rule| {
        let mut rights = Vec::new();
        for verb in &rule.verbs {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let right =
                        Right { verb: verb.clone(), group: group.clone(), resource: resource.clone(), name: None };
                    match rule.resource_names.as_deref() {
                        None | Some([]) => rights.push(right),
                        Some(names) => {
                            rights.extend(names.iter().map(|name| Right { name: Some(name.clone()), ..right.clone() }));
                        }
                    }
                }
            }
        }
        rights
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_right_is_used_and_none_is_missing() {
    let cluster = shared().await;
    let (stage, ids) = Stage::new(2).await;
    let scope = format!("--namespaces={}", stage.namespace);
    // Twice, for a Lease is created once and then updated; in the namespace that the manifests
    // install into.
    for _ in 0..2 {
        let mut process = Process::of(&cluster, &[&scope]);
        process.wait_leading().await;
        process.logged("the CRD matches this operator").await;
        stage.group_with("orders", "Running", &ids, json!({"deletionPolicy": "Stop"})).await;
        stage.wait_ready("orders").await;
        // The same event told twice is one Event, patched.
        for _ in 0..2 {
            let before = stage.service.batch_calls().len();
            stage.service.set_running(&ids[0], false).unwrap();
            // And seen: a task switched back before that is one that does not settle.
            let corrected = |log: &[Entry]| {
                let call = log.iter().filter(|entry| entry.action.is_some()).nth(before);
                call.and_then(|call| call.answered_at).is_some_and(|at| {
                    log.iter()
                        .any(|entry| entry.arrived_at > at && entry.listed.iter().filter(|task| task.1).count() == 2)
                })
            };
            stage.wait_log("the correction", corrected).await;
            stage.wait_ready("orders").await;
        }
        stage.delete_group("orders").await;
        stage.wait_gone("orders").await;
        assert!(stage.service.batch_calls().iter().any(|call| call.action == Some(Action::Stop)));
        process.signal(Signal::TERM);
        assert!(process.ended(SOON).await.0.success(), "{}", process.log());
    }
    let roles: Api<ClusterRole> = Api::all(stage.client.clone());
    let lease: Api<Role> = Api::namespaced(stage.client.clone(), HOME);
    let mut shipped: BTreeSet<Right> = granted(lease.get("fdi-operator-lease").await.unwrap().rules).collect();
    for role in ["fdi-operator", "fdi-operator-schema"] {
        shipped.extend(granted(roles.get(role).await.unwrap().rules));
    }
    let asked = asked(&cluster);
    let refused: BTreeSet<&Right> = asked.iter().filter(|(_, refused)| *refused).map(|(right, _)| right).collect();
    assert!(refused.is_empty(), "the shipped roles lack {refused:?}");
    let used: BTreeSet<Right> = asked.into_iter().map(|(right, _)| right).collect();
    let unused = |right: &&Right| !used.iter().any(|asked| right.allows(asked));
    let superfluous: Vec<&Right> = shipped.iter().filter(unused).collect();
    assert!(superfluous.is_empty(), "the shipped roles grant what nobody uses: {superfluous:?}");
    let unshipped = |asked: &&Right| !shipped.iter().any(|right| right.allows(asked));
    let elsewhere: Vec<&Right> = used.iter().filter(unshipped).collect();
    assert!(elsewhere.is_empty(), "allowed by something else than the shipped roles: {elsewhere:?}");
}
