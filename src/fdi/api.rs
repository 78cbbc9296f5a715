//! The interface of one FDI instance: what can be requested, and what comes back.

use futures::future::BoxFuture;

use crate::fdi::batch::Batch;
use crate::fdi::error::CallError;
use crate::fdi::rate_limit::Slot;
use crate::fdi::task::{Task, TaskId};

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

/// One FDI instance, signed in.
pub trait FdiApi: Send + Sync + std::fmt::Debug {
    /// All tasks of the instance, over all pages.
    ///
    /// # Errors
    /// Any class but [`Class::Split`] and [`Class::SplitOnce`]: list calls never split.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Task>, CallError>>;

    /// Waits for a slot to send one batch call in: one of the permitted calls in flight, and the
    /// rate limit's next opportunity. Acquire it before choosing the call, so that what is sent is
    /// what is wanted at that moment. Dropping the future or the slot releases it.
    fn acquire(&self) -> BoxFuture<'_, Slot>;

    /// Sends one batch. After an error of class [`Class::Unavailable`] every outcome is unknown.
    ///
    /// # Errors
    /// When the response says nothing about the single tasks.
    fn start_or_stop<'a>(&'a self, slot: Slot, batch: &'a Batch) -> BoxFuture<'a, Result<BatchResponse, CallError>>;
}
