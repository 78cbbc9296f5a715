//! The life of the operator's process: what runs beside what, what ends it, and in which order it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::k8s::clients::Clients;
use crate::time::clock::Clock;
use crate::config::Config;
use crate::k8s::events::Events;
use crate::runtime::health::{self, Health};
use crate::k8s::leader_election::{Ended, Leadership, Lost, elect};
use crate::metrics::Metrics;

/// How often the process itself shows a sign of life, and how late that may be.
const BEAT: Duration = Duration::from_secs(5);
const BEAT_LATE: Duration = Duration::from_mins(1);
/// Calls in flight are dropped at once when their task is aborted; a task that does not even end then is left behind.
const ABORT_LIMIT: Duration = Duration::from_millis(200);

/// What the supervisor works with.
#[derive(Debug, Clone)]
pub struct Parts {
    pub config: Arc<Config>,
    pub clients: Clients,
    pub clock: Clock,
    pub health: Health,
    pub metrics: Metrics,
    pub events: Events,
    pub leadership: Leadership,
    /// Cancelled at the beginning of a clean end: send nothing new, wait for what is in flight, return.
    pub stop: CancellationToken,
}

/// Why the process ended without being asked to. Kubernetes starts it again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("leadership lost: {0}")]
    Leadership(#[from] Lost),
    #[error("{task} ended unexpectedly{}", panicked.as_ref().map(|panic| format!(": {panic}")).unwrap_or_default())]
    TaskEnded { task: &'static str, panicked: Option<JoinError> },
    #[error("the server for /livez, /readyz and /metrics ended: {0}")]
    Admin(#[source] io::Error),
}

/// Runs until `asked_to_end` resolves (then cleanly, within the configured limits, `Ok`) or something ends that must not.
/// `supervise` does the operator's work and returns soon after [`Parts::stop`].
pub async fn operate<S>(
    config: Config,
    clients: Clients,
    listener: TcpListener,
    asked_to_end: impl Future<Output = ()>,
    supervise: impl FnOnce(Parts) -> S,
) -> Result<(), Failure>
where
    S: Future<Output = ()> + Send + 'static,
{
    let clock = Clock::start();
    let health = Health::default();
    let metrics = Metrics::new();
    let (events, publisher) = Events::channel(metrics.clone());
    let shutdown = config.shutdown;
    let stop = CancellationToken::new();
    let release = CancellationToken::new();

    let reporter =
        config.election.as_ref().map_or_else(|| "fdi-operator".to_owned(), |election| election.identity.clone());
    let mut admin = Task::spawn(health::serve(listener, health.clone(), metrics.clone()));
    let _publishing = Task::spawn(publisher.run(clients.requests.clone(), reporter));
    let _beating = Task::spawn(beat(health.clone()));
    let (leadership, mut election) = start_election(&config, &clients, clock, &release);
    let _telling = Task::spawn(tell_leadership(leadership.clone(), metrics.clone()));
    let parts =
        Parts { config: Arc::new(config), clients, clock, health, metrics, events, leadership, stop: stop.clone() };
    let mut work = Task::spawn(supervise(parts));

    tokio::select! {
        biased;
        () = asked_to_end => {}
        ended = &mut election.0 => return Err(election_failure(ended)),
        ended = &mut work.0 => return Err(Failure::TaskEnded { task: "the supervisor", panicked: ended.err() }),
        ended = &mut admin.0 => return Err(match ended {
            Ok(Err(error)) => Failure::Admin(error),
            other => Failure::TaskEnded { task: "the admin server", panicked: other.err() },
        }),
    }

    let asked = Instant::now();
    info!(drain = ?shutdown.drain, "ending: no new calls; waiting for those in flight");
    stop.cancel();
    if timeout_at(asked + shutdown.drain, &mut work.0).await.is_err() {
        warn!("calls in flight are dropped; their outcome is looked at by the next leader");
        work.0.abort();
        let _ = timeout_at(Instant::now() + ABORT_LIMIT, &mut work.0).await;
    }
    // Only now: the next leader may call as soon as it sees the Lease free.
    release.cancel();
    if timeout_at(asked + shutdown.limit, &mut election.0).await.is_err() {
        warn!("the Lease was not given back in time; it runs out by itself");
    }
    info!(took = ?asked.elapsed(), "ended");
    Ok(())
}

/// A task that ends with its handle.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start_election(
    config: &Config,
    clients: &Clients,
    clock: Clock,
    release: &CancellationToken,
) -> (Leadership, Task<Ended>) {
    let release = release.clone();
    let Some(settings) = config.election.clone() else {
        return (
            Leadership::always(),
            Task::spawn(async move {
                release.cancelled().await;
                Ended::Released
            }),
        );
    };
    let (seat, leadership) = Leadership::contested();
    let (client, namespace) = (clients.lease.clone(), clients.namespace.clone());
    let election = Task::spawn(async move { elect(client, &namespace, &settings, clock, seat, release).await });
    (leadership, election)
}

fn election_failure(ended: Result<Ended, JoinError>) -> Failure {
    match ended {
        Ok(Ended::Lost(lost)) => Failure::Leadership(lost),
        Ok(Ended::Released) => Failure::TaskEnded { task: "the election", panicked: None },
        Err(panic) => Failure::TaskEnded { task: "the election", panicked: Some(panic) },
    }
}

async fn tell_leadership(leadership: Leadership, metrics: Metrics) {
    metrics.leader(false);
    let permit = leadership.acquired().await;
    metrics.leader(true);
    permit.expired().await;
    metrics.leader(false);
}

async fn beat(health: Health) {
    let heart = health.beat("process", BEAT_LATE);
    let mut ticks = tokio::time::interval(BEAT);
    loop {
        ticks.tick().await;
        heart.next_within(BEAT_LATE);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use tokio::sync::oneshot;
    use tokio::time::sleep;

    use super::*;
    use crate::config::Flags;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    /// The process against an API server at `url`, asked to end when the sender is used.
    async fn operated<S>(
        url: &str,
        flags: &[&str],
        supervise: impl FnOnce(Parts) -> S,
        end: oneshot::Receiver<()>,
    ) -> Result<(), Failure>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Cli::try_parse_from(["test"].iter().chain(flags)).unwrap().flags.check().unwrap();
        let clients = Clients::new(&kube::Config::new(url.parse().unwrap())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asked_to_end = async {
            let _ = end.await;
        };
        operate(config, clients, listener, asked_to_end, supervise).await
    }

    async fn waits_for_stop(parts: Parts) {
        parts.stop.cancelled().await;
    }

    /// Nothing listens there.
    const REFUSED: &str = "http://127.0.0.1:1";

    #[tokio::test]
    async fn it_ends_at_once_when_the_api_server_was_never_reachable() {
        let (end, asked) = oneshot::channel();
        let (started, mut running) = oneshot::channel();
        let process = operated(
            REFUSED,
            &[],
            async move |parts: Parts| {
                let _ = started.send(());
                waits_for_stop(parts).await;
            },
            asked,
        );
        let asking = async {
            (&mut running).await.unwrap();
            let asked = Instant::now();
            end.send(()).unwrap();
            asked
        };
        let (ended, asked) = tokio::join!(process, asking);
        assert!(ended.is_ok());
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }

    #[tokio::test]
    async fn it_ends_within_the_limit_when_the_api_server_accepts_and_says_nothing() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let accepted = Arc::new(tokio::sync::Notify::new());
        let told = accepted.clone();
        let accepting = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                kept.push(silent.accept().await.unwrap());
                told.notify_one();
            }
        });
        let (end, asked) = oneshot::channel();
        let asking = async {
            accepted.notified().await;
            let asked = Instant::now();
            end.send(()).unwrap();
            asked
        };
        let (ended, asked) = tokio::join!(operated(&url, &[], waits_for_stop, asked), asking);
        assert!(ended.is_ok());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        accepting.abort();
    }

    #[tokio::test]
    async fn calls_in_flight_get_the_drain_time_and_are_dropped_then() {
        let (end, asked) = oneshot::channel();
        let (dropped, was_dropped) = oneshot::channel::<()>();
        end.send(()).unwrap();
        let flags = ["--shutdown-drain=200ms", "--shutdown-limit=1s", "--leader-election=false"];
        let began = Instant::now();
        let busy = async move |_: Parts| {
            let _held = dropped;
            sleep(Duration::from_mins(10)).await;
        };
        operated(REFUSED, &flags, busy, asked).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(1));
        assert!(was_dropped.await.is_err(), "the work was dropped");
    }

    #[tokio::test]
    async fn a_call_that_ends_within_the_drain_time_is_waited_for() {
        let (end, asked) = oneshot::channel();
        let (done, was_done) = oneshot::channel();
        end.send(()).unwrap();
        let finishing = async move |parts: Parts| {
            parts.stop.cancelled().await;
            sleep(Duration::from_millis(100)).await;
            done.send(()).unwrap();
        };
        operated(REFUSED, &["--leader-election=false"], finishing, asked).await.unwrap();
        assert!(was_done.await.is_ok());
    }

    #[tokio::test]
    async fn without_election_the_permit_is_there_at_once() {
        let (end, asked) = oneshot::channel();
        let leading = async move |parts: Parts| {
            parts.leadership.acquired().await.check().unwrap();
            end.send(()).unwrap();
            parts.stop.cancelled().await;
        };
        operated(REFUSED, &["--leader-election=false"], leading, asked).await.unwrap();
    }

    #[tokio::test]
    async fn a_supervisor_that_ends_or_panics_ends_the_process() {
        let (_end, asked) = oneshot::channel();
        let ended = operated(REFUSED, &[], async |_| (), asked).await.unwrap_err();
        assert_eq!(ended.to_string(), "the supervisor ended unexpectedly");
        let (_end, asked) = oneshot::channel();
        let panicking = async |_: Parts| panic!("on purpose");
        let ended = operated(REFUSED, &[], panicking, asked).await.unwrap_err();
        assert!(ended.to_string().starts_with("the supervisor ended unexpectedly: task"), "{ended}");
    }
}
