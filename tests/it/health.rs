//! How the process ends and what it says of itself: real processes, real signals, exit codes.

use std::time::Duration;

use fdi_simulator::{Effect, Operation, Trigger};
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::harness::{Process, Stage, faults, shared};

const LIMIT: Duration = Duration::from_secs(6);
const ALONE: &str = "--leader-election=false";

async fn ends_cleanly(mut process: Process, when: &str) {
    process.signal(Signal::TERM);
    let (status, took) = process.ended(LIMIT).await;
    assert_eq!(status.code(), Some(0), "{when}: {}", process.log());
    faults::row(&format!("SIGTERM {when}"), "ended with code 0", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_within_six_seconds_while_a_call_hangs() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.fault(Trigger::on(Operation::Batch), Effect::Hang { acts: false });
    stage.group("orders", "Running", &ids).await;
    let process = Process::start(&stage, &[ALONE]);
    stage.wait_log("a call", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    ends_cleanly(process, "while a call gets no answer").await;
}

/// A kubeconfig that points to `address`.
fn kubeconfig(folder: &tempfile::TempDir, address: &str) -> std::path::PathBuf {
    let path = folder.path().join("kubeconfig");
    let yaml = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, clusters: [{{name: x, cluster: {{server: 'http://{address}'}}}}], \
         users: [{{name: x, user: {{}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
    );
    std::fs::write(&path, yaml).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_alive_and_ends_cleanly_when_the_api_server_was_never_reached() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_kubeconfig(&kubeconfig(&folder, "127.0.0.1:1"), &[]);
    process.logged("the watch failed").await;
    assert_eq!(process.get("/livez").await.0, 200);
    assert_eq!(process.get("/readyz").await.0, 503);
    ends_cleanly(process, "when the API server refuses connections").await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let process = Process::with_kubeconfig(&kubeconfig(&folder, &address), &[]);
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(silent.accept().await.unwrap());
    }
    assert_eq!(process.get("/livez").await.0, 200);
    ends_cleanly(process, "when the API server accepts connections and says nothing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (stage, ids) = Stage::new(1).await;
    stage.service.fault(Trigger::on(Operation::Batch), Effect::Hang { acts: false });
    stage.group("orders", "Running", &ids).await;
    let mut process = Process::start(&stage, &[ALONE]);
    stage.wait_log("a call", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    process.signal(Signal::TERM);
    process.logged("ending: no new calls").await;
    process.signal(Signal::TERM);
    let (status, took) = process.ended(LIMIT).await;
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_it_with_code_2_and_a_taken_address_with_code_1() {
    let cluster = shared().await;
    let mut process = Process::of(&cluster, &["--lease-renew-deadline=1h"]);
    assert_eq!(process.ended(LIMIT).await.0.code(), Some(2));
    process.logged("--lease-renew-deadline: must be shorter than --lease-duration").await;

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut process = Process::listening(&cluster.kubeconfig_path(), &address.to_string(), &[]);
    assert_eq!(process.ended(LIMIT).await.0.code(), Some(1));
    process.logged("--listen-address: cannot listen on").await;
}
