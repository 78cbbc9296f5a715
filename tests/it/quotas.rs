//! Objects of one namespace must not fill the operator's memory.

use fdi_simulator::{Options, Simulator};
use serde_json::json;

use crate::harness::fake_api::{FakeApi, FakeApiServer, GROUPS, INSTANCES};
use crate::harness::{Process, TIMEOUT};

/// Each takes slightly more than 1 MiB of the 64 MiB of its namespace.
const FIT: usize = 63;
const CREATED: usize = 70;

fn name(n: usize) -> String {
    format!("i{n:03}")
}

fn with_status(api: &FakeApi) -> usize {
    (0..CREATED).filter(|n| api.has_status(INSTANCES, &name(*n))).count()
}

async fn wait_with_status(api: &FakeApi, process: &Process, expected: usize) {
    let waiting = async {
        while with_status(api) != expected {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(TIMEOUT, waiting).await.is_ok();
    assert!(in_time, "{} have a status\n{}", with_status(api), process.log().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_beyond_the_quota_of_their_namespace_are_reconciled_once_there_is_room() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let server = FakeApiServer::start(&sim).await;
    let (api, bundle) = (&server.api, "x".repeat(1 << 20));
    for n in 0..CREATED {
        let auth = json!({"token": {"secretRef": {"name": "none"}}});
        let spec = json!({"region": "cn-north-4", "endpoint": "https://both.example", "projectId": "p",
            "instanceId": "i", "auth": auth, "caBundle": bundle});
        api.put(INSTANCES, &name(n), json!({ "spec": spec }));
    }
    let process = Process::with_kubeconfig(&server.kubeconfig(), &["--leader-election=false", "--watch-timeout=2s"]);
    process.logged("the quota of its namespace is used up").await;
    wait_with_status(api, &process, FIT).await;
    let rejected = |count| format!("fdi_operator_objects_rejected{{kind=\"FdiInstance\"}} {count}\n");
    let metrics = process.get("/metrics").await.1;
    assert!(metrics.contains(&rejected(CREATED - FIT)), "{metrics}");

    for n in 0..CREATED - FIT {
        api.delete(INSTANCES, &name(n));
    }
    wait_with_status(api, &process, FIT).await;
    assert!(process.get("/metrics").await.1.contains(&rejected(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_metadata_costs_no_memory() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let server = FakeApiServer::start(&sim).await;
    let long = |bytes: usize| "x".repeat(bytes);
    let process = Process::with_kubeconfig(&server.kubeconfig(), &["--leader-election=false"]);
    process.wait_ready().await;
    let before = process.memory();
    for n in 0..100 {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": long(1_280_000), "uid": "u"});
        let annotations = json!({"reconcile.fluxcd.io/requestedAt": long(250_000), "other": long(100_000)});
        let metadata = json!({"ownerReferences": [owner], "annotations": annotations, "labels": {"a": long(50_000)}});
        let spec = json!({"instanceRef": {"name": "none"}, "desiredState": "Running", "taskIds": ["a"]});
        server.api.put(GROUPS, &format!("g{n:02}"), json!({"metadata": metadata, "spec": spec}));
    }
    let all = async {
        while (0..100).any(|n| !server.api.has_status(GROUPS, &format!("g{n:02}"))) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, all).await.is_ok(), "{}", process.log());
    let grown = process.memory().saturating_sub(before);
    assert!(grown < 60 * 1024, "{grown} KiB more for 168 MB of metadata");
    eprintln!("{grown} KiB more for 168 MB of metadata");
}
