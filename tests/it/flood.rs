//! Any pod may connect to the port of `/livez`. Connections that send half a request, or do not
//! read the response, must neither block the probes nor fill the memory of the process.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Process, TIMEOUT, faults, kubeconfig_for};

const CONNECTIONS: usize = 2_000;
/// The time limits of one connection, and some slack for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// Opens the connections, each of which sends `request` and no more.
async fn flood(address: &str, request: &str) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The operator may have closed this connection already.
        let _ = stream.write_all(request.as_bytes()).await;
        open.push(stream);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_during_a_flood_of_half_open_connections_which_get_closed() {
    let folder = tempfile::tempdir().unwrap();
    let process =
        Process::with_kubeconfig(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &["--leader-election=false"]);
    assert_eq!(process.get("/livez").await.0, 200);
    let address = process.address().await;
    let before = process.memory();
    let mut slowest = Duration::ZERO;
    for request in ["GET /metrics HTTP/1.1\r\nhost: half", "", "GET /metrics HTTP/1.1\r\nhost: unread\r\n\r\n"] {
        let mut open = flood(&address, request).await;
        let began = Instant::now();
        for _ in 0..20 {
            let probed = Instant::now();
            let answer = tokio::time::timeout(Duration::from_secs(1), process.get("/livez")).await;
            assert_eq!(answer.expect("a probe is answered within its second").0, 200);
            slowest = slowest.max(probed.elapsed());
        }
        let closed = async {
            for stream in &mut open {
                let mut answer = Vec::new();
                // Ends with the connection, closed or reset.
                let _ = stream.read_to_end(&mut answer).await;
            }
        };
        assert!(tokio::time::timeout(CLOSED_WITHIN, closed).await.is_ok(), "still open after {:?}", began.elapsed());
    }
    let grown = process.memory().saturating_sub(before);
    assert!(grown < 30 * 1024, "{grown} KiB more");
    faults::record(
        "2,000 connections to `/livez` send half a request, three times",
        "closed all of them and answered the probes",
        slowest,
    );
    assert!(tokio::time::timeout(TIMEOUT, process.get("/metrics")).await.unwrap().1.ends_with('\n'));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_have_a_separate_address() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--leader-election=false", "--metrics-address=127.0.0.1:0"];
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &flags);
    assert_eq!(process.get("/livez").await.0, 200);
    assert_eq!(process.get("/metrics").await.0, 404);
    let metrics = process.logged("starting").await["metrics_address"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| http.get(format!("http://{metrics}{path}")).send().await.unwrap();
    assert!(get("/metrics").await.text().await.unwrap().contains("fdi_operator_build_info"));
    assert_eq!(get("/livez").await.status().as_u16(), 404);
}
