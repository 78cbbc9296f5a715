//! Signing in, end to end: each way over TLS with a private authority, rotation, refused
//! credentials and endpoints.

mod leak;

use std::time::{Duration, Instant};

use fdi_operator::crd::{ConditionStatus, FdiInstance, condition_types, event_reasons, reasons};
use fdi_operator::testing::{Backoff, Timings};
use fdi_simulator::{AccessKey, Certificate, Filter, Identity, InstanceHandle, Options, Simulator, User};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{INSTANCE, Operator, PROJECT, Revisions, TIMEOUT, TOKEN, TestEnv, fast_timings, kubectl};

const KEY: &str = "AKIDEXAMPLEROMA00001";
const SECRET: &str = "roma-credentials";

/// A service that speaks TLS with a certificate of its own authority.
async fn private_cloud(tasks: usize) -> (TestEnv, Vec<String>) {
    let (mut env, _) = TestEnv::bare(0).await;
    env.sim = Simulator::start(Options::default().tls(Certificate::Right)).await.unwrap();
    env.sim.set_token(TOKEN, Some(PROJECT), Duration::from_hours(24));
    env.service = env.sim.instance(PROJECT, INSTANCE);
    env.revisions = Revisions::record(env.client.clone(), &env.namespace, env.service.clone());
    let ids = env.service.create_tasks(tasks);
    (env, ids)
}

/// `https://localhost:PORT`.
fn localhost(sim: &Simulator) -> String {
    sim.https_url().unwrap().replace("127.0.0.1", "localhost")
}

/// The spec of an instance at the TLS address of the service that signs in the given way.
fn over_tls(env: &TestEnv, auth: &str) -> Value {
    json!({
        "endpoint": localhost(&env.sim), "iamEndpoint": localhost(&env.sim), "caBundle": env.sim.ca_pem(),
        "projectId": PROJECT, "instanceId": INSTANCE, "auth": {auth: {"secretRef": {"name": SECRET}}},
        "pollIntervalSeconds": 10, "rateLimit": {"requestsPerSecond": 100, "maxConcurrentCalls": 2},
    })
}

/// Applies an instance with exactly this spec.
async fn apply(env: &TestEnv, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiInstance", "metadata": {"name": name}, "spec": spec,
    });
    let how = PatchParams::apply("tests").force();
    env.instances().patch(name, &how, &Patch::Apply(object)).await.unwrap();
}

/// Changes values of the Secret in place, as a rotation does.
async fn rotate(env: &TestEnv, data: &[(&str, &str)]) {
    let api: Api<Secret> = Api::namespaced(env.client.clone(), &env.namespace);
    let data: serde_json::Map<String, Value> = data.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    api.patch(SECRET, &PatchParams::default(), &Patch::Merge(json!({"stringData": data}))).await.unwrap();
}

/// Reason and message of the instance's condition, when it is False.
fn denied(instance: &FdiInstance, type_: &str) -> Option<(String, String)> {
    let found = instance.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)?;
    (found.status == ConditionStatus::False).then(|| (found.reason.to_string(), found.message.to_string()))
}

