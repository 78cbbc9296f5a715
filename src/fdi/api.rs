//! The interface of one FDI instance: what can be requested, and what comes back.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::fdi::auth::circuit_breaker::Admission;
use crate::fdi::auth::password::CachedToken;
use crate::fdi::batch::Batch;
use crate::fdi::error::CallError;
use crate::fdi::rate_limit::Place;
use crate::fdi::task::{Attributes, TaskId};
use crate::fdi::tasks::Tasks;

/// What became of one task ID in a batch call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Listed under `success`. Only a later observation shows that the task has settled.
    Accepted,
    /// Listed under `failure`, with the service's code and message.
    Refused(Refusal),
    /// The response was lost or malformed for this ID: observe, then decide.
    Unknown,
}

/// Why the service refused one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    /// The service's message and, where known, the remedy.
    pub message: String,
    /// True when a retry cannot help until somebody changes something (no schedule plan, no such
    /// task).
    pub permanent: bool,
}

/// The response to a batch call: exactly one outcome for each ID of the batch, in the batch's
/// order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResponse {
    pub outcomes: Vec<(TaskId, Outcome)>,
    pub request_id: Option<String>,
}

/// All that a request needs to leave at once: a place among those in flight, the rate limit's next
/// opportunity, a valid token, and the admission of the circuit breaker. Dropping it releases them.
#[derive(Debug)]
pub struct Slot {
    pub(super) place: Place,
    pub(super) token: Option<CachedToken>,
    pub(super) admission: Admission,
    /// How long the request waited for it.
    pub(super) waited: Duration,
}

/// Why a batch was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The token had ended early, so the service did nothing. Acquire a new slot and choose again:
    /// what was wanted may have changed meanwhile.
    #[error("the token had ended")]
    SlotExpired,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// One FDI instance, signed in.
pub trait FdiApi: Send + Sync + std::fmt::Debug {
    /// All tasks of the instance, over all pages, with their attributes where these are to be kept.
    /// A page that is byte for byte as it was in `known` is not decoded again.
    ///
    /// # Errors
    /// Any class but [`Class::Split`] and [`Class::SplitOnce`]: list calls never split.
    fn list<'a>(&'a self, attributes: Attributes, known: Option<&'a Tasks>) -> BoxFuture<'a, Result<Tasks, CallError>>;

    /// Waits for a slot to send one batch call in. Every wait is here, the sign-in included: choose
    /// the call after it, so that what is sent is what is wanted at that moment. Dropping the
    /// future or the slot releases what it holds; drop it as soon as nothing is to be sent, for
    /// others may wait.
    ///
    /// # Errors
    /// When no call can be sent now. Nothing was sent.
    fn acquire(&self) -> BoxFuture<'_, Result<Slot, CallError>>;

    /// Sends one batch at once. After an error of class [`Class::Unavailable`] every outcome is
    /// unknown.
    ///
    /// # Errors
    /// When the response says nothing about the single tasks.
    fn start_or_stop<'a>(&'a self, slot: Slot, batch: &'a Batch) -> BoxFuture<'a, Result<BatchResponse, SendError>>;

    /// Why the latest run of a task failed that was observed to fail at `since`, as its monitor log
    /// says; `None` when it says nothing.
    ///
    /// # Errors
    /// When there is no log to read.
    fn run_failure<'a>(
        &'a self,
        slot: Slot,
        id: &'a TaskId,
        since: Timestamp,
        scheduled: bool,
    ) -> BoxFuture<'a, Result<Option<String>, SendError>>;
}
