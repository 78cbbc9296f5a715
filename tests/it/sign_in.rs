//! Signing in, end to end: each way over TLS with a private authority, rotation, refused credentials and endpoints.

mod leak;

use std::time::{Duration, Instant};

use fdi_operator::crd::{ConditionStatus, FdiInstance, condition_types, event_reasons, reasons};
use fdi_operator::testing::{Backoff, Timings};
use fdi_simulator::{AccessKey, Certificate, Filter, Identity, InstanceHandle, Options, Simulator, User};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{INSTANCE, Operator, PROJECT, Revisions, SOON, Stage, TOKEN, fast, kubectl};

const KEY: &str = "AKIDEXAMPLEROMA00001";
const SECRET: &str = "roma-credentials";

/// A stage whose service speaks TLS with a certificate of its own authority.
async fn private_cloud(tasks: usize) -> (Stage, Vec<String>) {
    let (mut stage, _) = Stage::bare(0).await;
    stage.sim = Simulator::start(Options::default().tls(Certificate::Right)).await.unwrap();
    stage.sim.set_token(TOKEN, Some(PROJECT), Duration::from_hours(24));
    stage.service = stage.sim.instance(PROJECT, INSTANCE);
    stage.revisions = Revisions::record(stage.client.clone(), &stage.namespace, stage.service.clone());
    let ids = stage.service.create_tasks(tasks);
    (stage, ids)
}

/// `https://localhost:PORT`.
fn localhost(sim: &Simulator) -> String {
    sim.https_url().unwrap().replace("127.0.0.1", "localhost")
}

/// The spec of an instance at the TLS address of the service that signs in the given way.
fn over_tls(stage: &Stage, auth: &str) -> Value {
    json!({
        "endpoint": localhost(&stage.sim), "iamEndpoint": localhost(&stage.sim), "caBundle": stage.sim.ca_pem(),
        "projectId": PROJECT, "instanceId": INSTANCE, "auth": {auth: {"secretRef": {"name": SECRET}}},
        "pollIntervalSeconds": 10, "rateLimit": {"requestsPerSecond": 100, "maxConcurrentCalls": 2},
    })
}

/// Applies an instance with exactly this spec.
async fn apply(stage: &Stage, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiInstance", "metadata": {"name": name}, "spec": spec,
    });
    let how = PatchParams::apply("tests").force();
    stage.instances().patch(name, &how, &Patch::Apply(object)).await.unwrap();
}

/// Changes values of the Secret in place, as a rotation does.
async fn rotate(stage: &Stage, data: &[(&str, &str)]) {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let data: serde_json::Map<String, Value> = data.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    api.patch(SECRET, &PatchParams::default(), &Patch::Merge(json!({"stringData": data}))).await.unwrap();
}

/// Reason and message of the instance's condition, when it is False.
fn denied(instance: &FdiInstance, type_: &str) -> Option<(String, String)> {
    let found = instance.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)?;
    (found.status == ConditionStatus::False).then(|| (found.reason.clone(), found.message.clone()))
}

