//! `fdi-operator run`: configuration, logs, clients, then the life of the process.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::{error, info};

use crate::config::Config;
use crate::config::flags::Flags;
use crate::controller;
use crate::k8s::clients::KubeClients;
use crate::runtime::http_server::bind;
use crate::runtime::process::{self, Listeners, Runtime};
use crate::runtime::termination;
use crate::telemetry;

/// How long tasks that do not end by themselves may take at the very end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

/// Exit codes: 0 shut down as requested, 1 something failed, 2 the configuration cannot be used.
pub fn run(flags: Flags) -> ExitCode {
    let config = match flags.validate() {
        Ok(config) => config,
        Err(invalid) => {
            eprintln!("error: {invalid}");
            return ExitCode::from(2);
        }
    };
    telemetry::init(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        // While there is always something to compute, the runtime looks at timers and sockets after
        // this many steps. With tokio's own 61, one tenant's large objects delayed everybody by up
        // to three seconds.
        .event_interval(4)
        .global_queue_interval(4)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"));
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(start(config));
        // A watch that never reached the API server would otherwise keep the process alive.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!(reason, "exiting");
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> Result<(), String> {
    let signals = termination::requested().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let health = listen("--listen-address", config.listen_address).await?;
    let metrics = match config.metrics_address {
        Some(address) => Some(listen("--metrics-address", address).await?),
        None => None,
    };
    let clients = KubeClients::infer().await.map_err(|error| error.to_string())?;
    // With port 0 the system chooses one.
    let address = |listener: &TcpListener| listener.local_addr().map(|address| address.to_string()).ok();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("FDI_OPERATOR_REVISION"),
        address = address(&health),
        metrics_address = metrics.as_ref().and_then(address),
        namespaces = %config.namespaces,
        "starting"
    );
    let listeners = Listeners { health, metrics };
    process::run(config, clients, listeners, signals, control).await.map_err(|error| error.to_string())
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    bind(address).await.map_err(|error| format!("{flag}: cannot listen on {address}: {error}"))
}

/// Runs the controller. When it returns before the shutdown, the process ends.
async fn control(runtime: Runtime) {
    if let Err(error) = controller::run(runtime).await {
        error!(reason = %error, "the controller failed");
    }
}
