//! What happens to the API server must not end the operator, nor leave it blind. One control plane
//! of its own, broken in one way after the other; after each an edit must be carried out by the
//! same process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::crd::FdiTaskGroup;
use kube::api::{Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Cluster, Process, Proxy, Stage, faults, is_ready, shared};

const ALONE: &str = "--leader-election=false";
/// Longer than any pause between two attempts of a watch, and its list, a look at the service and
/// its answer after it.
const RIGHT_AGAIN: Duration = Duration::from_secs(20);
const OUTAGE: Duration = Duration::from_secs(8);

struct Scene {
    stage: Stage,
    ids: Vec<String>,
    process: Process,
    running: bool,
}

impl Scene {
    async fn set(cluster: &Arc<Cluster>) -> Self {
        let (stage, ids) = Stage::on(Arc::clone(cluster), 3).await;
        stage.group("orders", "Running", &ids).await;
        let process = Process::start(&stage, &[ALONE]);
        stage.service.wait_until_all(true, &ids, RIGHT_AGAIN).await.unwrap();
        Self { stage, ids, process, running: true }
    }

    /// Asks for the other state and waits until the tasks are in it and the status says so; how
    /// long that took.
    async fn right_again(&mut self) -> Duration {
        let began = Instant::now();
        self.running = !self.running;
        let state = if self.running { "Running" } else { "Stopped" };
        let done = async {
            let patch = Patch::Merge(json!({"spec": {"desiredState": state}}));
            while self.stage.groups().patch("orders", &PatchParams::default(), &patch).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.stage.service.wait_until_all(self.running, &self.ids, RIGHT_AGAIN).await.unwrap();
            while !self.is_ready().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(RIGHT_AGAIN, done).await.is_ok(), "not right again:\n{}", self.process.log());
        began.elapsed()
    }

    async fn is_ready(&self) -> bool {
        self.stage.groups().get("orders").await.is_ok_and(|group| is_ready(&group))
    }

