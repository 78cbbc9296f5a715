//! `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Metrics, OPENMETRICS};

/// Responses in memory at once, those that clients are slow to read included: with a thousand
/// instances each has megabytes.
const MAX_RESPONSES: usize = 4;

#[derive(Debug, Clone)]
struct Scrape {
    metrics: Metrics,
    responses: Arc<Semaphore>,
}

/// A response, counted until it is sent.
struct Counted {
    text: String,
    _slot: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// `/metrics`.
pub fn metrics_router(metrics: Metrics) -> Router {
    let state = Scrape { metrics, responses: Arc::new(Semaphore::new(MAX_RESPONSES)) };
    Router::new().route("/metrics", get(scrape)).with_state(state)
}

async fn scrape(State(scrape): State<Scrape>, headers: HeaderMap) -> Response {
    let Ok(slot) = scrape.responses.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (content_type, text) = if accept.contains("application/openmetrics-text") {
        (OPENMETRICS, scrape.metrics.openmetrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", scrape.metrics.plain_text())
    };
    match text {
        Ok(text) => {
            let body = Body::from(Bytes::from_owner(Counted { text, _slot: slot }));
            ([(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::runtime::health::{Health, health_router};
    use crate::runtime::http_server::serve;

    #[tokio::test]
    async fn one_server_serves_probes_and_metrics_in_both_formats() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let health = Health::default();
        let gate = health.readiness_gate("stores");
        let router = health_router(health).merge(metrics_router(Metrics::new()));
        let server = tokio::spawn(serve(listener, router));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async |path: &str, accept: &str| {
            let answer = client.get(format!("{url}{path}")).header("accept", accept).send().await.unwrap();
            let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
            (answer.status().as_u16(), content_type, answer.text().await.unwrap())
        };
        assert_eq!(get("/livez", "*/*").await.0, 200);
        assert_eq!(get("/readyz", "*/*").await.0, 503);
        gate.open();
        assert_eq!(get("/readyz", "*/*").await.0, 200);
        for _ in 0..MAX_RESPONSES {
            let (code, content_type, text) =
                get("/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1").await;
            assert_eq!((code, content_type.as_str()), (200, OPENMETRICS));
            assert!(text.ends_with("# EOF\n"));
        }
        let (_, content_type, text) = get("/metrics", "*/*").await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(!text.contains("# EOF"));
        server.abort();
    }
}
