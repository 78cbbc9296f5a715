//! `/livez` and `/readyz`.
//!
//! `/livez` fails only when one of our own tasks is unresponsive, because all that the kubelet can
//! do about it is a restart; an API server that is unavailable is no reason for one. `/readyz`
//! fails until the store was filled once; followers are ready too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fdi::text::{listed, single_line};

/// Most unresponsive tasks that one response names.
const NAMED_MAX: usize = 20;
/// Longest reason in a response, in bytes.
const REASON_MAX: usize = 256;

/// The named checks behind `/livez` and `/readyz`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Checks>>);

#[derive(Debug, Default)]
struct Checks {
    heartbeats: BTreeMap<u64, Due>,
    next_id: u64,
    gates: BTreeMap<String, Gate>,
}

/// Whether a condition of readiness holds.
#[derive(Debug)]
enum Gate {
    Pending,
    Open,
    /// It does not hold, and the process is ready without it.
    Waived(String),
}

#[derive(Debug)]
struct Due {
    name: String,
    /// `None` while paused.
    at: Option<Instant>,
}

/// Shows that a task is responsive. Dropping it ends that: a task that exited is not unresponsive.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    id: u64,
}

/// One condition of readiness, closed until [`ReadinessGate::open`].
#[derive(Debug)]
pub struct ReadinessGate {
    health: Health,
    name: String,
}

impl Health {
    /// A heartbeat of the task `name`; the first tick is due after `within`.
    pub fn heartbeat(&self, name: impl Into<String>, within: Duration) -> Heartbeat {
        let mut checks = self.0.lock();
        let id = checks.next_id;
        checks.next_id += 1;
        checks.heartbeats.insert(id, Due { name: name.into(), at: Some(Instant::now() + within) });
        drop(checks);
        Heartbeat { health: self.clone(), id }
    }

    /// A condition without which the process is not ready.
    pub fn readiness_gate(&self, name: impl Into<String>) -> ReadinessGate {
        let name = name.into();
        self.0.lock().gates.insert(name.clone(), Gate::Pending);
        ReadinessGate { health: self.clone(), name }
    }

    fn live(&self) -> (StatusCode, String) {
        let now = Instant::now();
        let checks = self.0.lock();
        let unresponsive: Vec<String> = checks
            .heartbeats
            .values()
            .filter_map(|due| {
                let overdue = now.checked_duration_since(due.at?).filter(|overdue| !overdue.is_zero())?;
                Some(format!("{}: heartbeat overdue by {} s", due.name, overdue.as_secs()))
            })
            .collect();
        if unresponsive.is_empty() {
            return (StatusCode::OK, format!("ok: {} tasks alive\n", checks.heartbeats.len()));
        }
        (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {}\n", listed(unresponsive, NAMED_MAX)))
    }

    fn readiness(&self) -> (StatusCode, String) {
        let checks = self.0.lock();
        let mut text = String::new();
        for (name, gate) in &checks.gates {
            let _ = match gate {
                Gate::Pending => writeln!(text, "pending: {name}"),
                Gate::Open => writeln!(text, "ok: {name}"),
                Gate::Waived(reason) => writeln!(text, "failed: {name}: {reason}"),
            };
        }
        let ready = checks.gates.values().all(|gate| !matches!(gate, Gate::Pending));
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

impl Heartbeat {
    /// The task is responsive; the next tick comes within this time.
    pub fn tick(&self, within: Duration) {
        self.set(Some(Instant::now() + within));
    }

    /// No tick is due until the next one.
    pub fn pause(&self) {
        self.set(None);
    }

    fn set(&self, at: Option<Instant>) {
        if let Some(due) = self.health.0.lock().heartbeats.get_mut(&self.id) {
            due.at = at;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.0.lock().heartbeats.remove(&self.id);
    }
}

impl ReadinessGate {
    /// The condition holds, for good.
    pub fn open(&self) {
        self.health.0.lock().gates.insert(self.name.clone(), Gate::Open);
    }

    /// The condition does not hold yet, and the process becomes ready without it.
    pub fn waive(&self, reason: &str) {
        if let Some(gate) = self.health.0.lock().gates.get_mut(&self.name).filter(|gate| !matches!(gate, Gate::Open)) {
            *gate = Gate::Waived(single_line(reason, REASON_MAX));
        }
    }
}

/// `/livez` and `/readyz`.
pub fn health_router(health: Health) -> Router {
    let live = health.clone();
    Router::new()
        .route("/livez", get(move || std::future::ready(live.live())))
        .route("/readyz", get(move || std::future::ready(health.readiness())))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn livez_fails_when_a_task_is_unresponsive_and_names_it() {
        let health = Health::default();
        let beat = health.heartbeat("worker default/orders-roma", MINUTE);
        let _other = health.heartbeat("watch FdiTaskGroup", MINUTE * 10);
        advance(Duration::from_secs(59)).await;
        beat.tick(MINUTE);
        advance(Duration::from_secs(59)).await;
        assert_eq!(health.live().0, StatusCode::OK);
        advance(Duration::from_secs(8)).await;
        let (code, text) = health.live();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "failed: worker default/orders-roma: heartbeat overdue by 7 s\n");
        beat.tick(MINUTE);
        assert_eq!(health.live().0, StatusCode::OK, "it lives again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_exited_is_not_unresponsive() {
        let health = Health::default();
        drop(health.heartbeat("worker default/orders-roma", MINUTE));
        advance(MINUTE * 2).await;
        assert_eq!(health.live(), (StatusCode::OK, "ok: 0 tasks alive\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_tasks_are_unresponsive_the_response_stays_short() {
        let health = Health::default();
        let _beats: Vec<_> = (0..500).map(|n| health.heartbeat(format!("worker {n}"), MINUTE)).collect();
        advance(MINUTE * 2).await;
        let text = health.live().1;
        assert_eq!(text.matches("worker ").count(), NAMED_MAX);
        assert!(text.ends_with(" and 480 more\n"));
    }

    #[test]
    fn readyz_is_ready_once_every_gate_is_open() {
        let health = Health::default();
        let (groups, instances) =
            (health.readiness_gate("store of FdiTaskGroup"), health.readiness_gate("store of FdiInstance"));
        groups.open();
        let pending = "pending: store of FdiInstance\nok: store of FdiTaskGroup\n";
        assert_eq!(health.readiness(), (StatusCode::SERVICE_UNAVAILABLE, pending.to_owned()));
        instances.open();
        drop(instances);
        assert_eq!(health.readiness().0, StatusCode::OK);
    }

    #[test]
    fn a_waived_gate_is_named_with_its_reason_and_may_open_later() {
        let health = Health::default();
        let (served, other) = (health.readiness_gate("a namespace is served"), health.readiness_gate("groups in b"));
        other.waive("forbidden");
        assert_eq!(health.readiness().0, StatusCode::SERVICE_UNAVAILABLE);
        served.open();
        let text = "ok: a namespace is served\nfailed: groups in b: forbidden\n";
        assert_eq!(health.readiness(), (StatusCode::OK, text.to_owned()));
        other.open();
        other.waive("forbidden");
        assert!(health.readiness().1.contains("ok: groups in b\n"), "once open, always open");
    }
}
