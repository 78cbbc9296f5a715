//! A proxy in front of the API server that delays status writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Router, body};
use http::Method;
use kube::Client;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::Environment;

pub struct SlowWrites {
    delay_ms: Arc<AtomicU64>,
    folder: TempDir,
    running: JoinHandle<()>,
}

#[derive(Clone)]
struct Forward {
    client: Client,
    delay_ms: Arc<AtomicU64>,
}

impl SlowWrites {
    /// Without a delay at first.
    pub async fn start(env: &Environment) -> Self {
        let delay_ms = Arc::<AtomicU64>::default();
        let state = Forward { client: env.client.clone(), delay_ms: Arc::clone(&delay_ms) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let yaml = format!(
            "{{apiVersion: v1, kind: Config, current-context: x, clusters: [{{name: x, cluster: {{server: '{server}'}}}}], \
             users: [{{name: x, user: {{}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), yaml).unwrap();
        let app = Router::new().fallback(forward).with_state(state);
        let running = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { delay_ms, folder, running }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// How long status writes are held up from now on.
    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Drop for SlowWrites {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn forward(State(state): State<Forward>, request: Request) -> Response {
    let (parts, sent) = request.into_parts();
    let sent = body::to_bytes(sent, usize::MAX).await.unwrap();
    if parts.method == Method::PATCH && parts.uri.path().ends_with("/status") {
        tokio::time::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed))).await;
    }
    let request = Request::from_parts(parts, kube::client::Body::from(sent));
    state.client.send(request).await.unwrap().map(Body::new)
}
