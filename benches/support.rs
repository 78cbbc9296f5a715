//! What the measurements run on: a real API server with the CRDs, a simulated service, the real
//! binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use controlplane::ControlPlane;
use fdi_operator::crd::{ConditionStatus, FdiTaskGroup, condition_types};
use fdi_simulator::{Options, Simulator};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub const PROJECT: &str = "0123456789abcdef0123456789abcdef";

pub struct Environment {
    pub plane: ControlPlane,
    pub sim: Simulator,
    pub client: kube::Client,
}

impl Environment {
    /// With one Secret, `token`, with which all instances sign in.
    pub async fn new() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
        assert!(plane.kubectl().run(["apply", "--server-side", "-f", crds]).await.unwrap().status.success());
        let waited = plane.kubectl().run(["wait", "--for=condition=Established", "crd", "--all"]).await.unwrap();
        assert!(waited.status.success());
        let sim = Simulator::start(Options { record_lists: false, ..Options::default() }).await.unwrap();
        sim.set_token("token", Some(PROJECT), Duration::from_secs(24 * 3600));
        let client = client(&plane).await;
        create_secret(&client, "default").await;
        Self { plane, sim, client }
    }
}

pub async fn create_secret(client: &kube::Client, namespace: &str) {
    let secret = json!({"metadata": {"name": "token"}, "stringData": {"token": "token"}});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
}

async fn client(plane: &ControlPlane) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::from_yaml(plane.kubeconfig_yaml()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

pub fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let version = "fdi.romaconnect.dev/v1alpha1";
    serde_json::from_value(json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}))
        .unwrap()
}

pub fn is_ready(group: &FdiTaskGroup) -> bool {
    let mut conditions = group.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|c| c.type_ == condition_types::READY && c.status == ConditionStatus::True)
}

/// The real binary.
pub fn start(kubeconfig: &Path, listen: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fdi-operator"))
        .args(["run", "--leader-election=false", "--allow-insecure-endpoints", "--listen-address", listen])
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// User and system time; the kernel counts hundredths of a second.
pub fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// `VmRSS` or `VmHWM` (the highest so far) of a process.
pub fn mebibytes(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
