//! The operator's work: watches fill the store; once this process leads, a worker reconciles each
//! instance.

pub mod supervisor;
pub mod worker;

use std::convert::Infallible;
use std::sync::Arc;

use kube::Api;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::supervisor::{Supervisor, WorkerExited};
use crate::config::Namespaces;
use crate::crd::{FdiInstance, FdiTaskGroup};
use crate::k8s::crd_check;
use crate::k8s::reflector::Reflector;
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::store::{Store, Stored};
use crate::runtime::process::Runtime;

/// Why the work ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a watch exited unexpectedly")]
    WatchExited,
    #[error("the status writer exited unexpectedly")]
    SenderExited,
    #[error(transparent)]
    Worker(#[from] WorkerExited),
}

/// Watches at once, works once this process leads and the store is synced. Returns soon after
/// `runtime.stop`.
///
/// # Errors
/// When a watch or a worker exits that must not: the process cannot be trusted any more.
pub async fn run(runtime: Runtime) -> Result<(), Error> {
    let store = Arc::new(Store::default());
    let writer = StatusWriter::new(runtime.clock);
    // Aborted when dropped.
    let mut reflectors = JoinSet::new();
    let mut synced = Vec::new();
    let scopes: Vec<Option<String>> = match &runtime.config.namespaces {
        Namespaces::All => vec![None],
        Namespaces::Named(names) => names.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        synced.push(reflect::<FdiInstance>(&runtime, (&store, &writer), scope.clone(), &mut reflectors));
        synced.push(reflect::<FdiTaskGroup>(&runtime, (&store, &writer), scope, &mut reflectors));
    }
    let _crd_check = AbortOnDropHandle::new(tokio::spawn(crd_check::check(runtime.clients.requests.clone())));
    let leading = async {
        for synced in &synced {
            synced.cancelled().await;
        }
        runtime.leadership.acquired().await
    };
    let permit = tokio::select! {
        () = runtime.stop.cancelled() => return Ok(()),
        _ = reflectors.join_next() => return Err(Error::WatchExited),
        permit = leading => permit,
    };
    tracing::info!("became leader, store synced; starting workers");
    let sender = writer.sender(
        runtime.clients.requests.clone(),
        runtime.events.clone(),
        permit.clone(),
        runtime.config.max_api_requests,
    );
    let mut sender = AbortOnDropHandle::new(tokio::spawn(sender.run()));
    let supervisor = Supervisor::new(&runtime, store, writer.clone(), permit.clone());
    tokio::select! {
        result = supervisor.run() => result?,
        _ = reflectors.join_next() => return Err(Error::WatchExited),
        _ = &mut sender => {
            if permit.check().is_ok() {
                return Err(Error::SenderExited);
            }
            // It ends with the leadership, and the election then ends the process.
            std::future::pending().await
        }
    }
    // What the last reconciles found is written before the next leader starts.
    tokio::select! {
        () = writer.flush() => {}
        () = permit.expired() => {}
    }
    Ok(())
}

/// Starts one watch; the token is cancelled once its objects are in the store.
fn reflect<K: Stored>(
    runtime: &Runtime,
    (store, writer): (&Arc<Store>, &StatusWriter),
    scope: Option<String>,
    reflectors: &mut JoinSet<Infallible>,
) -> CancellationToken {
    let client = runtime.clients.watch.clone();
    let api: Api<K> = match &scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let suffix = scope.as_deref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let gate = runtime.health.readiness_gate(format!("{}s listed{suffix}", K::kind(&())));
    let synced = CancellationToken::new();
    let on_synced = {
        let synced = synced.clone();
        move || {
            gate.open();
            synced.cancel();
        }
    };
    let reflector = Reflector {
        api,
        scope,
        store: Arc::clone(store),
        writer: writer.clone(),
        metrics: runtime.metrics.clone(),
        watch_timeout: runtime.config.watch_timeout,
    };
    reflectors.spawn(reflector.run(on_synced));
    synced
}
