//! An operator for several namespaces without permission in one of them: it serves the others,
//! reports which one it does not serve, and serves that one once it has the permission.

use std::path::PathBuf;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Process, TestEnv};

/// A separate service account in the namespace of a test environment. At first it may only hold a
/// Lease there.
struct Account {
    home: String,
    folder: TempDir,
}

impl Account {
    async fn new(env: &TestEnv) -> Self {
        let home = env.namespace.clone();
        let created = env.cluster.kubectl(&["create", "serviceaccount", "narrow", "--namespace", &home], "").await;
        assert!(created.status.success(), "{}", created.stderr);
        let token = env.cluster.kubectl(&["create", "token", "narrow", "--namespace", &home], "").await;
        assert!(token.status.success(), "{}", token.stderr);
        let mut kubeconfig: serde_json::Value =
            serde_saphyr::from_str(&std::fs::read_to_string(env.cluster.kubeconfig_path()).unwrap()).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": token.stdout.trim()});
        let account = Self { home, folder: tempfile::tempdir().unwrap() };
        std::fs::write(account.kubeconfig(), kubeconfig.to_string()).unwrap();
        let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]});
        account.grant(env, "lease", json!([leases])).await;
        account
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Grants the account these permissions in the namespace of the environment.
    async fn grant(&self, env: &TestEnv, name: &str, rules: serde_json::Value) {
        let api = "rbac.authorization.k8s.io/v1";
        let metadata = json!({"name": format!("narrow-{name}"), "namespace": env.namespace});
        let role = json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules});
        let binding = json!({"apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "narrow", "namespace": self.home}]});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]}).to_string();
        let applied = env.cluster.kubectl(&["apply", "--server-side", "-f", "-"], &list).await;
        assert!(applied.status.success(), "{}", applied.stderr);
    }

    /// Grants what the shipped Role of a watched namespace does.
    async fn grant_work(&self, env: &TestEnv) {
        let fdi = "fdi.romaconnect.dev";
        let rules = json!([
            {"apiGroups": [fdi], "resources": ["fdiinstances"], "verbs": ["list", "watch"]},
            {"apiGroups": [fdi], "resources": ["fditaskgroups"], "verbs": ["list", "watch", "patch"]},
            {"apiGroups": [fdi], "resources": ["fdiinstances/status", "fditaskgroups/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        self.grant(env, "work", rules).await;
    }
}

fn start_operator(account: &Account, namespaces: &[&TestEnv]) -> Process {
    let names: Vec<&str> = namespaces.iter().map(|env| env.namespace.as_str()).collect();
    let (scope, lease) = (format!("--namespaces={}", names.join(",")), format!("--lease-namespace={}", account.home));
    Process::with_kubeconfig(
        &account.kubeconfig(),
        &[&scope, &lease, "--lease-duration=2s", "--lease-renew-deadline=1500ms", "--lease-retry-period=300ms"],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_permission_does_not_block_the_others() {
    let (served, ids) = TestEnv::new(1).await;
    let (refused, other_ids) = TestEnv::new(1).await;
    let account = Account::new(&served).await;
    account.grant_work(&served).await;
    served.group("orders", "Running", &ids).await;
    refused.group("orders", "Running", &other_ids).await;
    let process = start_operator(&account, &[&served, &refused]);
    served.wait_ready("orders").await;
    process.wait_ready().await;
    let ready = process.get("/readyz").await.1;
    assert!(ready.contains(&format!("ok: FdiTaskGroups listed in {}\n", served.namespace)), "{ready}");
    assert!(ready.contains(&format!("failed: FdiTaskGroups listed in {}: ", refused.namespace)), "{ready}");
    assert!(ready.contains("is forbidden"), "{ready}");
    let line = process.logged("is forbidden").await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["scope"], json!(refused.namespace));
    let synced = |env: &TestEnv, value: u8| {
        format!("fdi_operator_watch_synced{{kind=\"FdiTaskGroup\",scope=\"{}\"}} {value}\n", env.namespace)
    };
    let metrics = process.get("/metrics").await.1;
    assert!(metrics.contains(&synced(&served, 1)) && metrics.contains(&synced(&refused, 0)), "{metrics}");
    assert!(refused.service.batch_calls().is_empty());

    account.grant_work(&refused).await;
    refused.wait_ready("orders").await;
    let ready = process.get("/readyz").await.1;
    assert!(!ready.contains("failed"), "{ready}");
    assert!(process.get("/metrics").await.1.contains(&synced(&refused, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_can_serve_no_namespace_is_not_ready_and_does_not_take_the_lease() {
    let (env, ids) = TestEnv::new(1).await;
    let account = Account::new(&env).await;
    env.group("orders", "Running", &ids).await;
    let process = start_operator(&account, &[&env]);
    process.logged("is forbidden").await;
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), &env.namespace);
    let metrics = || async { process.get("/metrics").await.1 };
    // The back-off before each attempt of a watch is longer than an election.
    while !metrics().await.lines().any(|line| {
        line.strip_prefix("fdi_operator_watch_errors_total{kind=\"FdiTaskGroup\"} ")
            .is_some_and(|n| n.parse::<u32>().unwrap() >= 4)
    }) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(process.get("/readyz").await.0, 503);
    assert!(leases.get_opt("fdi-operator").await.unwrap().is_none());
    account.grant_work(&env).await;
    env.wait_ready("orders").await;
    process.wait_ready().await;
}
