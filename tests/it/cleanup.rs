//! `fdi-operator cleanup` against a real API server: it removes its finalizer from every group,
//! whatever others do meanwhile.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fdi_operator::crd::FINALIZER;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{TestEnv, kubeconfig, kubeconfig_for};

const GROUPS: usize = 40;

/// Creates groups with the finalizer and, optionally, a foreign one before it. No operator runs.
async fn create_groups(env: &TestEnv, foreign: bool) {
    let finalizers = if foreign { vec!["example.com/other", FINALIZER] } else { vec![FINALIZER] };
    for n in 0..GROUPS {
        let spec = json!({"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ["a"],
            "deletionPolicy": "Stop"});
        let group = json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup",
            "metadata": {"name": format!("g{n:02}"), "finalizers": finalizers}, "spec": spec});
        env.groups().create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
    }
}

async fn groups_with_finalizer(env: &TestEnv) -> usize {
    let groups = env.groups().list(&ListParams::default()).await.unwrap();
    groups.iter().filter(|group| group.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)).count()
}

fn command(kubeconfig: &Path, env: &TestEnv, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    command.arg("cleanup").arg(format!("--namespaces={}", env.namespace)).args(flags).env("KUBECONFIG", kubeconfig);
    command
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finalizer_is_removed_while_others_write_and_foreign_ones_stay() {
    let (env, _) = TestEnv::new(0).await;
    create_groups(&env, true).await;
    let output = run(command(&kubeconfig().await, &env, &["--dry-run"])).await;
    assert!(output.status.success() && text(&output.stdout).ends_with("\n40 finalizers would be removed\n"));
    assert_eq!(groups_with_finalizer(&env).await, GROUPS);

    // A writer changes all groups all the time, so every version that was read is outdated.
    let api = env.groups();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let noise = tokio::spawn(async move {
        for round in 0.. {
            for n in 0..GROUPS {
                let patch = Patch::Merge(json!({"metadata": {"labels": {"round": round.to_string()}}}));
                let _ = api.patch(&format!("g{n:02}"), &PatchParams::default(), &patch).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    while writes.load(Ordering::Relaxed) < GROUPS {
        tokio::task::yield_now().await;
    }
    let output = run(command(&kubeconfig().await, &env, &[])).await;
    noise.abort();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("40 finalizers removed, 0 left"), "{}", text(&output.stdout));
    assert_eq!(groups_with_finalizer(&env).await, 0);
    let group = env.groups().get("g00").await.unwrap();
    assert_eq!(group.metadata.finalizers.unwrap(), ["example.com/other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_does_not_stop_the_cleanup() {
    let (env, _) = TestEnv::new(0).await;
    create_groups(&env, false).await;
    let mut child = command(&kubeconfig().await, &env, &[]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(status.success());
    assert_eq!(groups_with_finalizer(&env).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_that_remain_are_counted_with_causes_and_the_exit_code_is_1() {
    let (env, _) = TestEnv::new(0).await;
    create_groups(&env, false).await;
    let folder = tempfile::tempdir().unwrap();
    let output = run(command(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &env, &[])).await;
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("cannot list FdiTaskGroups") && errors.contains("Connection refused"), "{errors}");
    assert!(text(&output.stdout).contains("0 finalizers removed"));

    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: keep-one}\n\
        spec:\n  failurePolicy: Fail\n  matchConstraints: {resourceRules: [{apiGroups: [fdi.romaconnect.dev], \
        apiVersions: ['*'], operations: [UPDATE], resources: [fditaskgroups]}]}\n  matchConditions: [{name: one, \
        expression: \"object.metadata.name == 'g07' && object.metadata.namespace == 'NAMESPACE'\"}]\n  validations: [{expression: 'false', message: kept for the test}]\n\
        ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: keep-one}\n\
        spec: {policyName: keep-one, validationActions: [Deny]}\n"
        .replace("NAMESPACE", &env.namespace)
        .replace("keep-one", &format!("keep-{}", env.namespace));
    let applied = env.cluster.kubectl(&["apply", "--server-side", "-f", "-"], &policy).await;
    assert!(applied.status.success(), "{}", applied.stderr);
    // The policy is in force once the API server rejects an edit.
    let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
    while env.groups().patch("g07", &PatchParams::default(), &patch).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let output = run(command(&kubeconfig().await, &env, &[])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("39 finalizers removed, 1 left"), "{}", text(&output.stdout));
    let errors = text(&output.stderr);
    assert!(errors.contains("g07: ") && errors.contains("kept for the test"), "{errors}");
}

/// A proxy that connects to the API server, whatever host name a client requests.
async fn proxy(target: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let used = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&used);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (target, count) = (target.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut line = String::new();
                client.read_line(&mut line).await.unwrap();
                assert!(line.starts_with("CONNECT api.invalid:6443 "), "{line}");
                while line.trim() != "" {
                    line.clear();
                    client.read_line(&mut line).await.unwrap();
                }
                count.fetch_add(1, Ordering::Relaxed);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, used)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_kubeconfig_is_used() {
    let (env, _) = TestEnv::new(0).await;
    create_groups(&env, false).await;
    let mut config: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(kubeconfig().await).unwrap()).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    let target = cluster["server"].as_str().unwrap().trim_start_matches("https://").to_owned();
    let (address, used) = proxy(target).await;
    cluster["server"] = json!("https://api.invalid:6443");
    cluster["tls-server-name"] = json!("localhost");
    cluster["proxy-url"] = json!(format!("http://{address}"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let output = run(command(&path, &env, &[])).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(used.load(Ordering::Relaxed) > 0);
    assert_eq!(groups_with_finalizer(&env).await, 0);
}
