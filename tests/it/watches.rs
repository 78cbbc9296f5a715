//! Faults of the API server must neither end the operator nor leave its watches dead. One control
//! plane of its own, broken in one way after the other; after each the same process must carry out
//! an edit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::crd::FdiTaskGroup;
use kube::api::{Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Cluster, Process, Proxy, TestEnv, faults, is_ready, shared};

const ALONE: &str = "--leader-election=false";
/// Longer than the longest back-off of a watch, the list after it, and a reconcile with its calls.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);
const OUTAGE: Duration = Duration::from_secs(8);

struct Fixture {
    env: TestEnv,
    ids: Vec<String>,
    process: Process,
    running: bool,
}

impl Fixture {
    async fn running(cluster: &Arc<Cluster>) -> Self {
        let (env, ids) = TestEnv::on(Arc::clone(cluster), 3).await;
        env.group("orders", "Running", &ids).await;
        let process = Process::start(&env, &[ALONE]);
        env.service.wait_until_all(true, &ids, RECOVERY_TIMEOUT).await.unwrap();
        Self { env, ids, process, running: true }
    }

    /// Edits the group to the other state and waits until the tasks are in it and the status
    /// reports it. Returns how long that took.
    async fn wait_recovered(&mut self) -> Duration {
        let began = Instant::now();
        self.running = !self.running;
        let state = if self.running { "Running" } else { "Stopped" };
        let done = async {
            let patch = Patch::Merge(json!({"spec": {"desiredState": state}}));
            while self.env.groups().patch("orders", &PatchParams::default(), &patch).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.env.service.wait_until_all(self.running, &self.ids, RECOVERY_TIMEOUT).await.unwrap();
            while !self.is_ready().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(RECOVERY_TIMEOUT, done).await.is_ok(), "no recovery:\n{}", self.process.log());
        began.elapsed()
    }

    async fn is_ready(&self) -> bool {
        self.env.groups().get("orders").await.is_ok_and(|group| is_ready(&group))
    }

