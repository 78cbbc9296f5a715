//! `/livez`, `/readyz` and `/metrics`.
//!
//! `/livez` is red only when one of our own tasks hangs, because all that the kubelet can do about it is a restart; an API server
//! that is away is no reason for one. `/readyz` is red until the stores were filled once; followers are ready too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::metrics::{Metrics, OPENMETRICS};

/// Most hanging tasks that one answer names.
const NAMED_MAX: usize = 20;

/// The named checks behind `/livez` and `/readyz`. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Checks>>);

#[derive(Debug, Default)]
struct Checks {
    beats: BTreeMap<u64, Beat>,
    next: u64,
    ready: BTreeMap<String, bool>,
}

#[derive(Debug)]
struct Beat {
    name: String,
    due: Instant,
}

/// A task's promise to show signs of life. Dropping it withdraws the promise: a task that ended does not hang.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    id: u64,
}

/// One condition of readiness, unmet until [`ReadyCheck::met`].
#[derive(Debug)]
pub struct ReadyCheck {
    health: Health,
    name: String,
}

impl Health {
    /// A heartbeat of the task `name`; the first beat is due after `within`.
    pub fn beat(&self, name: impl Into<String>, within: Duration) -> Heartbeat {
        let mut checks = self.checks();
        let id = checks.next;
        checks.next += 1;
        checks.beats.insert(id, Beat { name: name.into(), due: Instant::now() + within });
        Heartbeat { health: self.clone(), id }
    }

    /// A condition without which the process is not ready.
    pub fn ready(&self, name: impl Into<String>) -> ReadyCheck {
        let name = name.into();
        self.checks().ready.insert(name.clone(), false);
        ReadyCheck { health: self.clone(), name }
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> (StatusCode, String) {
        let now = Instant::now();
        let checks = self.checks();
        let hanging: Vec<&Beat> = checks.beats.values().filter(|beat| beat.due < now).collect();
        if hanging.is_empty() {
            return (StatusCode::OK, format!("ok: {} tasks alive\n", checks.beats.len()));
        }
        let mut text = String::new();
        for beat in hanging.iter().take(NAMED_MAX) {
            let late = now.duration_since(beat.due).as_secs();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "failed: {} should have shown a sign of life {late} s ago", beat.name);
        }
        if let Some(more) = hanging.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            let _ = writeln!(text, "failed: {more} more");
        }
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn readiness(&self) -> (StatusCode, String) {
        let checks = self.checks();
        let mut text = String::new();
        for (name, met) in &checks.ready {
            let _ = writeln!(text, "{}: {name}", if *met { "ok" } else { "waiting" });
        }
        let ready = checks.ready.values().all(|met| *met);
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

impl Heartbeat {
    /// A sign of life; the next one comes within this time.
    pub fn next_within(&self, within: Duration) {
        if let Some(beat) = self.health.checks().beats.get_mut(&self.id) {
            beat.due = Instant::now() + within;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.checks().beats.remove(&self.id);
    }
}

impl ReadyCheck {
    /// The condition is met, for good.
    pub fn met(&self) {
        self.health.checks().ready.insert(self.name.clone(), true);
    }
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics) -> io::Result<()> {
    axum::serve(listener, router(health, metrics)).await
}

fn router(health: Health, metrics: Metrics) -> Router {
    let live = health.clone();
    Router::new()
        .route("/livez", get(move || std::future::ready(live.live())))
        .route("/readyz", get(move || std::future::ready(health.readiness())))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (content_type, text) = if accept.contains("application/openmetrics-text") {
        (OPENMETRICS, metrics.openmetrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics.plain_text())
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written").into_response(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn livez_turns_red_when_a_task_hangs_and_names_it() {
        let health = Health::default();
        let beat = health.beat("worker default/orders-roma", MINUTE);
        let _other = health.beat("watch FdiTaskGroup", MINUTE * 10);
        advance(Duration::from_secs(59)).await;
        beat.next_within(MINUTE);
        advance(Duration::from_secs(59)).await;
        assert_eq!(health.live().0, StatusCode::OK);
        advance(Duration::from_secs(8)).await;
        let (code, text) = health.live();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "failed: worker default/orders-roma should have shown a sign of life 7 s ago\n");
        beat.next_within(MINUTE);
        assert_eq!(health.live().0, StatusCode::OK, "it lives again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ended_does_not_hang() {
        let health = Health::default();
        drop(health.beat("worker default/orders-roma", MINUTE));
        advance(MINUTE * 2).await;
        assert_eq!(health.live(), (StatusCode::OK, "ok: 0 tasks alive\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_tasks_hang_the_answer_stays_short() {
        let health = Health::default();
        let _beats: Vec<_> = (0..500).map(|n| health.beat(format!("worker {n}"), MINUTE)).collect();
        advance(MINUTE * 2).await;
        let text = health.live().1;
        assert_eq!(text.lines().count(), NAMED_MAX + 1);
        assert!(text.ends_with("failed: 480 more\n"));
    }

    #[test]
    fn readyz_waits_for_every_named_check_and_then_stays_ready() {
        let health = Health::default();
        let (groups, instances) = (health.ready("store of FdiTaskGroup"), health.ready("store of FdiInstance"));
        groups.met();
        let waiting = "waiting: store of FdiInstance\nok: store of FdiTaskGroup\n";
        assert_eq!(health.readiness(), (StatusCode::SERVICE_UNAVAILABLE, waiting.to_owned()));
        instances.met();
        drop(instances);
        assert_eq!(health.readiness().0, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_server_answers_on_its_three_paths_and_speaks_both_formats() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let health = Health::default();
        let check = health.ready("stores");
        let server = tokio::spawn(serve(listener, health, Metrics::new()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async |path: &str, accept: &str| {
            let answer = client.get(format!("{url}{path}")).header("accept", accept).send().await.unwrap();
            let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
            (answer.status().as_u16(), content_type, answer.text().await.unwrap())
        };
        assert_eq!(get("/livez", "*/*").await.0, 200);
        assert_eq!(get("/readyz", "*/*").await.0, 503);
        check.met();
        assert_eq!(get("/readyz", "*/*").await.0, 200);
        let (code, content_type, text) = get("/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1").await;
        assert_eq!((code, content_type.as_str()), (200, OPENMETRICS));
        assert!(text.ends_with("# EOF\n"));
        let (_, content_type, text) = get("/metrics", "*/*").await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(!text.contains("# EOF"));
        server.abort();
    }
}
