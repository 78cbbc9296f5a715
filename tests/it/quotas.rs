//! Objects of one namespace must not fill the operator's memory.

use fdi_simulator::{Options, Simulator};
use serde_json::json;

use crate::harness::fake_api::{FakeApi, FakeApiServer, INSTANCES};
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
