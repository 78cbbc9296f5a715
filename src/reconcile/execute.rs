//! Step 4, I/O: sends the calls of the plan, within the limits of the instance, for as long as they
//! are wanted.

use std::pin::pin;

use futures::FutureExt as _;
use futures::future::Fuse;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fdi::{Batch, SendError};
use crate::reconcile::audit::Audit;
use crate::reconcile::context::Context;
use crate::reconcile::desired::Desired;
use crate::reconcile::observe::session::Session;
use crate::reconcile::outcome::{CompletedCall, Outcomes};
use crate::reconcile::plan::Plan;

/// Calls in a time slice, unless it takes too long: the list that follows is one request or two as
/// well, and is to cost little beside them.
const SLICE_CALLS: usize = 40;

/// What interrupts a running plan.
#[derive(Debug, Clone, Copy)]
pub struct Cancellation<'a> {
    /// Something changed: the rest of the plan is no longer known to be right.
    pub changed: &'a Notify,
    /// The process shuts down: no new call.
    pub shutdown: &'a CancellationToken,
}

/// How much longer calls are sent.
#[derive(PartialEq, Eq)]
enum Sending {
    On,
    /// No further call, but those in flight are waited for.
    Stopped,
    /// The same, and the next reconcile goes on with the rest at once.
    Interrupted,
}

/// Sends the calls in order, several at once where the instance allows it. Ends when the plan is
/// done, when a call fails for a cause that may concern the whole instance, after a time slice, or
/// when something changed: never within a call. For the last two not before one call was made, so
/// that a stream of edits cannot keep all others from being served. When leadership ends the worker
/// drops the reconcile, and calls in flight with it.
pub async fn execute(
    ctx: &Context,
    plan: &Plan,
    session: &Session,
    cancel: Cancellation<'_>,
    audit: Audit<'_>,
) -> Outcomes {
    let Some(api) = session.api().filter(|_| !plan.calls().is_empty()) else { return Outcomes::default() };
    let mut calls = Vec::new();
    let mut queued = plan.calls().iter();
    let mut in_flight = FuturesUnordered::new();
    let began = Instant::now();
    let mut longest = pin!(tokio::time::sleep_until(began + ctx.timings.execute_slice_max));
    let mut slot = api.acquire().fuse();
    let (mut sending, mut sent, mut not_sent) = (Sending::On, 0, None);
    loop {
        if sending == Sending::On && sent >= SLICE_CALLS && began.elapsed() >= ctx.timings.execute_slice {
            sending = Sending::Interrupted;
        }
        let open = sending == Sending::On && queued.len() > 0;
        if !open && in_flight.is_empty() {
            break;
        }
        if !open {
            // Others may wait for what it holds.
            slot = Fuse::terminated();
        }
        tokio::select! {
            biased;
            () = cancel.shutdown.cancelled(), if open => sending = Sending::Interrupted,
            Some(call) = in_flight.next(), if !in_flight.is_empty() => {
                let Some(call): Option<CompletedCall> = call else {
                    sending = Sending::Interrupted;
                    continue;
                };
                audit.log(ctx, &call);
                if call.stops_plan() && sending == Sending::On {
                    sending = Sending::Stopped;
                }
                calls.push(call);
            }
            () = cancel.changed.notified(), if open && sent > 0 => sending = Sending::Interrupted,
            () = &mut longest, if open && sent > 0 => sending = Sending::Interrupted,
            acquired = &mut slot, if open => {
                if ctx.permit.check().is_err() {
                    break;
                }
                let acquired = match acquired {
                    Ok(acquired) => acquired,
                    Err(error) => {
                        not_sent = Some((error, ctx.clock.now()));
                        sending = Sending::Stopped;
                        continue;
                    }
                };
                let Some(batch) = queued.next() else { continue };
                // The slot took its time: what was chosen before must still be wanted now.
                let changed = cancel.changed.notified().now_or_never().is_some();
                if changed {
                    sending = Sending::Interrupted;
                }
                if !changed || still_wanted(ctx, audit.desired, batch) {
                    sent += 1;
                    in_flight.push(async move {
                        let result = match api.start_or_stop(acquired, batch).await {
                            Ok(response) => Ok(response),
                            Err(SendError::Call(error)) => Err(error),
                            // Nothing was done: the next reconcile chooses anew.
                            Err(SendError::SlotExpired) => return None,
                        };
                        Some(CompletedCall { batch: batch.clone(), result, ended: ctx.clock.now() })
                    });
                }
                slot = api.acquire().fuse();
            }
        }
    }
    Outcomes::new(calls, sending == Sending::Interrupted).with_not_sent(not_sent)
}

/// Whether a batch that was planned is wanted by what is stored now.
fn still_wanted(ctx: &Context, planned: &Desired, batch: &Batch) -> bool {
    planned.newer(ctx.snapshot()).as_ref().unwrap_or(planned).wants(batch)
}
