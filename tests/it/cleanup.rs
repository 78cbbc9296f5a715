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

use crate::harness::{Stage, kubeconfig, kubeconfig_for};

const GROUPS: usize = 40;

/// Groups with the finalizer and, if so, one of somebody else before it. Nobody operates.
async fn groups(stage: &Stage, other: bool) {
    let finalizers = if other { vec!["example.com/other", FINALIZER] } else { vec![FINALIZER] };
    for n in 0..GROUPS {
        let group = json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup",
            "metadata": {"name": format!("g{n:02}"), "finalizers": finalizers},
            "spec": {"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ["a"], "deletionPolicy": "Stop"}});
        stage.groups().create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
    }
}

async fn held(stage: &Stage) -> usize {
    let groups = stage.groups().list(&ListParams::default()).await.unwrap();
    groups.iter().filter(|group| group.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)).count()
}

fn command(kubeconfig: &Path, stage: &Stage, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    command.arg("cleanup").arg(format!("--namespaces={}", stage.namespace)).args(flags).env("KUBECONFIG", kubeconfig);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finalizer_goes_while_others_write_and_those_of_others_stay() {
    let (stage, _) = Stage::new(0).await;
    groups(&stage, true).await;
    let said = output(command(&kubeconfig().await, &stage, &["--dry-run"])).await;
    assert!(said.status.success() && text(&said.stdout).ends_with("\n40 finalizers would be removed\n"));
    assert_eq!(held(&stage).await, GROUPS);

    // Somebody changes all of them all the time, so every version that was read is old.
    let api = stage.groups();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    let restless = tokio::spawn(async move {
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
    let said = output(command(&kubeconfig().await, &stage, &[])).await;
    restless.abort();
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(text(&said.stdout).contains("40 finalizers removed, 0 left"), "{}", text(&said.stdout));
    assert_eq!(held(&stage).await, 0);
    let group = stage.groups().get("g00").await.unwrap();
    assert_eq!(group.metadata.finalizers.unwrap(), ["example.com/other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_does_not_stop_it_half_way() {
    let (stage, _) = Stage::new(0).await;
    groups(&stage, false).await;
    let mut child = command(&kubeconfig().await, &stage, &[]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(status.success());
    assert_eq!(held(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_and_why_is_said_and_the_exit_code_is_not_zero() {
    let (stage, _) = Stage::new(0).await;
    groups(&stage, false).await;
    let folder = tempfile::tempdir().unwrap();
    let said = output(command(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &stage, &[])).await;
    assert_eq!(said.status.code(), Some(1));
    let errors = text(&said.stderr);
    assert!(errors.contains("cannot list FdiTaskGroups") && errors.contains("Connection refused"), "{errors}");
    assert!(text(&said.stdout).contains("0 finalizers removed"));

    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: keep-one}\n\
        spec:\n  failurePolicy: Fail\n  matchConstraints: {resourceRules: [{apiGroups: [fdi.romaconnect.dev], \
        apiVersions: ['*'], operations: [UPDATE], resources: [fditaskgroups]}]}\n  matchConditions: [{name: one, \
        expression: \"object.metadata.name == 'g07' && object.metadata.namespace == 'NAMESPACE'\"}]\n  validations: [{expression: 'false', message: kept for the test}]\n\
        ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: keep-one}\n\
        spec: {policyName: keep-one, validationActions: [Deny]}\n"
        .replace("NAMESPACE", &stage.namespace)
        .replace("keep-one", &format!("keep-{}", stage.namespace));
    let applied = stage.cluster.kubectl(&["apply", "--server-side", "-f", "-"], &policy).await;
    assert!(applied.status.success(), "{}", applied.stderr);
    // It holds once an edit is refused.
    let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
    while stage.groups().patch("g07", &PatchParams::default(), &patch).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let said = output(command(&kubeconfig().await, &stage, &[])).await;
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stdout).contains("39 finalizers removed, 1 left"), "{}", text(&said.stdout));
    let errors = text(&said.stderr);
    assert!(errors.contains("g07: ") && errors.contains("kept for the test"), "{errors}");
}

/// A proxy that knows where the API server is, whatever name it is asked for.
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
    let (stage, _) = Stage::new(0).await;
    groups(&stage, false).await;
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
    let said = output(command(&path, &stage, &[])).await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(used.load(Ordering::Relaxed) > 0);
    assert_eq!(held(&stage).await, 0);
}
