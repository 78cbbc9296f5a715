//! The probe port: polled as the kubelet does, and flooded.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(100);
const CONNECTIONS: u32 = 10_000;
/// Half a request, nothing, and a request whose response nobody reads.
const REQUESTS: [&str; 3] =
    ["GET /metrics HTTP/1.1\r\nhost: half", "", "GET /metrics HTTP/1.1\r\nhost: unread\r\n\r\n"];

#[derive(Debug, Default)]
pub struct Livez {
    pub count: usize,
    pub failures: usize,
    /// In milliseconds.
    pub slowest: f64,
}

pub struct Polling {
    end: CancellationToken,
    running: JoinHandle<Livez>,
}

impl Polling {
    pub async fn end(self) -> Livez {
        self.end.cancel();
        self.running.await.unwrap()
    }
}

/// Polls `/livez`, each time with a new connection.
pub fn poll(listen: &str, timeout: Duration) -> Polling {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(timeout).build().unwrap();
    let (url, end) = (format!("http://{listen}/livez"), CancellationToken::new());
    let ended = end.clone();
    let running = tokio::spawn(async move {
        let mut livez = Livez::default();
        let mut ticks = tokio::time::interval(EVERY);
        while !ended.is_cancelled() {
            ticks.tick().await;
            let began = Instant::now();
            let answered = client.get(&url).send().await.is_ok_and(|response| response.status().is_success());
            livez.count += 1;
            livez.failures += usize::from(!answered);
            livez.slowest = livez.slowest.max(began.elapsed().as_secs_f64() * 1000.0);
        }
        livez
    });
    Polling { end, running }
}

/// Opens the connections spread over `span`, and leaves it to the operator to close them.
pub fn flood(listen: &str, span: Duration) -> JoinHandle<()> {
    let address = listen.to_owned();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(span / CONNECTIONS);
        for request in REQUESTS.iter().cycle().take(CONNECTIONS as usize) {
            ticks.tick().await;
            let address = address.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = TcpStream::connect(address).await else { return };
                let _ = stream.write_all(request.as_bytes()).await;
                tokio::time::sleep(Duration::from_secs(20)).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    })
}
