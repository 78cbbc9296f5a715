//! How the process ends and what it says of itself: real processes, real signals, exit codes.

use std::time::{Duration, Instant};

use clap::Parser;
use fdi_operator::config::flags::Flags;
use fdi_operator::testing::{KubeClients, Listeners, Runtime, run};
use fdi_simulator::{Effect, Operation, Trigger};
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::harness::{Process, SOON, Stage, faults, kubeconfig_for, shared};

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

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_alive_and_ends_cleanly_when_the_api_server_was_never_reached() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &[]);
    process.logged("watch failed").await;
    assert_eq!(process.get("/livez").await.0, 200);
    assert_eq!(process.get("/readyz").await.0, 503);
    ends_cleanly(process, "when the API server refuses connections").await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, &server), &[]);
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
    process.logged("shutting down: waiting for in-flight calls").await;
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
    let (end, asked_to_end) = tokio::sync::oneshot::channel::<()>();
    // Lives for as long as it is let, then never shows a sign of life again.
    let work = |runtime: Runtime| async move {
        let heart = runtime.health.heartbeat("worker of orders/roma", Duration::from_millis(500));
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let living = async {
            loop {
                ticks.tick().await;
                heart.tick(Duration::from_millis(500));
            }
        };
        tokio::select! {
            () = living => {}
            _ = hangs => {}
        }
        std::future::pending::<()>().await;
    };
    let asked = async {
        let _ = asked_to_end.await;
    };
    let running = tokio::spawn(run(config, clients, listeners, asked, work));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let live = async || {
        let answer = http.get(&url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(live().await.0, 200);
    let began = Instant::now();
    hang.send(()).unwrap();
    let red = async {
        loop {
            let (code, text) = live().await;
            if code == 503 {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(SOON, red).await.expect("it turns red");
    assert!(text.starts_with("failed: worker of orders/roma: heartbeat overdue by "), "{text}");
    assert_eq!(text.lines().count(), 1, "only what hangs is named: {text}");
    faults::row(
        "a task of the operator's own hangs (due within 0.5 s here)",
        "`/livez` red, naming the task",
        began.elapsed(),
    );
    // What hangs does not keep the process from ending either.
    end.send(()).unwrap();
    tokio::time::timeout(LIMIT, running).await.expect("it ends").unwrap().unwrap();
}
