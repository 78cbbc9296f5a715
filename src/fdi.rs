//! The FDI client: everything about the service, nothing about Kubernetes.

mod answer;
pub mod auth;
mod batch;
mod classify;
mod codes;
mod connect;
mod error;
#[cfg(test)]
mod hostile_tests;
mod http;
mod limit;
mod list;
mod observer;
mod place;
#[cfg(test)]
mod simulator_tests;
mod task;
#[cfg(test)]
mod test_server;
mod text;
mod tls;
mod transport;
mod wire;

use std::time::Duration;

use futures::future::BoxFuture;

pub use auth::{Fingerprint, SignIn};
pub use batch::{BATCH_MAX, Batch};
pub(crate) use codes::is_lasting;
pub use connect::{Connection, Fdi, FdiConfig, Identity};
pub use error::{CallError, Cause, Class};
pub use limit::Limits;
pub use observer::{Observer, Operation};
pub use place::{InvalidPattern, Place};
pub use task::{Action, InvalidTaskId, LastRun, RunState, Task, TaskId};

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
    pub lasting: bool,
}

/// The answer to a batch call: exactly one outcome for each ID of the batch, in the batch's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub outcomes: Vec<(TaskId, Outcome)>,
    pub request_id: Option<String>,
}

/// Leave to send one batch call now: a place among the calls in flight and a token of the rate limit.
/// Taken before the call is chosen, so that what is sent is what is wanted at that moment.
pub trait Turn: Send + std::fmt::Debug {
    /// How long the turn was waited for.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

/// One FDI instance, signed in.
pub trait FdiApi: Send + Sync + std::fmt::Debug {
    /// All tasks of the instance, over all pages.
    ///
    /// # Errors
    /// Any class but [`Class::Split`] and [`Class::SplitOnce`]: list calls never split.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Task>, CallError>>;

    /// Waits for leave to send one batch call. Dropping the future or the turn gives the place back.
    fn turn(&self) -> BoxFuture<'_, Box<dyn Turn>>;

    /// Sends one batch. After an error of class [`Class::Unavailable`] the outcome of every ID is unknown.
    ///
    /// # Errors
    /// When the batch as a whole got no answer per task.
    fn start_or_stop<'a>(&'a self, turn: Box<dyn Turn>, batch: &'a Batch) -> BoxFuture<'a, Result<Answer, CallError>>;
}
