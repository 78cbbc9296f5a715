//! An API server that refuses what the operator writes: tasks are still switched, and the refusals
//! are few, counted and logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::testing::Timings;
use serde_json::json;

use crate::harness::{Cluster, Operator, Process, SOON, Stage, fast};

/// Leads at once.
const ALONE: &str = "--leader-election=false";

/// A policy as teams have them: every object of this namespace needs a label, subresources
/// included.
fn policy(namespace: &str) -> String {
    let rule = json!({
        "apiGroups": ["fdi.romaconnect.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["*/*"],
    });
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "validations": [{
                "expression": "has(object.metadata.labels) && 'cost-centre' in object.metadata.labels",
                "message": "objects need the label cost-centre",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]}).to_string()
}

/// The sum of all series of one counter.
async fn counter(process: &Process, name: &str) -> f64 {
    let text = process.get("/metrics").await.1;
    let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits for the log line of the `n`-th refusal and returns how many reconciles and writes there
/// were by then.
async fn refusals(process: &Process, n: usize) -> (f64, f64) {
    let refused = async {
        while process.log().matches("status could not be written").count() < n {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, refused).await.is_ok(), "not refused {n} times:\n{}", process.log());
    let writes = counter(process, "fdi_operator_status_writes_total").await;
    (counter(process, "fdi_operator_reconciles_total").await, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_denies_the_status_costs_few_writes_and_stops_no_call() {
    let (stage, ids) = Stage::new(10).await;
    let applied = stage.cluster.kubectl(&["apply", "-f", "-"], &policy(&stage.namespace)).await;
    assert!(applied.status.success(), "{applied:?}");
    denied(&stage).await;
    let began = Instant::now();
    let process = Process::start(&stage, &[ALONE]);
    stage.group("orders", "Running", &ids).await;
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    let (reconciles, writes) = refusals(&process, 6).await;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("denied status: {reconciles} reconciles and {writes} writes in {seconds:.1} s");
    assert!(
        writes <= 2.0 * seconds + 6.0 && reconciles <= 2.0 * seconds + 12.0,
        "{reconciles} reconciles, {writes} writes"
    );
    assert!(process.log().contains("objects need the label cost-centre"), "{}", process.log());
    // Once it is allowed, the truth is written.
    let deleted = stage.cluster.kubectl(&["delete", "-f", "-"], &policy(&stage.namespace)).await;
    assert!(deleted.status.success(), "{deleted:?}");
    stage.wait_ready("orders").await;
    assert_eq!(stage.told().len(), 1);
}

/// Waits until the API server enforces the policy.
async fn denied(stage: &Stage) {
    stage.group("probe", "Stopped", &["nobody".to_owned()]).await;
    let patch = kube::api::Patch::Merge(json!({"spec": {"suspend": true}}));
    let enforced = async {
        let mut suspend = true;
        while stage.groups().patch("probe", &kube::api::PatchParams::default(), &patch).await.is_ok() {
            suspend = !suspend;
            let back = kube::api::Patch::Merge(json!({"spec": {"suspend": suspend}}));
            let _ = stage.groups().patch("probe", &kube::api::PatchParams::default(), &back).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, enforced).await.is_ok(), "the policy is not enforced");
    stage.delete_group("probe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_without_the_status_subresource_costs_few_writes_and_stops_no_call() {
    let cluster = Arc::new(Cluster::start().await);
    let (stage, ids) = Stage::on(Arc::clone(&cluster), 10).await;
    for name in ["fditaskgroups.fdi.romaconnect.dev", "fdiinstances.fdi.romaconnect.dev"] {
        let patch = json!([{"op": "remove", "path": "/spec/versions/0/subresources"}]).to_string();
        let patched = cluster.kubectl(&["patch", "crd", name, "--type=json", "-p", &patch], "").await;
        assert!(patched.status.success(), "{patched:?}");
    }
    let began = Instant::now();
    let process = Process::start(&stage, &[ALONE]);
    stage.group("orders", "Running", &ids).await;
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    let (reconciles, writes) = refusals(&process, 6).await;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("no status subresource: {reconciles} reconciles and {writes} writes in {seconds:.1} s");
    assert!(
        writes <= 2.0 * seconds + 6.0 && reconciles <= 2.0 * seconds + 12.0,
        "{reconciles} reconciles, {writes} writes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_report_for_long_stops_calling_until_it_can() {
    let (stage, ids) = Stage::new(3).await;
    let applied = stage.cluster.kubectl(&["apply", "-f", "-"], &policy(&stage.namespace)).await;
    assert!(applied.status.success(), "{applied:?}");
    denied(&stage).await;
    let timings = Timings { report_timeout: Duration::from_secs(2), ..fast() };
    let _operator = Operator::with(&stage, timings.clone(), &[]).await;
    stage.group("orders", "Running", &ids).await;
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    let began = Instant::now();
    stage.wait_log("lists after the limit", |_| began.elapsed() > timings.report_timeout * 2).await;
    stage.service.set_running(&ids[0], false).unwrap();
    let seen = stage.service.calls().len();
    stage.wait_log("lists that show the drift", |log| log.len() > seen + 5).await;
    assert_eq!(stage.told().len(), 1, "called without being able to say so");
    let deleted = stage.cluster.kubectl(&["delete", "-f", "-"], &policy(&stage.namespace)).await;
    assert!(deleted.status.success(), "{deleted:?}");
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    stage.wait_ready("orders").await;
}
