//! A control plane with the shipped manifests applied, and the identity of the shipped
//! `ServiceAccount`.

use std::sync::Arc;

use controlplane::{ControlPlane, Output};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Where the manifests install the operator.
pub const OPERATOR_NAMESPACE: &str = "fdi-system";
const ACCOUNT: &str = "fdi-operator";
const LEASE_ROLE: &str = "fdi-operator-lease";
/// The longest test lasts an hour.
const TOKEN_SECONDS: i64 = 4 * 3600;

/// A control plane with everything in `deploy/install.yaml`, but without running pods.
pub struct Cluster {
    plane: ControlPlane,
    /// The operator's: the token of its service account, and no other permission.
    kubeconfig: Kubeconfig,
    folder: TempDir,
}

static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();

/// The control plane that all tests share that leave it intact.
pub async fn shared() -> Arc<Cluster> {
    Arc::clone(SHARED.get_or_init(async || Arc::new(Cluster::start().await)).await)
}

impl Cluster {
    /// A control plane of the caller's own, which the caller may break. It ends with the last
    /// reference.
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start().await.expect("a control plane");
        // The CRDs come last: those in crds/ are the ones that the operator is built with.
        for manifests in ["deploy/install.yaml", "crds"] {
            let manifests = format!("{}/{manifests}", env!("CARGO_MANIFEST_DIR"));
            let applied = plane.kubectl().run(["apply", "--server-side", "-f", &manifests]).await.unwrap();
            assert!(applied.status.success(), "{}", applied.stderr);
            assert!(!applied.stderr.contains("Warning"), "{}", applied.stderr);
        }
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        assert!(plane.kubectl().run(wait).await.unwrap().status.success());
        let mut cluster =
            Self { plane, kubeconfig: Kubeconfig::default(), folder: tempfile::tempdir().expect("a folder") };
        cluster.kubeconfig = cluster.service_account_kubeconfig().await;
        let yaml = serde_saphyr::to_string(&cluster.kubeconfig).unwrap();
        std::fs::write(cluster.kubeconfig_path(), yaml).unwrap();
        cluster
    }

    async fn service_account_kubeconfig(&self) -> Kubeconfig {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, OPERATOR_NAMESPACE);
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() };
        let request = TokenRequest { spec, ..Default::default() };
        let granted = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await.unwrap();
        let token = SecretString::from(granted.status.unwrap().token);
        let mut kubeconfig = Kubeconfig::from_yaml(self.plane.kubeconfig_yaml()).unwrap();
        for context in kubeconfig.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
            context.namespace = Some(OPERATOR_NAMESPACE.into());
        }
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo { token: Some(token.clone()), ..Default::default() });
        }
        kubeconfig
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The operator's kubeconfig as a file.
    pub fn kubeconfig_path(&self) -> std::path::PathBuf {
        self.folder.path().join("operator.kubeconfig")
    }

    /// A client of the administrator.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::from_yaml(self.plane.kubeconfig_yaml()).unwrap();
        Client::try_from(config_of(kubeconfig).await).unwrap()
    }

    /// The configuration of the operator's clients.
    pub async fn operator_config(&self) -> kube::Config {
        config_of(self.kubeconfig.clone()).await
    }

    /// Allows the operator to have its Lease in `namespace` too, by the same rules that are shipped
    /// for its own namespace, so that tests with elections can run concurrently.
    pub async fn allow_lease_in(&self, namespace: &str) {
        let client = self.client().await;
        let metadata = || ObjectMeta { name: Some(LEASE_ROLE.into()), ..Default::default() };
        let role = Api::<Role>::namespaced(client.clone(), OPERATOR_NAMESPACE).get(LEASE_ROLE).await.unwrap();
        let binding = Api::<RoleBinding>::namespaced(client.clone(), OPERATOR_NAMESPACE).get(LEASE_ROLE).await.unwrap();
        let role = Role { metadata: metadata(), ..role };
        let binding = RoleBinding { metadata: metadata(), ..binding };
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &role).await.unwrap();
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &binding).await.unwrap();
        // A released Lease: without one, the first leader of all stays idle for a whole lease
        // duration, because somebody may have deleted the Lease of a live leader.
        let name = ObjectMeta { name: Some("fdi-operator".into()), ..Default::default() };
        let spec = LeaseSpec { lease_transitions: Some(0), ..Default::default() };
        let lease = Lease { metadata: name, spec: Some(spec) };
        Api::namespaced(client, namespace).create(&PostParams::default(), &lease).await.unwrap();
    }

    /// Runs real kubectl as the administrator, with `input` on its standard input.
    pub async fn kubectl(&self, args: &[&str], input: &str) -> Output {
        self.plane.kubectl().run_with_input(args.iter().copied(), input).await.unwrap()
    }
}

async fn config_of(kubeconfig: Kubeconfig) -> kube::Config {
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// Runs real kubectl on the shared control plane.
pub async fn kubectl(args: &[&str], input: &str) -> Output {
    shared().await.kubectl(args, input).await
}

/// The administrator's kubeconfig of the shared control plane, for processes.
pub async fn kubeconfig() -> std::path::PathBuf {
    shared().await.plane().kubeconfig_path()
}
