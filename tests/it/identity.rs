//! Who wrote what, in the managed fields of objects and in the audit log of the API server.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::harness::{Process, TIMEOUT, TestEnv, shared};

/// Field managers of the object, each with its subresource.
fn managers(metadata: &ObjectMeta) -> Vec<(String, Option<String>)> {
    let fields = metadata.managed_fields.iter().flatten();
    fields.map(|entry| (entry.manager.clone().unwrap_or_default(), entry.subresource.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_writes_under_its_own_name() {
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    env.group_with("orders", "Running", &ids, serde_json::json!({"deletionPolicy": "Stop"})).await;
    let process =
        Process::start(&env, &["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=500ms"]);
    process.wait_leading().await;
    let group = env.wait_ready("orders").await;
    let ours = |subresource: Option<&str>| ("fdi-operator".to_owned(), subresource.map(str::to_owned));
    let group = env.groups().get(&group.name_any()).await.unwrap();
    assert!(managers(&group.metadata).contains(&ours(Some("status"))), "{:?}", managers(&group.metadata));
    assert!(managers(&group.metadata).contains(&ours(None)), "the finalizer: {:?}", managers(&group.metadata));
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), &env.namespace);
    let lease = leases.get("fdi-operator").await.unwrap();
    assert!(managers(&lease.metadata).contains(&ours(None)), "{:?}", lease.metadata);
    let events: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let published = async {
        loop {
            if let Some(event) = events.list(&ListParams::default()).await.unwrap().items.pop() {
                return event;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let event = tokio::time::timeout(TIMEOUT, published).await.expect("an event");
    assert_eq!(managers(&event.metadata), [ours(None)]);

    let agent =
        format!("fdi-operator/{} ({}/{})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let log = std::fs::read_to_string(env.cluster.plane().audit_log_path()).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_env: Vec<Value> =
        entries.filter(|entry| entry["objectRef"]["namespace"] == env.namespace.as_str()).collect();
    assert!(of_env.len() > 5);
    assert!(of_env.iter().all(|entry| entry["userAgent"] == agent.as_str()), "{:?}", of_env[0]["userAgent"]);
}
