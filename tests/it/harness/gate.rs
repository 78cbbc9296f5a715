//! Two proxies that see every request of an operator: one before the API server, one before the
//! FDI service. They kill the operator at a chosen request: from that moment on nothing of it gets
//! out, and no response gets in, wherever in its code it was.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::TestEnv;

/// Where an operator dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillPoint {
    /// The request with this number, counted from 1, never leaves.
    Before(usize),
    /// It was carried out, and its response is lost.
    After(usize),
}

#[derive(Debug, Default)]
struct Traffic {
    /// Method and path of each request.
    requests: Vec<String>,
    kill_at: Option<KillPoint>,
    last_write: Option<Instant>,
    /// Lists of tasks since then.
    lists: usize,
    /// A successor was started and does not lead yet.
    taking_over: bool,
}

impl Traffic {
    /// On a busy machine an operator may take long until it looks: only its lists show that it did.
    fn quiet(&self) -> Duration {
        let looked = self.lists >= 2 && !self.taking_over;
        self.last_write.filter(|_| looked).map_or(Duration::ZERO, |last| last.elapsed())
    }
}

#[derive(Clone)]
enum Upstream {
    ApiServer(Client),
    Fdi(reqwest::Client, String),
}

#[derive(Clone)]
struct Side {
    upstream: Upstream,
    traffic: Arc<Mutex<Traffic>>,
    dead: Arc<watch::Sender<bool>>,
}

/// The proxies. They end when dropped.
pub struct Gate {
    traffic: Arc<Mutex<Traffic>>,
    dead: Arc<watch::Sender<bool>>,
    api_server: SocketAddr,
    fdi: SocketAddr,
    running: [JoinHandle<()>; 2],
}

impl Gate {
    pub async fn before(env: &TestEnv, kill_at: Option<KillPoint>) -> Self {
        let traffic = Arc::new(Mutex::new(Traffic { kill_at, ..Traffic::default() }));
        let dead = Arc::new(watch::Sender::new(false));
        let api_server = Upstream::ApiServer(Client::try_from(env.cluster.operator_config().await).unwrap());
        let fdi = Upstream::Fdi(reqwest::Client::builder().no_proxy().build().unwrap(), env.sim.url());
        let side = |upstream| Side { upstream, traffic: Arc::clone(&traffic), dead: Arc::clone(&dead) };
        let (api_server, first) = serve(side(api_server)).await;
        let (fdi, second) = serve(side(fdi)).await;
        Self { traffic, dead, api_server, fdi, running: [first, second] }
    }

    /// The operator's configuration, by way of the gate.
    pub async fn operator_config(&self, env: &TestEnv) -> kube::Config {
        let mut config = env.cluster.operator_config().await;
        config.cluster_url = format!("http://{}", self.api_server).parse().unwrap();
        config
    }

    pub fn fdi_url(&self) -> String {
        format!("http://{}", self.fdi)
    }

    /// Resolves at the kill point, and while the operator is dead.
    pub async fn killed(&self) {
        let mut dead = self.dead.subscribe();
        dead.wait_for(|dead| *dead).await.unwrap();
    }

    pub fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Resolves while the operator is alive.
    pub async fn reopened(&self) {
        let mut dead = self.dead.subscribe();
        dead.wait_for(|dead| !*dead).await.unwrap();
    }

    /// Lets the successor's requests through.
    pub fn reopen(&self) {
        self.traffic.lock().unwrap().taking_over = true;
        self.dead.send_replace(false);
    }

    /// Method and path of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.traffic.lock().unwrap().requests.clone()
    }

    pub fn request_count(&self) -> usize {
        self.traffic.lock().unwrap().requests.len()
    }

    /// Resolves once nothing has been written for so long while an operator led and listed: no call
    /// that starts or stops a task, and nothing to the API server but the Lease.
    pub async fn silent_for(&self, span: Duration) {
        loop {
            self.reopened().await;
            let quiet = self.traffic.lock().unwrap().quiet();
            if quiet >= span {
                return;
            }
            tokio::time::sleep(span.saturating_sub(quiet).max(span / 10)).await;
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(side: Side) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(handle).with_state(side);
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

async fn handle(State(side): State<Side>, request: Request) -> Response {
    let number = side.arrive(request.method(), request.uri().path());
    let kill_at = side.traffic.lock().unwrap().kill_at;
    if number.is_some() && number.map(KillPoint::Before) == kill_at {
        side.dead.send_replace(true);
    }
    if *side.dead.borrow() {
        return pending().await;
    }
    let response = side.upstream.forward(request).await;
    if number.map(KillPoint::After) == kill_at && kill_at.is_some() {
        side.dead.send_replace(true);
    }
    if *side.dead.borrow() {
        return pending().await;
    }
    response
}

impl Side {
    /// Counts a request, unless the operator that sent it is dead.
    fn arrive(&self, method: &Method, path: &str) -> Option<usize> {
        if *self.dead.borrow() {
            return None;
        }
        let mut traffic = self.traffic.lock().unwrap();
        traffic.requests.push(format!("{method} {path}"));
        traffic.lists += usize::from(method == Method::GET && path.ends_with("/tasks"));
        let renewal = path.contains("/leases/") && !traffic.taking_over;
        if method != Method::GET && !renewal {
            traffic.last_write = Some(Instant::now());
            traffic.taking_over = false;
            traffic.lists = 0;
        }
        Some(traffic.requests.len())
    }
}

impl Upstream {
    async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        remove_hop_headers(&mut parts.headers);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        match self {
            Self::ApiServer(client) => {
                parts.headers.remove(AUTHORIZATION);
                let request = http::Request::from_parts(parts, kube::client::Body::from(body));
                let Ok(response) = client.send(request).await else { return StatusCode::BAD_GATEWAY.into_response() };
                let (mut parts, body) = response.into_parts();
                remove_hop_headers(&mut parts.headers);
                Response::from_parts(parts, Body::new(body))
            }
            Self::Fdi(client, url) => {
                let url = format!("{}{}", url.trim_end_matches('/'), parts.uri);
                let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await;
                let Ok(response) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
                let (status, mut headers) = (response.status(), response.headers().clone());
                remove_hop_headers(&mut headers);
                (status, headers, response.bytes().await.unwrap_or_default()).into_response()
            }
        }
    }
}

/// Headers that concern one connection only.
fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, ACCEPT_ENCODING] {
        headers.remove(name);
    }
}
