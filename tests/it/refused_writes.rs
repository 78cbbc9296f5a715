//! An API server that rejects what the operator writes: tasks are still started and stopped, and
//! the rejected writes are few, counted and logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::testing::Timings;
use serde_json::json;

use crate::harness::{Cluster, Operator, Process, TIMEOUT, TestEnv, fast_timings};

/// Starts reconciling at once.
const ALONE: &str = "--leader-election=false";

/// A policy as teams have them: every object of this namespace needs a label, also for writes to
/// subresources.
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

/// Waits for the log line of the `n`-th rejected write. Returns the number of reconciles and status
/// writes by then.
async fn wait_rejected(process: &Process, n: usize) -> (f64, f64) {
    let rejected = async {
        while process.log().matches("status could not be written").count() < n {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, rejected).await.is_ok(), "not rejected {n} times:\n{}", process.log());
    let writes = counter(process, "fdi_operator_status_writes_total").await;
    (counter(process, "fdi_operator_reconciles_total").await, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_denies_the_status_costs_few_writes_and_stops_no_call() {
    let (env, ids) = TestEnv::new(10).await;
    let applied = env.cluster.kubectl(&["apply", "-f", "-"], &policy(&env.namespace)).await;
    assert!(applied.status.success(), "{applied:?}");
    wait_policy_enforced(&env).await;
    let began = Instant::now();
    let process = Process::start(&env, &[ALONE]);
    env.group("orders", "Running", &ids).await;
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    let (reconciles, writes) = wait_rejected(&process, 6).await;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("denied status: {reconciles} reconciles and {writes} writes in {seconds:.1} s");
    assert!(
        writes <= 2.0 * seconds + 6.0 && reconciles <= 2.0 * seconds + 12.0,
        "{reconciles} reconciles, {writes} writes"
    );
    assert!(process.log().contains("objects need the label cost-centre"), "{}", process.log());
    // Without the policy the status is written.
    let deleted = env.cluster.kubectl(&["delete", "-f", "-"], &policy(&env.namespace)).await;
    assert!(deleted.status.success(), "{deleted:?}");
    env.wait_ready("orders").await;
    assert_eq!(env.sent_batches().len(), 1);
}

/// Waits until the API server enforces the policy.
async fn wait_policy_enforced(env: &TestEnv) {
    env.group("probe", "Stopped", &["nobody".to_owned()]).await;
    let patch = kube::api::Patch::Merge(json!({"spec": {"suspend": true}}));
    let enforced = async {
        let mut suspend = true;
        while env.groups().patch("probe", &kube::api::PatchParams::default(), &patch).await.is_ok() {
            suspend = !suspend;
            let back = kube::api::Patch::Merge(json!({"spec": {"suspend": suspend}}));
            let _ = env.groups().patch("probe", &kube::api::PatchParams::default(), &back).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, enforced).await.is_ok(), "the policy is not enforced");
    env.delete_group("probe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crd_without_the_status_subresource_costs_few_writes_and_stops_no_call() {
    let cluster = Arc::new(Cluster::start().await);
    let (env, ids) = TestEnv::on(Arc::clone(&cluster), 10).await;
    for name in ["fditaskgroups.fdi.romaconnect.dev", "fdiinstances.fdi.romaconnect.dev"] {
        let patch = json!([{"op": "remove", "path": "/spec/versions/0/subresources"}]).to_string();
        let patched = cluster.kubectl(&["patch", "crd", name, "--type=json", "-p", &patch], "").await;
        assert!(patched.status.success(), "{patched:?}");
    }
    let began = Instant::now();
    let process = Process::start(&env, &[ALONE]);
    env.group("orders", "Running", &ids).await;
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    let (reconciles, writes) = wait_rejected(&process, 6).await;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("no status subresource: {reconciles} reconciles and {writes} writes in {seconds:.1} s");
    assert!(
        writes <= 2.0 * seconds + 6.0 && reconciles <= 2.0 * seconds + 12.0,
        "{reconciles} reconciles, {writes} writes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_write_statuses_for_long_stops_calling_until_it_can() {
    let (env, ids) = TestEnv::new(3).await;
    let applied = env.cluster.kubectl(&["apply", "-f", "-"], &policy(&env.namespace)).await;
    assert!(applied.status.success(), "{applied:?}");
    wait_policy_enforced(&env).await;
    let timings = Timings { report_timeout: Duration::from_secs(2), ..fast_timings() };
    let _operator = Operator::with(&env, timings.clone(), &[]).await;
    env.group("orders", "Running", &ids).await;
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    let began = Instant::now();
    env.wait_log("lists after the limit", |_| began.elapsed() > timings.report_timeout * 2).await;
    env.service.set_running(&ids[0], false).unwrap();
    let listed = env.service.calls().len();
    env.wait_log("lists that show the drift", |log| log.len() > listed + 5).await;
    assert_eq!(env.sent_batches().len(), 1, "called without being able to report it");
    let deleted = env.cluster.kubectl(&["delete", "-f", "-"], &policy(&env.namespace)).await;
    assert!(deleted.status.success(), "{deleted:?}");
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    env.wait_ready("orders").await;
}
