//! The operator's work: watches feed stores, the leader's supervisor works on what they hold.

use std::convert::Infallible;
use std::sync::Arc;

use kube::Api;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Namespaces;
use crate::crd::{FdiInstance, FdiTaskGroup};
use crate::k8s::crd_check;
use crate::reconcile::duplicates::Duplicates;
use crate::runtime::process::Parts;
use crate::k8s::reflector::{Kept, Stores, feed};
use crate::controller::worker::{Crashed, Shared, supervise};

/// Why the work ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("a watch ended; it should go on for ever")]
    Watch,
    #[error(transparent)]
    Worker(#[from] Crashed),
}

/// Watches at once, works once this process leads and all stores are filled. Returns soon after `parts.stop`.
///
/// # Errors
/// When a watch or a worker ends that must not: the process cannot be trusted any more.
pub async fn work(parts: Parts) -> Result<(), Ended> {
    let stores = Arc::new(Stores::default());
    // Aborted when dropped.
    let mut feeds = JoinSet::new();
    let mut filled = Vec::new();
    let scopes: Vec<Option<String>> = match &parts.config.namespaces {
        Namespaces::All => vec![None],
        Namespaces::Named(names) => names.iter().cloned().map(Some).collect(),
    };
    for scope in scopes {
        filled.push(start::<FdiInstance>(&parts, &stores, scope.clone(), &mut feeds));
        filled.push(start::<FdiTaskGroup>(&parts, &stores, scope, &mut feeds));
    }
    let mut checking = JoinSet::new();
    checking.spawn(crd_check::check(parts.clients.requests.clone()));
    let leading = async {
        for filled in &filled {
            filled.cancelled().await;
        }
        parts.leadership.acquired().await
    };
    let permit = tokio::select! {
        () = parts.stop.cancelled() => return Ok(()),
        _ = feeds.join_next() => return Err(Ended::Watch),
        permit = leading => permit,
    };
    tracing::info!("leading, and the stores are filled: work begins");
    tokio::select! {
        ended = supervise(shared(&parts, &stores), permit, parts.stop.clone()) => Ok(ended?),
        _ = feeds.join_next() => Err(Ended::Watch),
    }
}

/// Starts one watch; the token is cancelled once its store is filled.
fn start<K: Kept>(
    parts: &Parts,
    stores: &Arc<Stores>,
    scope: Option<String>,
    feeds: &mut JoinSet<Infallible>,
) -> CancellationToken {
    let client = parts.clients.watch.clone();
    let api: Api<K> = match &scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let place = scope.as_deref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let check = parts.health.ready(format!("{}s listed{place}", K::kind(&())));
    let filled = CancellationToken::new();
    let told = filled.clone();
    let filled_now = move || {
        check.met();
        told.cancel();
    };
    feeds.spawn(feed(api, Arc::clone(stores), scope, parts.config.watch_length, parts.metrics.clone(), filled_now));
    filled
}

fn shared(parts: &Parts, stores: &Arc<Stores>) -> Shared {
    let fdi = parts.config.fdi.clone();
    Shared {
        stores: Arc::clone(stores),
        duplicates: Duplicates::new(Arc::clone(stores), fdi.clone()),
        client: parts.clients.requests.clone(),
        fdi,
        events: parts.events.clone(),
        clock: parts.clock,
        timings: parts.config.timings.clone(),
        metrics: parts.metrics.clone(),
        health: parts.health.clone(),
        passes: Arc::new(Semaphore::new(parts.config.max_concurrent_passes)),
        requests: Arc::new(Semaphore::new(parts.config.max_api_requests)),
    }
}
