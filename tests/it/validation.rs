//! What the API server answers to invalid input, through real kubectl: each message names the field
//! and the limit.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{TestEnv, kubectl};

async fn apply(env: &TestEnv, kind: &str, name: &str, spec: Value) -> Result<String, String> {
    let object = json!({
        "apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": env.namespace}, "spec": spec,
    });
    let answer = kubectl(&["apply", "-f", "-"], &object.to_string()).await;
    if answer.status.success() { Ok(answer.stdout) } else { Err(answer.stderr) }
}

fn group(ids: &Value) -> Value {
    json!({"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ids})
}

fn instance() -> Value {
    json!({
        "region": "cn-north-4", "projectId": "p", "instanceId": "i",
        "auth": {"token": {"secretRef": {"name": "s"}}},
    })
}

fn with(mut spec: Value, key: &str, value: Value) -> Value {
    if value.is_null() {
        spec.as_object_mut().unwrap().remove(key);
    } else {
        spec[key] = value;
    }
    spec
}

/// Which tasks a group has.
fn choices() -> [(&'static str, Value, &'static str); 5] {
    [
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "taskIds", Value::Null),
            "must set at least one of taskIds, taskNames and selector",
        ),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "selector", json!({"exclude": {"names": ["x"]}})),
            "must set at least one of names, tags, types, sourceApps and targetApps",
        ),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "selector", json!({"names": ["*"], "maxTasks": 1001})),
            "spec.selector.maxTasks in body should be less than or equal to 1000",
        ),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "selector", json!({"types": ["Timing"]})),
            "spec.selector.types[0]: Unsupported value: \"Timing\"",
        ),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "taskNames", json!([""])),
            "spec.taskNames[0] in body should be at",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_input_is_rejected_with_a_message_that_names_the_field_and_the_limit() {
    let (env, _) = TestEnv::bare(0).await;
    let many: Vec<String> = (0..1001).map(|n| format!("task{n}")).collect();
    let secret = json!({"secretRef": {"name": "s"}});
    let cases = [
        ("FdiTaskGroup", group(&json!([])), "spec.taskIds in body should have at least 1 items"),
        ("FdiTaskGroup", group(&json!(many)), "spec.taskIds: Too many: 1001: must have at most 1000 items"),
        ("FdiTaskGroup", group(&json!(["a b"])), "spec.taskIds[0] in body should match '^[A-Za-z0-9_-]{1,64}$'"),
        ("FdiTaskGroup", group(&json!(["a".repeat(65)])), "spec.taskIds[0]: Too long: may not be more than 64"),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "desiredState", json!("Paused")),
            "spec.desiredState: Unsupported value: \"Paused\": supported values: \"Running\", \"Stopped\"",
        ),
        ("FdiTaskGroup", with(group(&json!(["a"])), "instanceRef", Value::Null), "spec.instanceRef: Required value"),
        (
            "FdiInstance",
            with(instance(), "endpoint", json!("https://x")),
            "must set exactly one of spec.region and spec.endpoint",
        ),
        (
            "FdiInstance",
            with(instance(), "region", Value::Null),
            "must set exactly one of spec.region and spec.endpoint",
        ),
        (
            "FdiInstance",
            with(instance(), "auth", json!({"token": secret, "password": secret})),
            "must set exactly one of spec.auth.accessKey, spec.auth.password and spec.auth.token",
        ),
        ("FdiInstance", with(instance(), "auth", json!({})), "must set exactly one of spec.auth.accessKey"),
        (
            "FdiInstance",
            with(instance(), "pollIntervalSeconds", json!(5)),
            "spec.pollIntervalSeconds in body should be greater than or equal to 10",
        ),
        (
            "FdiTaskGroup",
            with(group(&json!(["a"])), "instanceRef", json!({"name": "?watch=1"})),
            "spec.instanceRef.name in body should match",
        ),
        (
            "FdiInstance",
            with(instance(), "auth", json!({"token": {"secretRef": {"name": "../x"}}})),
            "spec.auth.token.secretRef.name in body should match",
        ),
    ];
    let mut wrong = String::new();
    for (kind, spec, words) in cases.into_iter().chain(choices()) {
        match apply(&env, kind, "wrong", spec).await {
            Err(message) if message.contains(words) => {}
            other => writeln!(wrong, "expected {words:?}, got {other:?}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_more_than_63_characters_is_rejected() {
    let (env, _) = TestEnv::bare(0).await;
    let message = apply(&env, "FdiTaskGroup", &"g".repeat(64), group(&json!(["a"]))).await.unwrap_err();
    assert!(message.contains("metadata.name must have at most 63 characters"), "{message}");
    apply(&env, "FdiTaskGroup", &"g".repeat(63), group(&json!(["a"]))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_identifies_an_object_cannot_be_changed() {
    let (env, _) = TestEnv::bare(0).await;
    apply(&env, "FdiTaskGroup", "g", group(&json!(["a"]))).await.unwrap();
    apply(&env, "FdiInstance", "i", instance()).await.unwrap();
    let changes = [
        (
            "FdiTaskGroup",
            "g",
            with(group(&json!(["a"])), "instanceRef", json!({"name": "other"})),
            "instanceRef must not change",
        ),
        ("FdiInstance", "i", with(instance(), "projectId", json!("q")), "projectId must not change"),
        ("FdiInstance", "i", with(instance(), "instanceId", json!("j")), "instanceId must not change"),
        ("FdiInstance", "i", with(instance(), "region", json!("cn-north-1")), "spec.region must not change"),
        ("FdiInstance", "i", with(instance(), "iamEndpoint", json!("https://iam")), "spec.iamEndpoint must not change"),
        (
            "FdiInstance",
            "i",
            with(with(instance(), "region", Value::Null), "endpoint", json!("https://x")),
            "spec.region must not change",
        ),
    ];
    for (kind, name, spec, words) in changes {
        let message = apply(&env, kind, name, spec).await.unwrap_err();
        assert!(message.contains(words), "expected {words:?}, got {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_object_has_defaults_and_a_status_that_no_tool_takes_for_healthy() {
    let (env, _) = TestEnv::bare(0).await;
    apply(&env, "FdiTaskGroup", "g", group(&json!(["a"]))).await.unwrap();
    apply(&env, "FdiInstance", "i", instance()).await.unwrap();
    let get = async |kind: &str, name: &str, path: &str| {
        let path = format!("-o=jsonpath={{{path}}}");
        let got = kubectl(&["get", kind, name, "-n", &env.namespace, &path], "").await;
        assert!(got.status.success(), "{}", got.stderr);
        got.stdout
    };
    assert_eq!(get("ftg", "g", ".status.observedGeneration").await, "-1");
    assert_eq!(get("fdi", "i", ".status.observedGeneration").await, "-1");
    assert_eq!(get("ftg", "g", ".spec.deletionPolicy").await, "Orphan");
    assert_eq!(get("fdi", "i", ".spec.pollIntervalSeconds").await, "60");
}
