//! The operator's work: watches fill the store; once this process leads, a worker reconciles each
//! instance.

pub mod supervisor;
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
use crate::k8s::store::{Scope, Store, Stored};
use crate::runtime::process::Runtime;

/// Why the work ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a watch exited unexpectedly")]
    WatchExited,
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
    // Aborted when dropped.
    let mut reflectors = JoinSet::new();
    let served = runtime.health.readiness_gate("at least one scope synced");
    let scopes: Vec<Scope> = match &runtime.config.namespaces {
        Namespaces::All => vec![None],
        Namespaces::Named(names) => names.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        reflect::<FdiInstance>(&runtime, &store, scope.clone(), &mut reflectors);
        reflect::<FdiTaskGroup>(&runtime, &store, scope, &mut reflectors);
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
    let supervisor = Supervisor::new(&runtime, Arc::clone(&store), permit);
    tokio::select! {
        result = supervisor.run() => Ok(result?),
        _ = reflectors.join_next() => Err(Error::WatchExited),
    }
}

/// Starts one watch.
fn reflect<K: Stored>(runtime: &Runtime, store: &Arc<Store>, scope: Scope, reflectors: &mut JoinSet<Infallible>) {
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
        metrics: runtime.metrics.clone(),
        events: runtime.events.clone(),
        watch_timeout: runtime.config.watch_timeout,
    };
    reflectors.spawn(reflector.run(move |progress| match progress {
        Progress::Listed => gate.open(),
        Progress::Forbidden(error) => gate.waive(&error.to_string()),
    }));
}
