//! The life of the operator's process: what runs beside what, what ends it, and in which order it
//! ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use tokio::net::TcpListener;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::config::Config;
use crate::fdi::{Fdi, InvalidPattern};
use crate::k8s::clients::KubeClients;
use crate::k8s::events::EventRecorder;
use crate::k8s::leader_election::{ElectionResult, Leadership, Lost, elect};
use crate::metrics::Metrics;
use crate::runtime::health::{Health, health_router};
use crate::runtime::http_server::serve;
use crate::runtime::scrape::metrics_router;
use crate::time::clock::Clock;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_mins(1);
/// Calls in flight are dropped at once when their task is aborted; a task that does not even end
/// then is left behind.
const ABORT_TIMEOUT: Duration = Duration::from_millis(200);

/// Where the process is reached.
#[derive(Debug)]
pub struct Listeners {
    /// For `/livez` and `/readyz`.
    pub health: TcpListener,
    /// For `/metrics`; `None`: where `health` is.
    pub metrics: Option<TcpListener>,
}

/// What the operator's work needs from its process.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub config: Arc<Config>,
    pub clients: KubeClients,
    pub fdi: Fdi,
    pub clock: Clock,
    pub health: Health,
    pub metrics: Metrics,
    pub events: EventRecorder,
    pub leadership: Leadership,
    /// To be cancelled once this process can do the work of a leader: it campaigns from then on.
    pub candidate: CancellationToken,
    /// Cancelled at the beginning of a clean shutdown: send nothing new, wait for what is in
    /// flight, return.
    pub stop: CancellationToken,
}