/// Waits until every instance of the namespace fulfils the condition.
async fn wait_instances(stage: &Stage, what: &str, condition: impl Fn(&FdiInstance) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let all = stage.instances().list(&ListParams::default()).await.unwrap().items;
        let odd = all.iter().find(|instance| !condition(instance));
        let Some(odd) = odd else { return };
        assert!(Instant::now() < deadline, "not {what}: {:?}", odd.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refused(sim: &Simulator) -> u64 {
    sim.counts(&Filter::default()).sign_ins_refused
}

/// The demo's scenario: start, drift by hand, stop; in the fewest calls, all by `caller`.
async fn the_demo_works(auth: &str, data: &[(&str, &str)], caller: impl Fn(&Identity) -> bool) {
    let (stage, ids) = private_cloud(25).await;
    stage.sim.set_user(User::new("account", "operator", "pass phrase"));
    stage.sim.set_key(KEY, AccessKey::new("secret-key"));
    let temporary = AccessKey { security_token: Some("st+/=".into()), ..AccessKey::new("secret-key") };
    stage.sim.set_key("AKIDTEMPORARY0000001", temporary);
    stage.secret(SECRET, data).await;
    apply(&stage, "roma", over_tls(&stage, auth)).await;
    let operator = Operator::start(&stage).await;
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;
    assert_eq!((stage.service.running().len(), stage.service.batch_calls().len()), (25, 3), "{auth}");
    stage.service.set_running(&ids[3], false).unwrap();
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    stage.wait_ready("orders").await;
    stage.group("orders", "Stopped", &ids).await;
    stage.wait_ready("orders").await;
    assert_eq!((stage.service.running().len(), stage.service.batch_calls().len()), (0, 7), "{auth}");
    operator.end().await;
    let calls = stage.service.calls();
    assert!(calls.iter().all(|call| caller(&call.identity)), "{auth}");
    assert!(calls.iter().all(|call| call.status == Some(200)), "{auth}: nothing was refused on the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_with_a_token_over_tls_with_a_private_authority() {
    the_demo_works("token", &[("token", TOKEN)], |caller| matches!(caller, Identity::Token(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_with_an_access_key_over_tls_with_a_private_authority() {
    let data = [("accessKey", KEY), ("secretKey", "secret-key\n")];
    the_demo_works("accessKey", &data, |caller| *caller == Identity::AccessKey(KEY.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_with_a_temporary_key_over_tls_with_a_private_authority() {
    let key = "AKIDTEMPORARY0000001";
    let data = [("accessKey", key), ("secretKey", "secret-key"), ("securityToken", "st+/=")];
    the_demo_works("accessKey", &data, |caller| *caller == Identity::AccessKey(key.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_with_a_password_over_tls_with_a_private_authority() {
    let data = [("domainName", "account"), ("userName", "operator"), ("password", "pass phrase")];
    the_demo_works("password", &data, |caller| matches!(caller, Identity::Token(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_trusted_is_told_and_the_right_bundle_helps() {
    let (stage, ids) = private_cloud(3).await;
    stage.secret(SECRET, &[("token", TOKEN)]).await;
    let mut spec = over_tls(&stage, "token");
    spec.as_object_mut().unwrap().remove("caBundle");
    apply(&stage, "roma", spec).await;
    stage.group("orders", "Running", &ids).await;
    let _operator = Operator::start(&stage).await;
    wait_instances(&stage, "told", |instance| {
        denied(instance, condition_types::SYNCED)
            .is_some_and(|(reason, message)| reason == reasons::TLS_FAILED && message.contains("caBundle"))
    })
    .await;
    assert_eq!(stage.service.calls().len(), 0, "no request, and no token, went to a stranger");
    apply(&stage, "roma", over_tls(&stage, "token")).await;
    stage.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_rotated_during_traffic_costs_no_convergence_and_at_most_one_refused_request() {
    let (stage, ids) = private_cloud(30).await;
    stage.sim.set_key(KEY, AccessKey::new("key-0"));
    stage.secret(SECRET, &[("accessKey", KEY), ("secretKey", "key-0")]).await;
    let mut spec = over_tls(&stage, "accessKey");
    spec["rateLimit"] = json!({"requestsPerSecond": 100, "maxConcurrentCalls": 1});
    apply(&stage, "roma", spec).await;
    let _operator = Operator::start(&stage).await;
    stage.group("orders", "Stopped", &ids).await;
    stage.wait_ready("orders").await;
    for round in 1..=5_u64 {
        let next = format!("key-{round}");
        let wanted = if round % 2 == 1 { "Running" } else { "Stopped" };
        stage.edit("orders", json!({"desiredState": wanted})).await;
        stage.sim.set_key(KEY, AccessKey::new(&next));
        rotate(&stage, &[("secretKey", &next)]).await;
        stage.service.wait_until_all(wanted == "Running", &ids, SOON).await.unwrap();
        stage.wait_ready("orders").await;
        assert!(refused(&stage.sim) <= round, "{} refused requests in {round} rotations", refused(&stage.sim));
    }
    let failed = |group: &fdi_operator::crd::FdiTaskGroup| {
        group.status.as_ref().and_then(|status| status.tasks).is_some_and(|tasks| tasks.failed > 0)
    };
    assert!(!stage.revisions.of("orders").iter().any(failed), "no task ever counted as failed");
    assert!(!events(&stage).await.contains(event_reasons::FAILED));
}

async fn events(stage: &Stage) -> String {
    kubectl(&["get", "events.events.k8s.io", "-o", "json", "-n", &stage.namespace], "").await.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_is_used_within_its_time_in_back_off_and_after_it_was_missing() {
    let (stage, ids) = private_cloud(3).await;
    stage.sim.set_key(KEY, AccessKey::new("right"));
    apply(&stage, "roma", over_tls(&stage, "accessKey")).await;
    stage.group("orders", "Running", &ids).await;
    // The waits after a failure are left long: it must be the Secret that ends them.
    let backoff = Backoff { base: Duration::from_mins(10), max: Duration::from_mins(10) };
    let timings = Timings { backoff, ..fast() };
    let within = timings.secret_refresh + Duration::from_secs(2);
    let _operator = Operator::with(&stage, timings, &[]).await;

    stage.wait_reason("orders", reasons::SECRET_NOT_FOUND).await;
    stage.secret(SECRET, &[("accessKey", KEY), ("secretKey", "wrong")]).await;
    let created = Instant::now();
    wait_instances(&stage, "refused", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, _)| reason == reasons::SIGN_IN_REFUSED)
    })
    .await;
    assert!(created.elapsed() < within, "used {:?} after it was created", created.elapsed());
    assert_eq!(refused(&stage.sim), 1);

    rotate(&stage, &[("secretKey", "right")]).await;
    let rotated = Instant::now();
    stage.service.wait_until_all(true, &ids, SOON).await.unwrap();
    assert!(rotated.elapsed() < within, "used {:?} after it was changed", rotated.elapsed());
    stage.wait_ready("orders").await;
    assert_eq!(refused(&stage.sim), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_instances_with_one_refused_key_send_three_requests_at_most_until_the_secret_changes() {
    let (stage, _) = private_cloud(0).await;
    stage.sim.set_key(KEY, AccessKey::new("right"));
    stage.secret(SECRET, &[("accessKey", KEY), ("secretKey", "wrong")]).await;
    let services: Vec<InstanceHandle> =
        (0..100).map(|n| stage.sim.instance(PROJECT, &format!("instance-{n}"))).collect();
    for service in &services {
        let mut spec = over_tls(&stage, "accessKey");
        spec["instanceId"] = json!(service.id());
        apply(&stage, service.id(), spec).await;
    }
    let _operator = Operator::start(&stage).await;
    wait_instances(&stage, "refused", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, _)| reason == reasons::SIGN_IN_REFUSED)
    })
    .await;
    // Longer than the first waits of the credential: 5 and 10 seconds.
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert!((1..=3).contains(&refused(&stage.sim)), "{} refused requests", refused(&stage.sim));

    let before = refused(&stage.sim);
    rotate(&stage, &[("secretKey", "right")]).await;
    wait_instances(&stage, "signed in", |instance| {
        instance.status.as_ref().is_some_and(|status| {
            status.conditions.iter().any(|c| c.type_ == condition_types::READY && c.status == ConditionStatus::True)
        })
    })
    .await;
    assert!(services.iter().all(|service| !service.list_calls().is_empty()));
    assert_eq!(refused(&stage.sim), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_allowed_is_told_and_nothing_is_sent() {
    let (stage, ids) = private_cloud(3).await;
    stage.secret(SECRET, &[("domainName", "account"), ("userName", "operator"), ("password", "pass")]).await;
    // The service itself is allowed, but the password would go elsewhere.
    let mut spec = over_tls(&stage, "password");
    spec["iamEndpoint"] = json!("https://iam.example.com");
    apply(&stage, "roma", spec).await;
    let mut spec = over_tls(&stage, "password");
    spec["endpoint"] = json!("https://roma.cn-north-4.myhuaweicloud.com.example.com");
    apply(&stage, "lookalike", spec).await;
    stage.group("orders", "Running", &ids).await;
    let _operator = Operator::start(&stage).await;
    wait_instances(&stage, "told", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, message)| {
            reason == reasons::ENDPOINT_NOT_ALLOWED && message.contains("example.com") && message.contains("list")
        })
    })
    .await;
    stage.wait_reason("orders", reasons::ENDPOINT_NOT_ALLOWED).await;
    assert_eq!(stage.sim.with_log(<[_]>::len), 0);
}
