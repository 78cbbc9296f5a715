//! How the process ends and how it reports its health: real processes, real signals, exit codes.

use std::time::{Duration, Instant};

use clap::Parser;
use fdi_operator::config::flags::Flags;
use fdi_operator::testing::{KubeClients, Listeners, Runtime, run};
use fdi_simulator::{Effect, Operation, Trigger};
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::harness::{Process, TIMEOUT, TestEnv, faults, kubeconfig_for, shared};

const LIMIT: Duration = Duration::from_secs(6);
const ALONE: &str = "--leader-election=false";

async fn assert_clean_end(mut process: Process, when: &str) {
    process.signal(Signal::TERM);
    let (status, took) = process.ended(LIMIT).await;
    assert_eq!(status.code(), Some(0), "{when}: {}", process.log());
    faults::record(&format!("SIGTERM {when}"), "exited with code 0", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_within_six_seconds_while_a_call_hangs() {
    let (env, ids) = TestEnv::new(1).await;
    env.service.fault(Trigger::on(Operation::Batch), Effect::Hang { acts: false });
    env.group("orders", "Running", &ids).await;
    let process = Process::start(&env, &[ALONE]);
    env.wait_log("a call", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    assert_clean_end(process, "while a call hangs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_alive_and_ends_cleanly_when_the_api_server_was_never_reached() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &[]);
    process.logged("watch failed").await;
    assert_eq!(process.get("/livez").await.0, 200);
    assert_eq!(process.get("/readyz").await.0, 503);
    assert_clean_end(process, "when the API server refuses connections").await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, &server), &[]);
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(silent.accept().await.unwrap());
    }
    assert_eq!(process.get("/livez").await.0, 200);
    assert_clean_end(process, "when the API server accepts connections and does not answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (env, ids) = TestEnv::new(1).await;
    env.service.fault(Trigger::on(Operation::Batch), Effect::Hang { acts: false });
    env.group("orders", "Running", &ids).await;
    let mut process = Process::start(&env, &[ALONE]);
    env.wait_log("a call", |log| log.iter().any(|entry| entry.operation == Operation::Batch)).await;
    process.signal(Signal::TERM);
    process.logged("shutting down: waiting for in-flight calls").await;
    process.signal(Signal::TERM);
    let (status, took) = process.ended(LIMIT).await;
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_flag_ends_it_with_code_2_and_a_taken_address_with_code_1() {
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

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

#[tokio::test(flavor = "multi_thread")]
async fn livez_fails_when_one_of_our_own_tasks_is_unresponsive_and_names_it() {
    let flags = ["operator", ALONE, "--shutdown-drain=100ms", "--shutdown-timeout=200ms"];
    let config = Cli::try_parse_from(flags).unwrap().flags.validate().unwrap();
    let clients = KubeClients::new(&kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/livez", listener.local_addr().unwrap());
    let listeners = Listeners { health: listener, metrics: None };
    let (hang, hangs) = tokio::sync::oneshot::channel::<()>();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    // Ticks its heartbeat until the test stops it, and then hangs.
    let work = |runtime: Runtime| async move {
        let heartbeat = runtime.health.heartbeat("worker of orders/roma", Duration::from_millis(500));
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let living = async {
            loop {
                ticks.tick().await;
                heartbeat.tick(Duration::from_millis(500));
            }
        };
        tokio::select! {
            () = living => {}
            _ = hangs => {}
        }
        std::future::pending::<()>().await;
    };
    let shutdown_signal = async {
        let _ = ended.await;
    };
    let running = tokio::spawn(run(config, clients, listeners, shutdown_signal, work));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let live = async || {
        let response = http.get(&url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(live().await.0, 200);
    let began = Instant::now();
    hang.send(()).unwrap();
    let failed = async {
        loop {
            let (code, text) = live().await;
            if code == 503 {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(TIMEOUT, failed).await.expect("/livez fails");
    assert!(text.starts_with("failed: worker of orders/roma: heartbeat overdue by "), "{text}");
    assert_eq!(text.lines().count(), 1, "only the hanging task is named: {text}");
    faults::record(
        "one of the operator's own tasks hangs (its heartbeat is due within 0.5 s)",
        "`/livez` failed and named the task",
        began.elapsed(),
    );
    // The hanging task does not keep the process from ending either.
    end.send(()).unwrap();
    tokio::time::timeout(LIMIT, running).await.expect("the process ends").unwrap().unwrap();
}
