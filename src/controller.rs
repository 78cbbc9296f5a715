//! The operator's work: watches fill the store; once this process leads, a worker reconciles each
//! instance.

mod low_priority;
pub mod supervisor;
pub mod turns;
pub mod worker;

use std::convert::Infallible;
use std::sync::Arc;

use kube::Api;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::supervisor::{Supervisor, WorkerExited};
use crate::config::Namespaces;
use crate::crd::{FdiInstance, FdiTaskGroup};
use crate::k8s::crd_check;
use crate::k8s::reflector::{Progress, Reflector};
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::store::{Scope, Store, Stored};
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

/// Watches at once. Once both kinds are listed in some scope this process may lead, and once it
/// leads a worker reconciles each instance of the scopes that are listed. Returns soon after
/// `runtime.stop`.
///
/// # Errors
/// When a watch or a worker exits that must not: the process cannot be trusted any more.
pub async fn run(runtime: Runtime) -> Result<(), Error> {
    let store = Arc::new(Store::default());
    let writer = StatusWriter::new(runtime.clock);
    // Aborted when dropped.
    let mut reflectors = JoinSet::new();
    let served = runtime.health.readiness_gate("at least one scope synced");
    let scopes: Vec<Scope> = match &runtime.config.namespaces {
        Namespaces::All => vec![None],
        Namespaces::Named(names) => names.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        reflect::<FdiInstance>(&runtime, (&store, &writer), scope.clone(), &mut reflectors);
        reflect::<FdiTaskGroup>(&runtime, (&store, &writer), scope, &mut reflectors);
    }
    let _crd_check = AbortOnDropHandle::new(tokio::spawn(crd_check::check(runtime.clients.requests.clone())));
    let leading = async {
        store.synced().await;
        served.open();
        // Not before: a leader that can do no work would keep others from it.
        runtime.candidate.cancel();
        runtime.leadership.acquired().await
    };
    let permit = tokio::select! {
        () = runtime.stop.cancelled() => return Ok(()),
        _ = reflectors.join_next() => return Err(Error::WatchExited),
        permit = leading => permit,
    };
    tracing::info!("became leader, store synced; starting workers");
    let sender = writer.sender(
        (runtime.clients.requests.clone(), Arc::clone(&store)),
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
            std::future::pending::<()>().await;
        }
    }
    // What the last reconciles found is written before the next leader starts.
    tokio::select! {
        () = writer.flush() => {}
        () = permit.expired() => {}
    }
    Ok(())
}

/// Starts one watch.
fn reflect<K: Stored>(
    runtime: &Runtime,
    (store, writer): (&Arc<Store>, &StatusWriter),
    scope: Scope,
    reflectors: &mut JoinSet<Infallible>,
) {
    let client = runtime.clients.watch.clone();
    let api: Api<K> = match &scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let suffix = scope.as_deref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let gate = runtime.health.readiness_gate(format!("{}s listed{suffix}", K::kind(&())));
    let reflector = Reflector {
        api,
        scope,
        store: Arc::clone(store),
        writer: writer.clone(),
        metrics: runtime.metrics.clone(),
        events: runtime.events.clone(),
        watch_timeout: runtime.config.watch_timeout,
    };
    reflectors.spawn(reflector.run(move |progress| match progress {
        Progress::Listed => gate.open(),
        Progress::Forbidden(error) => gate.waive(&error.to_string()),
    }));
}
