//! One FDI instance in the operator's words: what can be asked of it, and what comes back.

use futures::future::BoxFuture;

use crate::fdi::batch::Batch;
use crate::fdi::error::CallError;
use crate::fdi::rate_limit::Slot;
use crate::fdi::task::{Task, TaskId};

/// What became of one task ID in a batch call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Listed under `success`. Not yet settled: only a later observation says that.
    Accepted,
    /// Listed under `failure`, with the service's code and message.
    Refused(Refusal),
    /// The answer was lost or made no sense for this ID: observe, then decide.
    Unknown,
}

/// Why the service refused one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    /// The service's message and, where known, the cure.
    pub message: String,
    /// True when trying again soon cannot help (no schedule plan, no such task, invalid).
    pub permanent: bool,
}

/// The answer to a batch call: exactly one outcome for each ID of the batch, in the batch's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResponse {
    pub outcomes: Vec<(TaskId, Outcome)>,
    pub request_id: Option<String>,
}

/// One FDI instance, signed in.
pub trait FdiApi: Send + Sync + std::fmt::Debug {
    /// All tasks of the instance, over all pages.
    ///
    /// # Errors
    /// Any class but [`Class::Split`] and [`Class::SplitOnce`]: list calls never split.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Task>, CallError>>;

    /// Waits for a slot to send one batch call in: a place among the calls in flight and a token of the
    /// rate limit. Acquired before the call is chosen, so that what is sent is what is wanted at that
    /// moment. Dropping the future or the slot gives the place back.
    fn acquire(&self) -> BoxFuture<'_, Slot>;

    /// Sends one batch. After an error of class [`Class::Unavailable`] the outcome of every ID is unknown.
    ///
    /// # Errors
    /// When the batch as a whole got no answer per task.
    fn start_or_stop<'a>(&'a self, slot: Slot, batch: &'a Batch) -> BoxFuture<'a, Result<BatchResponse, CallError>>;
}