/// Why the process ended without being asked to. Kubernetes starts it again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--allowed-endpoints: {0}")]
    Config(#[from] InvalidPattern),
    #[error("leadership lost: {0}")]
    Leadership(#[from] Lost),
    #[error("{task} exited unexpectedly{}", panicked.as_ref().map(|panic| format!(": {panic}")).unwrap_or_default())]
    TaskExited { task: &'static str, panicked: Option<JoinError> },
    #[error("the server for /livez, /readyz and /metrics failed: {0}")]
    Server(#[source] io::Error),
}

/// Runs until `shutdown_signal` resolves (then it shuts down cleanly, within the configured times,
/// and returns `Ok`) or something exits that must not. `controller` does the operator's work and
/// returns soon after [`Runtime::stop`].
pub async fn run<C>(
    config: Config,
    clients: KubeClients,
    listeners: Listeners,
    shutdown_signal: impl Future<Output = ()>,
    controller: impl FnOnce(Runtime) -> C,
) -> Result<(), Error>
where
    C: Future<Output = ()> + Send + 'static,
{
    let clock = Clock::start();
    let health = Health::default();
    let metrics = Metrics::new();
    let fdi = Fdi::new(config.fdi.clone())?;
    let (events, publisher) = EventRecorder::channel(metrics.clone());
    let shutdown = config.shutdown;
    let stop = CancellationToken::new();
    let (candidate, release) = (CancellationToken::new(), CancellationToken::new());

    let identity = config.leader_election.as_ref().map(|params| params.identity.clone());
    let mut server = spawn(serve_http(listeners, health.clone(), metrics.clone()));
    let reporter = identity.unwrap_or_else(|| "fdi-operator".to_owned());
    let _publisher = spawn(publisher.run(clients.requests.clone(), reporter));
    let _heartbeat = spawn(heartbeat(health.clone()));
    let (leadership, mut election) = start_election(&config, &clients, clock, &candidate, &release);
    let _leadership = spawn(export_leadership(leadership.clone(), metrics.clone()));
    let config = Arc::new(config);
    let runtime =
        Runtime { config, clients, fdi, clock, health, metrics, events, leadership, candidate, stop: stop.clone() };
    let mut work = spawn(controller(runtime));

    tokio::select! {
        biased;
        () = shutdown_signal => {}
        result = &mut election => return Err(election_error(result)),
        result = &mut work => return Err(Error::TaskExited { task: "the controller", panicked: result.err() }),
        result = &mut server => return Err(match result {
            Ok(Err(error)) => Error::Server(error),
            other => Error::TaskExited { task: "the server for /livez", panicked: other.err() },
        }),
    }

    let began = Instant::now();
    info!(drain = ?shutdown.drain, "shutting down: waiting for in-flight calls");
    stop.cancel();
    if timeout_at(began + shutdown.drain, &mut work).await.is_err() {
        warn!("in-flight calls dropped; the next leader observes their outcome");
        work.abort();
        let _ = timeout_at(Instant::now() + ABORT_TIMEOUT, &mut work).await;
    }
    // Only now: the next leader may send calls as soon as it sees the Lease free.
    release.cancel();
    if timeout_at(began + shutdown.timeout, &mut election).await.is_err() {
        warn!("the Lease was not released in time; it expires by itself");
    }
    info!(took = ?began.elapsed(), "shut down");
    Ok(())
}

async fn serve_http(listeners: Listeners, health: Health, metrics: Metrics) -> io::Result<()> {
    let (health, metrics) = (health_router(health), metrics_router(metrics));
    match listeners.metrics {
        None => serve(listeners.health, health.merge(metrics)).await,
        Some(listener) => tokio::try_join!(serve(listeners.health, health), serve(listener, metrics)).map(|_| ()),
    }
}

fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

fn start_election(
    config: &Config,
    clients: &KubeClients,
    clock: Clock,
    candidate: &CancellationToken,
    release: &CancellationToken,
) -> (Leadership, AbortOnDropHandle<ElectionResult>) {
    let (candidate, release) = (candidate.clone(), release.clone());
    let Some(params) = config.leader_election.clone() else {
        let released = async move {
            release.cancelled().await;
            ElectionResult::Released
        };
        return (Leadership::always(), spawn(released));
    };
    let (sender, leadership) = Leadership::channel();
    let namespace = params.namespace.as_deref().unwrap_or(&clients.namespace);
    let leases = Api::namespaced(clients.lease.clone(), namespace);
    let election = spawn(async move {
        tokio::select! {
            () = release.cancelled() => return ElectionResult::Released,
            () = candidate.cancelled() => {}
        }
        elect(leases, &params, clock, sender, release).await
    });
    (leadership, election)
}

fn election_error(result: Result<ElectionResult, JoinError>) -> Error {
    match result {
        Ok(ElectionResult::Lost(lost)) => Error::Leadership(lost),
        Ok(ElectionResult::Released) => Error::TaskExited { task: "the election", panicked: None },
        Err(panic) => Error::TaskExited { task: "the election", panicked: Some(panic) },
    }
}

async fn export_leadership(leadership: Leadership, metrics: Metrics) {
    metrics.leader(false);
    let permit = leadership.acquired().await;
    metrics.leader(true);
    permit.expired().await;
    metrics.leader(false);
}

async fn heartbeat(health: Health) {
    let heartbeat = health.heartbeat("process", HEARTBEAT_TIMEOUT);
    let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
    loop {
        ticks.tick().await;
        heartbeat.tick(HEARTBEAT_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::sleep;

    use super::*;
    use crate::config::Shutdown;
    use crate::k8s::leader_election::Params;

    /// Runs against an API server at `url`; shuts down when the sender is used.
    async fn run_against<C>(
        url: &str,
        config: Config,
        controller: impl FnOnce(Runtime) -> C,
        end: oneshot::Receiver<()>,
    ) -> Result<(), Error>
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let clients = KubeClients::new(&kube::Config::new(url.parse().unwrap())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown_signal = async {
            let _ = end.await;
        };
        let listeners = Listeners { health: listener, metrics: None };
        run(config, clients, listeners, shutdown_signal, controller).await
    }

    fn elected() -> Config {
        let params = Params {
            name: "fdi-operator".to_owned(),
            namespace: None,
            identity: "me".to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        Config { leader_election: Some(params), ..Config::default() }
    }

    async fn campaigns_until_stop(runtime: Runtime) {
        runtime.candidate.cancel();
        runtime.stop.cancelled().await;
    }

    /// Nothing listens there.
    const REFUSED: &str = "http://127.0.0.1:1";

    #[tokio::test]
    async fn it_ends_at_once_when_the_api_server_was_never_reachable() {
        let (end, asked) = oneshot::channel();
        let (started, mut running) = oneshot::channel();
        let process = run_against(
            REFUSED,
            elected(),
            async move |runtime: Runtime| {
                let _ = started.send(());
                campaigns_until_stop(runtime).await;
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
    async fn it_ends_within_the_limit_when_the_api_server_never_responds() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let accepted = Arc::new(tokio::sync::Notify::new());
        let signal = accepted.clone();
        let accepting = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                kept.push(silent.accept().await.unwrap());
                signal.notify_one();
            }
        });
        let (end, asked) = oneshot::channel();
        let asking = async {
            accepted.notified().await;
            let asked = Instant::now();
            end.send(()).unwrap();
            asked
        };
        let (ended, asked) = tokio::join!(run_against(&url, elected(), campaigns_until_stop, asked), asking);
        assert!(ended.is_ok());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        accepting.abort();
    }

    #[tokio::test]
    async fn calls_in_flight_get_the_drain_time_and_are_dropped_then() {
        let (end, asked) = oneshot::channel();
        let (dropped, was_dropped) = oneshot::channel::<()>();
        end.send(()).unwrap();
        let shutdown = Shutdown { drain: Duration::from_millis(200), timeout: Duration::from_secs(1) };
        let config = Config { shutdown, ..Config::default() };
        let began = Instant::now();
        let busy = async move |_: Runtime| {
            let _held = dropped;
            sleep(Duration::from_mins(10)).await;
        };
        run_against(REFUSED, config, busy, asked).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(1));
        assert!(was_dropped.await.is_err(), "the work was dropped");
    }

    #[tokio::test]
    async fn a_call_that_ends_within_the_drain_time_is_waited_for() {
        let (end, asked) = oneshot::channel();
        let (done, was_done) = oneshot::channel();
        end.send(()).unwrap();
        let finishing = async move |runtime: Runtime| {
            runtime.stop.cancelled().await;
            sleep(Duration::from_millis(100)).await;
            done.send(()).unwrap();
        };
        run_against(REFUSED, Config::default(), finishing, asked).await.unwrap();
        assert!(was_done.await.is_ok());
    }

    #[tokio::test]
    async fn without_election_the_permit_is_there_at_once() {
        let (end, asked) = oneshot::channel();
        let leading = async move |runtime: Runtime| {
            runtime.leadership.acquired().await.check().unwrap();
            end.send(()).unwrap();
            runtime.stop.cancelled().await;
        };
        run_against(REFUSED, Config::default(), leading, asked).await.unwrap();
    }

    #[tokio::test]
    async fn a_controller_that_exits_or_panics_ends_the_process() {
        let (_end, asked) = oneshot::channel();
        let ended = run_against(REFUSED, elected(), async |_| (), asked).await.unwrap_err();
        assert_eq!(ended.to_string(), "the controller exited unexpectedly");
        let (_end, asked) = oneshot::channel();
        let panicking = async |_: Runtime| panic!("on purpose");
        let ended = run_against(REFUSED, elected(), panicking, asked).await.unwrap_err();
        assert!(ended.to_string().starts_with("the controller exited unexpectedly: task"), "{ended}");
    }
}
