//! The one control plane of the test run, with our definitions installed.

use controlplane::{ControlPlane, Output};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::OnceCell;

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// Starts the control plane at first use.
pub async fn plane() -> &'static ControlPlane {
    PLANE
        .get_or_init(|| async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let plane = ControlPlane::start().await.expect("a control plane");
            let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
            let applied = plane.kubectl().run(["apply", "--server-side", "-f", crds]).await.unwrap();
            assert!(applied.status.success(), "{}", applied.stderr);
            assert!(!applied.stderr.contains("Warning"), "{}", applied.stderr);
            let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
            assert!(plane.kubectl().run(wait).await.unwrap().status.success());
            plane
        })
        .await
}

/// A client of the administrator.
pub async fn client() -> Client {
    Client::try_from(config().await).unwrap()
}

pub async fn config() -> kube::Config {
    let kubeconfig = Kubeconfig::from_yaml(plane().await.kubeconfig_yaml()).unwrap();
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// Runs real kubectl with `input` on its standard input.
pub async fn kubectl(args: &[&str], input: &str) -> Output {
    plane().await.kubectl().run_with_input(args.iter().copied(), input).await.unwrap()
}

/// The administrator's kubeconfig, for processes.
pub async fn kubeconfig() -> std::path::PathBuf {
    plane().await.kubeconfig_path()
}