    /// Holds for as long as an outage lasts.
    async fn assert_alive_during_outage(&mut self) {
        let until = Instant::now() + OUTAGE;
        while Instant::now() < until {
            assert_eq!(self.process.get("/livez").await.0, 200);
            assert!(!self.process.has_ended());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn kubectl(cluster: &Cluster, args: &[&str]) {
    let done = cluster.kubectl(args, "").await;
    assert!(done.status.success(), "{}", done.stderr);
}

async fn install_crds(cluster: &Cluster) {
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    kubectl(cluster, &["apply", "--server-side", "--force-conflicts", "-f", crds]).await;
    kubectl(cluster, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_process_survives_every_fault_of_the_api_server() {
    let cluster = Arc::new(Cluster::start().await);
    let mut fixture = Fixture::running(&cluster).await;
    killed_and_restarted(&cluster, &mut fixture).await;
    paused(&cluster, &mut fixture).await;
    permissions_removed_and_restored(&cluster, &mut fixture).await;
    outage_longer_than_the_lease(&cluster).await;
    crds_changed_deleted_and_restored(&cluster, &mut fixture).await;
    shut_down_during_an_outage(&cluster, fixture).await;
}

async fn killed_and_restarted(cluster: &Cluster, fixture: &mut Fixture) {
    cluster.plane().stop_apiserver().await;
    fixture.assert_alive_during_outage().await;
    cluster.plane().start_apiserver().await.unwrap();
    let took = fixture.wait_recovered().await;
    faults::record(
        "the API server is killed and returns after 8 s",
        "restarted the watches and carried out the edit; `/livez` stayed ok",
        took,
    );
}

async fn paused(cluster: &Cluster, fixture: &mut Fixture) {
    cluster.plane().pause_apiserver().await.unwrap();
    fixture.assert_alive_during_outage().await;
    cluster.plane().resume_apiserver().await.unwrap();
    let took = fixture.wait_recovered().await;
    faults::record(
        "the API server hangs for 8 s (connections stay open)",
        "carried out the edit; `/livez` stayed ok",
        took,
    );
}

async fn permissions_removed_and_restored(cluster: &Cluster, fixture: &mut Fixture) {
    kubectl(cluster, &["delete", "clusterrolebinding", "fdi-operator"]).await;
    // RBAC does not end open watches; the restart makes the operator request new ones.
    cluster.plane().stop_apiserver().await;
    cluster.plane().start_apiserver().await.unwrap();
    fixture.process.logged("is forbidden").await;
    fixture.assert_alive_during_outage().await;
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
    kubectl(cluster, &["apply", "--server-side", "--force-conflicts", "-f", manifests]).await;
    install_crds(cluster).await;
    let took = fixture.wait_recovered().await;
    faults::record(
        "the operator's permissions are removed and restored",
        "retried with a growing back-off and carried out the edit",
        took,
    );
}

async fn outage_longer_than_the_lease(cluster: &Arc<Cluster>) {
    let (env, ids) = TestEnv::for_replicas(Arc::clone(cluster), 1).await;
    env.group("orders", "Running", &ids).await;
    let mut process =
        Process::start(&env, &["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=500ms"]);
    process.wait_leading().await;
    env.service.wait_until_all(true, &ids, RECOVERY_TIMEOUT).await.unwrap();
    cluster.plane().pause_apiserver().await.unwrap();
    let (status, took) = process.ended(Duration::from_secs(5)).await;
    cluster.plane().resume_apiserver().await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(process.log().contains("the Lease could not be renewed in time"), "{}", process.log());
    faults::record(
        "the API server is unavailable for longer than the renew deadline (3 s)",
        "the leader stopped calling and exited with code 1",
        took,
    );
}

async fn crds_changed_deleted_and_restored(cluster: &Cluster, fixture: &mut Fixture) {
    let older = json!([
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"},
        {"op": "remove", "path": "/spec/versions/0/selectableFields"},
    ]);
    let groups = "fditaskgroups.fdi.romaconnect.dev";
    kubectl(cluster, &["patch", "crd", groups, "--type=json", "-p", &older.to_string()]).await;
    let late = Process::start(&fixture.env, &[ALONE, "--namespaces=nowhere"]);
    let line = late.logged("the installed CRD differs").await.to_string();
    assert!(line.contains("properties.spec.properties.suspend") && line.contains("WARN"), "{line}");
    drop(late);

    kubectl(cluster, &["delete", "crd", groups]).await;
    let waiting = Process::start(&fixture.env, &[ALONE, "--namespaces=nowhere"]);
    waiting.logged("the CRD is not installed").await;
    assert_eq!(waiting.get("/livez").await.0, 200);
    assert_eq!(waiting.get("/readyz").await.0, 503);
    fixture.assert_alive_during_outage().await;
    install_crds(cluster).await;
    // The objects were deleted with their CRD.
    fixture.env.group("orders", if fixture.running { "Running" } else { "Stopped" }, &fixture.ids).await;
    let took = fixture.wait_recovered().await;
    faults::record(
        "a CRD is deleted and installed again, and the groups too",
        "restarted the watch and carried out the edit",
        took,
    );
    waiting.wait_ready().await;
}

async fn shut_down_during_an_outage(cluster: &Cluster, mut fixture: Fixture) {
    cluster.plane().stop_apiserver().await;
    fixture.process.signal(Signal::TERM);
    let (status, took) = fixture.process.ended(Duration::from_secs(6)).await;
    assert_eq!(status.code(), Some(0), "{}", fixture.process.log());
    faults::record("SIGTERM while the API server is unavailable", "exited with code 0", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_silently_are_replaced_and_the_leader_stays_the_leader() {
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    let server = env.cluster.operator_config().await.cluster_url;
    let target = server.authority().unwrap().to_string();
    let proxy = Proxy::to(target.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let direct = std::fs::read_to_string(env.cluster.kubeconfig_path()).unwrap();
    std::fs::write(&path, direct.replace(&target, &proxy.address().to_string())).unwrap();
    let (scope, lease) = (format!("--namespaces={}", env.namespace), format!("--lease-namespace={}", env.namespace));
    let mut process = Process::with_kubeconfig(&path, &[&scope, &lease, "--watch-timeout=3s"]);
    env.group("orders", "Running", &ids).await;
    env.wait_ready("orders").await;

    proxy.lose_connections();
    let began = Instant::now();
    env.edit("orders", json!({"desiredState": "Stopped"})).await;
    let generation = env.groups().get("orders").await.unwrap().metadata.generation;
    // Each dead connection in the pool costs one request timeout.
    let patience = Duration::from_secs(60);
    let done = |group: &FdiTaskGroup| group.metadata.generation == generation && is_ready(group);
    env.revisions.wait("orders", "Ready again", patience, done).await;
    let took = began.elapsed();
    assert!(!process.has_ended() && !process.log().contains("leadership lost"), "{}", process.log());
    faults::record(
        "all connections to the API server die silently (`--watch-timeout` 3 s, default 60 s)",
        "restarted the watches, kept the Lease and carried out the edit",
        took,
    );
}
