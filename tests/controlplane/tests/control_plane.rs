//! The control plane from its users' point of view, with real programs.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use controlplane::{ControlPlane, Kubectl};
use tokio::sync::OnceCell;

/// One for all tests here that leave it intact. Each test has its own runtime, so this also shows
/// that a control plane outlives the runtime that started it.
async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_init(|| async { ControlPlane::start().await.unwrap() }).await
}

/// Runs kubectl, which must succeed, and returns its stdout.
async fn ok(kubectl: &Kubectl, args: &str) -> String {
    let output = kubectl.run(args.split(' ')).await.unwrap();
    assert!(output.status.success(), "kubectl {args}: {}", output.stderr);
    output.stdout
}

#[tokio::test]
async fn it_is_ready_when_start_returns() {
    let kubectl = shared().await.kubectl();
    assert_eq!(ok(&kubectl, "get --raw /readyz").await, "ok");
}

#[tokio::test]
async fn the_server_is_of_the_pinned_version() {
    let version = ok(&shared().await.kubectl(), "version").await;
    let pinned = controlplane::Release::chosen().unwrap();
    let server = format!("Server Version: {}", pinned.version());
    assert!(version.contains(&server) || std::env::var_os("KUBEBUILDER_ASSETS").is_some(), "{version}");
}

#[tokio::test]
async fn kubectl_creates_a_config_map() {
    let kubectl = shared().await.kubectl();
    ok(&kubectl, "create namespace config-map").await;
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: colours}\ndata: {sky: blue}\n";
    let applied = kubectl.run_with_input(["apply", "-n", "config-map", "-f", "-"], manifest).await.unwrap();
    assert!(applied.status.success(), "{}", applied.stderr);
    assert_eq!(ok(&kubectl, "get configmap colours -n config-map -o jsonpath={.data.sky}").await, "blue");
}

#[tokio::test]
async fn a_failing_kubectl_shows_in_its_status_and_stderr() {
    let output = shared().await.kubectl().run(["get", "configmap", "nothing"]).await.unwrap();
    assert!(!output.status.success());
    assert!(output.stderr.contains("not found"), "{}", output.stderr);
}

#[tokio::test]
async fn a_service_account_gets_a_token_and_only_what_rbac_grants() {
    let plane = shared().await;
    let admin = plane.kubectl();
    ok(&admin, "create namespace rbac").await;
    ok(&admin, "create serviceaccount reader -n rbac").await;
    let token = ok(&admin, "create token reader -n rbac").await;

    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, plane.ca_pem()).unwrap();
    let as_reader = |verb: &str| {
        let args = format!(
            "--kubeconfig=/dev/null --server={} --certificate-authority={} --token={token} -n rbac {verb}",
            plane.server_url(),
            ca.display()
        );
        let kubectl = plane.kubectl();
        async move { kubectl.run(args.split(' ')).await.unwrap() }
    };
    let refused = as_reader("get configmaps").await;
    assert!(refused.stderr.contains(r#"User "system:serviceaccount:rbac:reader" cannot list"#), "{}", refused.stderr);

    ok(&admin, "create role reader -n rbac --verb=list --resource=configmaps").await;
    ok(&admin, "create rolebinding reader -n rbac --role=reader --serviceaccount=rbac:reader").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let allowed = as_reader("get configmaps").await;
        if allowed.status.success() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", allowed.stderr);
    }
    let secrets = as_reader("get secrets").await;
    assert!(secrets.stderr.contains("Forbidden"), "{}", secrets.stderr);
}

#[tokio::test]
async fn the_kubeconfig_is_private() {
    let plane = shared().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&plane.kubeconfig_path()), 0o600);
    assert_eq!(std::fs::read_to_string(plane.kubeconfig_path()).unwrap(), plane.kubeconfig_yaml());

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    std::fs::write(&copy, "old").unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).unwrap();
    plane.write_kubeconfig(&copy).unwrap();
    assert_eq!(mode(&copy), 0o600);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), plane.kubeconfig_yaml());
}

#[tokio::test]
async fn the_data_survives_an_api_server_restart() {
    let plane = ControlPlane::start().await.unwrap();
    let kubectl = plane.kubectl();
    ok(&kubectl, "create configmap colours -n default --from-literal=sky=blue").await;
    let url = plane.server_url().to_owned();

    plane.stop_apiserver().await;
    let gone = kubectl.run(["get", "--raw", "/readyz"]).await.unwrap();
    assert!(gone.stderr.contains("refused"), "{}", gone.stderr);
    assert!(plane.pause_apiserver().await.unwrap_err().to_string().contains("start_apiserver"));

    plane.start_apiserver().await.unwrap();
    assert_eq!(plane.server_url(), url);
    assert_eq!(ok(&kubectl, "get configmap colours -n default -o jsonpath={.data.sky}").await, "blue");

    let folder = plane.kubeconfig_path().parent().unwrap().to_owned();
    plane.stop().await.unwrap();
    assert!(!folder.exists(), "{} was left behind", folder.display());
}

#[tokio::test]
async fn a_paused_api_server_keeps_silent_until_it_is_resumed() {
    let plane = ControlPlane::start().await.unwrap();
    let kubectl = plane.kubectl();
    plane.pause_apiserver().await.unwrap();
    let silent = kubectl.run(["get", "--raw", "/readyz", "--request-timeout=1s"]).await.unwrap();
    assert!(!silent.status.success(), "a paused API server answered: {}", silent.stdout);

    plane.resume_apiserver().await.unwrap();
    assert_eq!(ok(&kubectl, "get --raw /readyz").await, "ok");

    // A paused one can be stopped too.
    plane.pause_apiserver().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), plane.stop()).await.unwrap().unwrap();
}
