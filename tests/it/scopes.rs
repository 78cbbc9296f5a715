//! An operator for several namespaces, in one of which it has no permission: it serves the others,
//! says which one it does not serve, and takes that up once the permission is there.

use std::path::PathBuf;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Process, Stage};

/// A service account of its own in the namespace of a stage, which may hold a Lease there and
/// nothing else yet.
struct Account {
    home: String,
    folder: TempDir,
}

impl Account {
    async fn new(stage: &Stage) -> Self {
        let home = stage.namespace.clone();
        let made = stage.cluster.kubectl(&["create", "serviceaccount", "narrow", "--namespace", &home], "").await;
        assert!(made.status.success(), "{}", made.stderr);
        let token = stage.cluster.kubectl(&["create", "token", "narrow", "--namespace", &home], "").await;
        assert!(token.status.success(), "{}", token.stderr);
        let mut kubeconfig: serde_json::Value =
            serde_saphyr::from_str(&std::fs::read_to_string(stage.cluster.kubeconfig_path()).unwrap()).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": token.stdout.trim()});
        let account = Self { home, folder: tempfile::tempdir().unwrap() };
        std::fs::write(account.kubeconfig(), kubeconfig.to_string()).unwrap();
        let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]});
        account.grant(stage, "lease", json!([leases])).await;
        account
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Gives the account these permissions in the namespace of the stage.
    async fn grant(&self, stage: &Stage, name: &str, rules: serde_json::Value) {
        let api = "rbac.authorization.k8s.io/v1";
        let metadata = json!({"name": format!("narrow-{name}"), "namespace": stage.namespace});
        let role = json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules});
        let binding = json!({"apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "narrow", "namespace": self.home}]});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]}).to_string();
        let applied = stage.cluster.kubectl(&["apply", "--server-side", "-f", "-"], &list).await;
        assert!(applied.status.success(), "{}", applied.stderr);
    }

    /// What the shipped Role of a watched namespace grants.
    async fn grant_work(&self, stage: &Stage) {
        let fdi = "fdi.romaconnect.dev";
        let rules = json!([
            {"apiGroups": [fdi], "resources": ["fdiinstances"], "verbs": ["list", "watch"]},
            {"apiGroups": [fdi], "resources": ["fditaskgroups"], "verbs": ["list", "watch", "patch"]},
            {"apiGroups": [fdi], "resources": ["fdiinstances/status", "fditaskgroups/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        self.grant(stage, "work", rules).await;
    }
}

fn operate(account: &Account, namespaces: &[&Stage]) -> Process {
    let names: Vec<&str> = namespaces.iter().map(|stage| stage.namespace.as_str()).collect();
    let (scope, lease) = (format!("--namespaces={}", names.join(",")), format!("--lease-namespace={}", account.home));
    Process::with_kubeconfig(
        &account.kubeconfig(),
        &[&scope, &lease, "--lease-duration=2s", "--lease-renew-deadline=1500ms", "--lease-retry-period=300ms"],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_permission_keeps_no_other_from_being_served() {
    let (served, ids) = Stage::new(1).await;
    let (refused, other_ids) = Stage::new(1).await;
    let account = Account::new(&served).await;
    account.grant_work(&served).await;
    served.group("orders", "Running", &ids).await;
    refused.group("orders", "Running", &other_ids).await;
    let process = operate(&account, &[&served, &refused]);
    served.wait_ready("orders").await;
    process.wait_ready().await;
    let ready = process.get("/readyz").await.1;
    assert!(ready.contains(&format!("ok: FdiTaskGroups listed in {}\n", served.namespace)), "{ready}");
    assert!(ready.contains(&format!("failed: FdiTaskGroups listed in {}: ", refused.namespace)), "{ready}");
    assert!(ready.contains("is forbidden"), "{ready}");
    let line = process.logged("is forbidden").await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["scope"], json!(refused.namespace));
    let synced = |stage: &Stage, value: u8| {
        format!("fdi_operator_watch_synced{{kind=\"FdiTaskGroup\",scope=\"{}\"}} {value}\n", stage.namespace)
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
    let (stage, ids) = Stage::new(1).await;
    let account = Account::new(&stage).await;
    stage.group("orders", "Running", &ids).await;
    let process = operate(&account, &[&stage]);
    process.logged("is forbidden").await;
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let metrics = || async { process.get("/metrics").await.1 };
    // Each attempt of a watch comes after a longer wait than an election needs.
    while !metrics().await.lines().any(|line| {
        line.strip_prefix("fdi_operator_watch_errors_total{kind=\"FdiTaskGroup\"} ")
            .is_some_and(|n| n.parse::<u32>().unwrap() >= 4)
    }) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(process.get("/readyz").await.0, 503);
    assert!(leases.get_opt("fdi-operator").await.unwrap().is_none());
    account.grant_work(&stage).await;
    stage.wait_ready("orders").await;
    process.wait_ready().await;
}
