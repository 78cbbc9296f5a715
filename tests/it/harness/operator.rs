//! The operator inside the test's own process, with short timings.

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use clap::Parser;
use fdi_operator::config::Config;
use fdi_operator::config::flags::Flags;
use fdi_operator::testing::{Backoff, FdiConfig, KubeClients, Listeners, Runtime, Timings, control, run};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Gate, TestEnv};

/// A fiftieth of the operator's timings, except for those that concern people and machines rather
/// than the service.
pub fn fast_timings() -> Timings {
    let usual = Timings::default();
    let quick = |usual: Duration| usual / 50;
    Timings {
        settle_window: quick(usual.settle_window),
        settle_polls: usual.settle_polls.iter().map(|wait| quick(*wait)).collect(),
        backoff: Backoff { base: quick(usual.backoff.base), max: quick(usual.backoff.max) },
        slow_retry: quick(usual.slow_retry),
        contest_window: quick(usual.contest_window),
        missing_grace: quick(usual.missing_grace),
        rejected_grace: quick(usual.rejected_grace),
        stale_grace: quick(usual.stale_grace),
        deletion_timeout: quick(usual.deletion_timeout),
        deletion_orphan_timeout: quick(usual.deletion_orphan_timeout),
        secret_refresh: quick(usual.secret_refresh),
        execute_slice: Duration::from_millis(500),
        list_ttl: quick(usual.list_ttl),
        poll_interval_unit: quick(usual.poll_interval_unit),
        start_jitter: Duration::ZERO,
        ..usual
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

/// An operator in this process that watches one namespace. Dropping it kills it.
pub struct Operator {
    end: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Operator {
    /// Starts one with short timings.
    pub async fn start(env: &TestEnv) -> Self {
        Self::with(env, fast_timings(), &[]).await
    }

    pub async fn with(env: &TestEnv, timings: Timings, flags: &[&str]) -> Self {
        let flags = [&["--leader-election=false"], flags].concat();
        let config = config(&env.namespace, timings, &flags);
        let clients = KubeClients::new(&env.cluster.operator_config().await).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let shutdown_signal = async {
            if ended.await.is_err() {
                pending::<()>().await;
            }
        };
        let running = tokio::spawn(async move { serve(config, clients, shutdown_signal).await.unwrap() });
        Self { end: Some(end), running }
    }

    /// Shuts it down cleanly.
    pub async fn end(mut self) {
        let _ = self.end.take().unwrap().send(());
        (&mut self.running).await.unwrap();
    }

    /// Stops it in the middle of whatever it is doing, as a kill of the process does.
    pub async fn kill(self) {
        self.running.abort();
        drop(self);
        tokio::task::yield_now().await;
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn config(namespace: &str, timings: Timings, flags: &[&str]) -> Config {
    let scope = format!("--namespaces={namespace}");
    let always = ["operator", &scope, "--allow-insecure-endpoints"];
    let flags = Cli::try_parse_from(always.iter().chain(flags)).unwrap().flags;
    // The simulator answers within milliseconds, or never.
    let fdi = FdiConfig {
        allow_insecure: true,
        request_timeout: Duration::from_millis(1500),
        connect_timeout: Duration::from_millis(1000),
        ..FdiConfig::default()
    };
    Config { timings, fdi, ..flags.validate().unwrap() }
}

async fn serve(
    config: Config,
    clients: KubeClients,
    shutdown_signal: impl Future<Output = ()>,
) -> Result<(), impl Error + Send> {
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listeners = Listeners { health, metrics: None };
    let controller = |runtime: Runtime| async move {
        if let Err(error) = control(runtime).await {
            panic!("the controller failed: {error}");
        }
    };
    run(config, clients, listeners, shutdown_signal, controller).await
}

/// A Lease that a successor takes over soon.
const LEASE: [&str; 3] = ["--lease-duration=3s", "--lease-renew-deadline=2500ms", "--lease-retry-period=700ms"];

/// An operator whose requests all go through a gate. Nothing of it outlives
/// [`Self::kill`], for it has a runtime of its own.
pub struct GatedOperator {
    runtime: Option<tokio::runtime::Runtime>,
}

impl GatedOperator {
    pub async fn start(env: &TestEnv, gate: &Gate) -> Self {
        Self::with(env, gate, fast_timings(), &LEASE).await
    }

    pub async fn with(env: &TestEnv, gate: &Gate, timings: Timings, flags: &[&str]) -> Self {
        let (namespace, kube) = (env.namespace.clone(), gate.operator_config(env).await);
        let lease_namespace = format!("--lease-namespace={namespace}");
        let flags = [&[lease_namespace.as_str()], flags].concat();
        let config = config(&namespace, timings, &flags);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            // On a busy machine it may lose its Lease. Kubernetes starts it again then.
            loop {
                let ended = serve(config.clone(), KubeClients::new(&kube).unwrap(), pending()).await;
                assert!(ended.is_err_and(|error| error.to_string().starts_with("leadership lost")));
            }
        });
        Self { runtime: Some(runtime) }
    }

    pub async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        let killed = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(5)));
        killed.await.unwrap();
    }
}

impl Drop for GatedOperator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