    /// For as long as an outage lasts.
    async fn stays_alive(&mut self) {
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

async fn install(cluster: &Cluster) {
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    kubectl(cluster, &["apply", "--server-side", "--force-conflicts", "-f", crds]).await;
    kubectl(cluster, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_the_api_server_the_same_process_goes_on() {
    let cluster = Arc::new(Cluster::start().await);
    let mut scene = Scene::set(&cluster).await;
    killed_and_restarted(&cluster, &mut scene).await;
    paused(&cluster, &mut scene).await;
    rights_taken_and_given_back(&cluster, &mut scene).await;
    longer_away_than_the_lease(&cluster).await;
    definitions_changed_deleted_and_back(&cluster, &mut scene).await;
    away_at_the_end(&cluster, scene).await;
}

async fn killed_and_restarted(cluster: &Cluster, scene: &mut Scene) {
    cluster.plane().stop_apiserver().await;
    scene.stays_alive().await;
    cluster.plane().start_apiserver().await.unwrap();
    let took = scene.right_again().await;
    faults::row(
        "the API server is killed and comes back after 8 s",
        "watches begun anew, the edit carried out, `/livez` green",
        took,
    );
}

async fn paused(cluster: &Cluster, scene: &mut Scene) {
    cluster.plane().pause_apiserver().await.unwrap();
    scene.stays_alive().await;
    cluster.plane().resume_apiserver().await.unwrap();
    let took = scene.right_again().await;
    faults::row(
        "the API server hangs for 8 s (connections open, no answer)",
        "the edit carried out, `/livez` green",
        took,
    );
}

async fn rights_taken_and_given_back(cluster: &Cluster, scene: &mut Scene) {
    kubectl(cluster, &["delete", "clusterrolebinding", "fdi-operator"]).await;
    // Watches that are open are not cut by RBAC; the restart makes the operator ask again.
    cluster.plane().stop_apiserver().await;
    cluster.plane().start_apiserver().await.unwrap();
    scene.process.logged("is forbidden").await;
    scene.stays_alive().await;
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
    kubectl(cluster, &["apply", "--server-side", "--force-conflicts", "-f", manifests]).await;
    install(cluster).await;
    let took = scene.right_again().await;
    faults::row(
        "the operator's rights are taken and given back",
        "asked again with growing waits, the edit carried out",
        took,
    );
}

async fn longer_away_than_the_lease(cluster: &Arc<Cluster>) {
    let (stage, ids) = Stage::contested(Arc::clone(cluster), 1).await;
    stage.group("orders", "Running", &ids).await;
    let mut process =
        Process::start(&stage, &["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=500ms"]);
    process.wait_leading().await;
    stage.service.wait_until_all(true, &ids, RIGHT_AGAIN).await.unwrap();
    cluster.plane().pause_apiserver().await.unwrap();
    let (status, took) = process.ended(Duration::from_secs(5)).await;
    cluster.plane().resume_apiserver().await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(process.log().contains("the Lease could not be renewed in time"), "{}", process.log());
    faults::row(
        "the API server is away longer than the renew deadline (3 s here)",
        "the leader stopped calling and ended with code 1",
        took,
    );
}

async fn definitions_changed_deleted_and_back(cluster: &Cluster, scene: &mut Scene) {
    let older =
        json!([{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"}]);
    let groups = "fditaskgroups.fdi.romaconnect.dev";
    kubectl(cluster, &["patch", "crd", groups, "--type=json", "-p", &older.to_string()]).await;
    let late = Process::start(&scene.stage, &[ALONE, "--namespaces=nowhere"]);
    let line = late.logged("the installed CRD differs").await.to_string();
    assert!(line.contains("properties.spec.properties.suspend") && line.contains("WARN"), "{line}");
    drop(late);

    kubectl(cluster, &["delete", "crd", groups]).await;
    let waiting = Process::start(&scene.stage, &[ALONE, "--namespaces=nowhere"]);
    waiting.logged("the CRD is not installed").await;
    assert_eq!(waiting.get("/livez").await.0, 200);
    assert_eq!(waiting.get("/readyz").await.0, 503);
    scene.stays_alive().await;
    install(cluster).await;
    // Everything was deleted with the definition.
    scene.stage.group("orders", if scene.running { "Running" } else { "Stopped" }, &scene.ids).await;
    let took = scene.right_again().await;
    faults::row(
        "a definition is deleted and installed again, the groups too",
        "watch begun anew, the edit carried out",
        took,
    );
    waiting.wait_ready().await;
}

async fn away_at_the_end(cluster: &Cluster, mut scene: Scene) {
    cluster.plane().stop_apiserver().await;
    scene.process.signal(Signal::TERM);
    let (status, took) = scene.process.ended(Duration::from_secs(6)).await;
    assert_eq!(status.code(), Some(0), "{}", scene.process.log());
    faults::row("SIGTERM while the API server is away", "ended with code 0", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_silently_are_replaced_and_the_leader_stays_the_leader() {
    let (stage, ids) = Stage::contested(shared().await, 1).await;
    let server = stage.cluster.operator_config().await.cluster_url;
    let target = server.authority().unwrap().to_string();
    let proxy = Proxy::to(target.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let direct = std::fs::read_to_string(stage.cluster.kubeconfig_path()).unwrap();
    std::fs::write(&path, direct.replace(&target, &proxy.address().to_string())).unwrap();
    let (scope, lease) =
        (format!("--namespaces={}", stage.namespace), format!("--lease-namespace={}", stage.namespace));
    let mut process = Process::with_kubeconfig(&path, &[&scope, &lease, "--watch-timeout=3s"]);
    stage.group("orders", "Running", &ids).await;
    stage.wait_ready("orders").await;

    proxy.lose_connections();
    let began = Instant::now();
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    let generation = stage.groups().get("orders").await.unwrap().metadata.generation;
    // Each dead connection of the pool costs one time limit of a request.
    let patience = Duration::from_secs(60);
    let done = |group: &FdiTaskGroup| group.metadata.generation == generation && is_ready(group);
    stage.revisions.wait("orders", "Ready again", patience, done).await;
    let took = began.elapsed();
    assert!(!process.has_ended() && !process.log().contains("leadership lost"), "{}", process.log());
    faults::row(
        "all connections to the API server die silently, new ones work (a watch lasts 3 s here, 60 s by default)",
        "watches begun anew, the Lease kept, the edit carried out",
        took,
    );
}
