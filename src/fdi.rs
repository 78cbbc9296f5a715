//! The FDI client: everything about the service, nothing about Kubernetes.
//!
//! Its messages are written for the users of the two kinds, so they name `FdiInstance` fields,
//! Secret keys and flags of the operator: whoever reads one must know what to do.

mod adaptive_rate;
mod api;
mod auth;
mod batch;
mod batch_response;
mod classify;
mod connect;
mod endpoint;
mod error;
mod error_codes;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod http_clients;
mod json;
mod list_page;
mod monitor_log;
mod observer;
mod proxy;
mod rate_limit;
mod read_turns;
mod request;
mod resolver;
mod sample_list;
mod task;
mod task_list;
mod tasks;
#[cfg(test)]
pub mod tests;
pub mod text;
mod tls_error;
mod transport;
mod trust;
mod wire;

#[cfg(test)]
pub use api::Refusal;
pub use api::{BatchResponse, FdiApi, Outcome, SendError};
pub use auth::sign_in::{Fingerprint, SignIn};
pub use batch::{BATCH_MAX, Batch};
pub use connect::{Connection, Fdi, FdiConfig, Identity};
pub use endpoint::{InvalidPattern, Location, is_dns_label};
pub use error::{CallError, Cause, Class};
pub use observer::{Operation, RequestObserver};
pub use rate_limit::RequestLimiter;
pub use sample_list::SampleList;
#[cfg(test)]
pub use task::TaskAttributes;
pub use task::{Action, Attributes, LastRun, RunHealth, RunState, Task, TaskId, TaskType};
pub use tasks::Tasks;
