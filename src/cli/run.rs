//! `fdi-operator run`: configuration, logs, clients, then the life of the process.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::k8s::clients::Clients;
use crate::config::{Config, Flags};
use crate::controller;
use crate::runtime::process::{Parts, operate};
use crate::telemetry;

/// What a task that does not end by itself may take at the very end.
const LEFT_BEHIND: Duration = Duration::from_millis(100);

/// Exit codes: 0 ended as asked, 1 something ended it, 2 the configuration makes no sense.
pub fn run(flags: Flags) -> ExitCode {
    let config = match flags.check() {
        Ok(config) => config,
        Err(nonsense) => {
            eprintln!("error: {nonsense}");
            return ExitCode::from(2);
        }
    };
    telemetry::init(&config.log);
    let ended = Runtime::new().map_err(|error| format!("no runtime: {error}")).and_then(|runtime| {
        let ended = runtime.block_on(start(config));
        // A watch that never reached the API server would otherwise keep the process.
        runtime.shutdown_timeout(LEFT_BEHIND);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!(reason, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> Result<(), String> {
    let signals = termination().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let address = config.listen_address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("--listen-address: cannot listen on {address}: {error}"))?;
    // With port 0 the system chose one.
    let address = listener.local_addr().unwrap_or(address);
    let clients = Clients::infer().await.map_err(|error| error.to_string())?;
    info!(version = env!("CARGO_PKG_VERSION"), %address, namespaces = %config.namespaces, "the operator starts");
    operate(config, clients, listener, signals, supervise).await.map_err(|failure| failure.to_string())
}

/// The one place where the operator's work is started. When it ends without being asked to, so does the process.
async fn supervise(parts: Parts) {
    if let Err(ended) = operator::work(parts).await {
        error!(reason = %ended, "the work ended");
    }
}

/// Resolves at the first SIGTERM or Ctrl-C. A second one ends the process at once.
fn termination() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            error!("asked a second time: ending at once");
            std::process::exit(1);
        });
    })
}