/// Waits until every instance of the namespace fulfils the condition.
async fn wait_instances(env: &TestEnv, what: &str, condition: impl Fn(&FdiInstance) -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let all = env.instances().list(&ListParams::default()).await.unwrap().items;
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
    let (env, ids) = private_cloud(25).await;
    env.sim.set_user(User::new("account", "operator", "pass phrase"));
    env.sim.set_key(KEY, AccessKey::new("secret-key"));
    let temporary = AccessKey { security_token: Some("st+/=".into()), ..AccessKey::new("secret-key") };
    env.sim.set_key("AKIDTEMPORARY0000001", temporary);
    env.secret(SECRET, data).await;
    apply(&env, "roma", over_tls(&env, auth)).await;
    let operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;
    assert_eq!((env.service.running().len(), env.service.batch_calls().len()), (25, 3), "{auth}");
    env.service.set_running(&ids[3], false).unwrap();
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    env.wait_ready("orders").await;
    env.group("orders", "Stopped", &ids).await;
    env.wait_ready("orders").await;
    assert_eq!((env.service.running().len(), env.service.batch_calls().len()), (0, 7), "{auth}");
    operator.end().await;
    let calls = env.service.calls();
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
async fn an_untrusted_authority_is_reported_and_the_right_ca_bundle_cures_it() {
    let (env, ids) = private_cloud(3).await;
    env.secret(SECRET, &[("token", TOKEN)]).await;
    let mut spec = over_tls(&env, "token");
    spec.as_object_mut().unwrap().remove("caBundle");
    apply(&env, "roma", spec).await;
    env.group("orders", "Running", &ids).await;
    let _operator = Operator::start(&env).await;
    wait_instances(&env, "reported", |instance| {
        denied(instance, condition_types::SYNCED)
            .is_some_and(|(reason, message)| reason == reasons::TLS_FAILED && message.contains("caBundle"))
    })
    .await;
    assert_eq!(env.service.calls().len(), 0, "no request, and no token, went to an untrusted server");
    apply(&env, "roma", over_tls(&env, "token")).await;
    env.wait_ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_rotated_under_load_costs_at_most_one_refused_request_each_time() {
    let (env, ids) = private_cloud(30).await;
    env.sim.set_key(KEY, AccessKey::new("key-0"));
    env.secret(SECRET, &[("accessKey", KEY), ("secretKey", "key-0")]).await;
    let mut spec = over_tls(&env, "accessKey");
    spec["rateLimit"] = json!({"requestsPerSecond": 100, "maxConcurrentCalls": 1});
    apply(&env, "roma", spec).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Stopped", &ids).await;
    env.wait_ready("orders").await;
    for round in 1..=5_u64 {
        let next = format!("key-{round}");
        let wanted = if round % 2 == 1 { "Running" } else { "Stopped" };
        env.edit("orders", json!({"desiredState": wanted})).await;
        env.sim.set_key(KEY, AccessKey::new(&next));
        rotate(&env, &[("secretKey", &next)]).await;
        env.service.wait_until_all(wanted == "Running", &ids, TIMEOUT).await.unwrap();
        env.wait_ready("orders").await;
        assert!(refused(&env.sim) <= round, "{} refused requests in {round} rotations", refused(&env.sim));
    }
    let failed = |group: &fdi_operator::crd::FdiTaskGroup| {
        group.status.as_ref().and_then(|status| status.tasks).is_some_and(|tasks| tasks.failed > 0)
    };
    assert!(!env.revisions.of("orders").iter().any(failed), "no task ever counted as failed");
    assert!(!events(&env).await.contains(event_reasons::FAILED));
}

async fn events(env: &TestEnv) -> String {
    kubectl(&["get", "events.events.k8s.io", "-o", "json", "-n", &env.namespace], "").await.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_is_used_in_time_also_in_back_off_and_after_it_was_missing() {
    let (env, ids) = private_cloud(3).await;
    env.sim.set_key(KEY, AccessKey::new("right"));
    apply(&env, "roma", over_tls(&env, "accessKey")).await;
    env.group("orders", "Running", &ids).await;
    // The back-off is long: only the changed Secret can end it.
    let backoff = Backoff { base: Duration::from_mins(10), max: Duration::from_mins(10) };
    let timings = Timings { backoff, ..fast_timings() };
    let within = timings.secret_refresh + Duration::from_secs(2);
    let _operator = Operator::with(&env, timings, &[]).await;

    env.wait_reason("orders", reasons::SECRET_NOT_FOUND).await;
    env.secret(SECRET, &[("accessKey", KEY), ("secretKey", "wrong")]).await;
    let created = Instant::now();
    wait_instances(&env, "refused", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, _)| reason == reasons::SIGN_IN_REFUSED)
    })
    .await;
    assert!(created.elapsed() < within, "used {:?} after it was created", created.elapsed());
    assert_eq!(refused(&env.sim), 1);

    rotate(&env, &[("secretKey", "right")]).await;
    let rotated = Instant::now();
    env.service.wait_until_all(true, &ids, TIMEOUT).await.unwrap();
    assert!(rotated.elapsed() < within, "used {:?} after it was changed", rotated.elapsed());
    env.wait_ready("orders").await;
    assert_eq!(refused(&env.sim), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_instances_with_one_refused_key_send_at_most_three_requests() {
    let (env, _) = private_cloud(0).await;
    env.sim.set_key(KEY, AccessKey::new("right"));
    env.secret(SECRET, &[("accessKey", KEY), ("secretKey", "wrong")]).await;
    let services: Vec<InstanceHandle> = (0..100).map(|n| env.sim.instance(PROJECT, &format!("instance-{n}"))).collect();
    for service in &services {
        let mut spec = over_tls(&env, "accessKey");
        spec["instanceId"] = json!(service.id());
        apply(&env, service.id(), spec).await;
    }
    let _operator = Operator::start(&env).await;
    wait_instances(&env, "refused", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, _)| reason == reasons::SIGN_IN_REFUSED)
    })
    .await;
    // Longer than the first back-offs of the credential: 5 and 10 seconds.
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert!((1..=3).contains(&refused(&env.sim)), "{} refused requests", refused(&env.sim));

    let before = refused(&env.sim);
    rotate(&env, &[("secretKey", "right")]).await;
    wait_instances(&env, "signed in", |instance| {
        instance.status.as_ref().is_some_and(|status| {
            status.conditions.iter().any(|c| c.type_ == condition_types::READY && c.status == ConditionStatus::True)
        })
    })
    .await;
    assert!(services.iter().all(|service| !service.list_calls().is_empty()));
    assert_eq!(refused(&env.sim), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_allowed_is_reported_and_nothing_is_sent() {
    let (env, ids) = private_cloud(3).await;
    env.secret(SECRET, &[("domainName", "account"), ("userName", "operator"), ("password", "pass")]).await;
    // The service's own endpoint is allowed, but the password would go elsewhere.
    let mut spec = over_tls(&env, "password");
    spec["iamEndpoint"] = json!("https://iam.example.com");
    apply(&env, "roma", spec).await;
    let mut spec = over_tls(&env, "password");
    spec["endpoint"] = json!("https://roma.cn-north-4.myhuaweicloud.com.example.com");
    apply(&env, "imitation", spec).await;
    env.group("orders", "Running", &ids).await;
    let _operator = Operator::start(&env).await;
    wait_instances(&env, "reported", |instance| {
        denied(instance, condition_types::SYNCED).is_some_and(|(reason, message)| {
            reason == reasons::ENDPOINT_NOT_ALLOWED && message.contains("example.com") && message.contains("list")
        })
    })
    .await;
    env.wait_reason("orders", reasons::ENDPOINT_NOT_ALLOWED).await;
    assert_eq!(env.sim.with_log(<[_]>::len), 0);
}
