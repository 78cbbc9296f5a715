//! After the last step, I/O: why runs fail, from the monitor logs of the tasks.
//!
//! Everything else comes first. Nothing is requested while calls are due, any change ends it, and a
//! service without logs, or one that refuses them, costs one request and the cause.

use jiff::Timestamp;

use crate::fdi::{Class, SendError, TaskId};
use crate::reconcile::context::Context;
use crate::reconcile::execute::Cancellation;
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observe::session::Session;
use crate::reconcile::status::Statuses;
use crate::time::backoff::elapsed;

/// Most requests after one reconcile.
const REQUESTS_MAX: usize = 10;

/// The failed runs that the statuses show without a cause, and for which no log was requested yet.
pub fn wanted(statuses: &Statuses<'_>, state: &InstanceState) -> Vec<TaskId> {
    if statuses.calls_due() || state.observation.is_failing() {
        return Vec::new();
    }
    let runs = statuses.groups().iter().flat_map(|report| &report.status.failed_runs);
    let without = runs.filter(|run| run.cause.is_none()).filter_map(|run| TaskId::new(run.task_id.as_str()).ok());
    without.filter(|id| state.ledger.lacks_cause(id)).take(REQUESTS_MAX).collect()
}

/// Requests the logs of `wanted` until the next reconcile is due at `next`. Returns when it is due
/// then: at once when something was learned or has changed.
pub async fn request(
    ctx: &Context,
    wanted: Vec<TaskId>,
    state: &mut InstanceState,
    session: &Session,
    (next, cancel): (Timestamp, Cancellation<'_>),
) -> Timestamp {
    let Some(signed_in) = session.signed_in().filter(|signed_in| !state.lacks_logs(signed_in.credential)) else {
        return next;
    };
    let mut learned = false;
    for id in wanted {
        let Some((since, scheduled)) = state.failed_run(&id) else { continue };
        let asked = async {
            let slot = signed_in.api.acquire().await?;
            signed_in.api.run_failure(slot, &id, since, scheduled).await
        };
        let result = tokio::select! {
            biased;
            () = cancel.shutdown.cancelled() => break,
            () = cancel.changed.notified() => return ctx.clock.now(),
            () = tokio::time::sleep(elapsed(ctx.clock.now(), next)) => break,
            result = asked => result,
        };
        let stop = result.is_err();
        if let Err(SendError::Call(error)) = &result
            && matches!(error.class, Class::Config | Class::SignIn)
        {
            state.record_no_logs(signed_in.credential);
            tracing::warn!(
                namespace = ctx.key.namespace,
                fdiinstance = ctx.key.name,
                code = error.code,
                request_id = error.request_id,
                "monitor logs cannot be read, so failed runs have no cause in status.failedRuns: {}",
                error.message
            );
        }
        let cause = result.unwrap_or_default();
        learned |= cause.is_some();
        state.ledger.record_cause(&id, cause);
        if stop {
            break;
        }
    }
    if learned { ctx.clock.now() } else { next }
}
