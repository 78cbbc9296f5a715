//! The one control plane of the test run, with our definitions installed.

use controlplane::{ControlPlane, Output};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
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
            let shipped = shipped_rights(&plane).await;
            let how = ["apply", "--server-side", "-f", "-"];
            let applied = plane.kubectl().run_with_input(how, &shipped).await.unwrap();
            assert!(applied.status.success(), "{}", applied.stderr);
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

/// The namespace that the shipped manifests install into.
const INSTALLED: &str = "fdi-system";

/// What the default overlay gives the operator: its account and its rights.
async fn shipped_rights(plane: &ControlPlane) -> String {
    let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/overlays/default");
    let built = plane.kubectl().run(["kustomize", overlay]).await.unwrap();
    assert!(built.status.success(), "{}", built.stderr);
    let kept = ["Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    let of_kept_kind =
        |manifest: &&str| kept.iter().any(|kind| manifest.lines().any(|line| line == format!("kind: {kind}")));
    built.stdout.split("---\n").filter(of_kept_kind).collect::<Vec<_>>().join("---\n")
}

/// A kubeconfig with a token of the shipped ServiceAccount. In a pod its namespace would be the one installed into.
pub async fn operator_kubeconfig(namespace: &str) -> String {
    operator_kubeconfig_of(plane().await, namespace).await
}

/// The same of another control plane, where the rights were installed with [`install_rights`].
pub async fn operator_kubeconfig_of(plane: &ControlPlane, namespace: &str) -> String {
    let administrator = Kubeconfig::from_yaml(plane.kubeconfig_yaml()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(administrator.clone(), &KubeConfigOptions::default()).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(Client::try_from(config).unwrap(), INSTALLED);
    let day = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..Default::default() },
        ..Default::default()
    };
    let token = accounts.create_token_request("fdi-operator", &PostParams::default(), &day).await.unwrap();
    let mut user = serde_json::to_value(&administrator).unwrap();
    user["users"][0]["user"] = serde_json::json!({"token": token.status.unwrap().token});
    user["contexts"][0]["context"]["namespace"] = namespace.into();
    serde_json::to_string(&user).unwrap()
}

/// The configuration of an operator with the shipped rights.
pub async fn operator_config() -> kube::Config {
    let kubeconfig = Kubeconfig::from_yaml(&operator_kubeconfig(INSTALLED).await).unwrap();
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}
