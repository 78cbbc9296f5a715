//! What went wrong with a request to FDI or IAM, and the class that decides what happens next.

use std::time::Duration;

use crate::fdi::text::single_line;

/// What the operator does next. Errors carry their class, so that nothing compares texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The whole batch was refused because of a task in it: observe, then bisect the batch.
    Split,
    /// The whole batch was refused with a code that names no task: split it once. When both halves
    /// are refused too, the instance is the cause.
    SplitOnce,
    /// The sign-in was refused: wait for changed Secret data, and retry slowly.
    SignIn,
    /// The request itself was refused (forbidden, wrong endpoint …): report it, and retry slowly.
    Config,
    /// Too many requests: pause the instance.
    Throttled,
    /// No usable response: the request may or may not have taken effect.
    Unavailable,
}

impl Class {
    /// As logs and metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::SplitOnce => "split_once",
            Self::SignIn => "sign_in",
            Self::Config => "config",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One for each cause that a user can act on; each becomes a reason of the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A batch was refused because of a task in it.
    BatchRefused,
    /// Token, user or key refused (401, ROMA.1000/1002/1006, IAM.…, APIGW.0301/0303/0305/0307).
    SignInRefused,
    /// 403: signed in, but not allowed.
    Forbidden,
    /// The instance has more tasks than the operator keeps in memory.
    ListTooLarge,
    /// Any other 4xx: wrong endpoint, project or instance.
    RequestRejected,
    /// The operator's allow-list does not contain this endpoint.
    EndpointNotAllowed,
    /// The certificate is not trusted, expired or for another name; or `caBundle` is not PEM.
    TlsFailed,
    /// 429, or a code that means the same.
    Throttled,
    /// 5xx, timeout, lost connection, malformed body.
    Unavailable,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub class: Class,
    pub cause: Cause,
    /// The service's own code (`FDI.3083`, `APIGW.0308` …), or ours where it sent none (`Timeout`,
    /// `HTTP 502` …).
    pub code: String,
    /// What happened, and what to do. Contains no secret and has at most 512 bytes.
    pub message: String,
    /// `X-Request-Id` of the response, for a support ticket.
    pub request_id: Option<String>,
    /// For a batch of one task: a retry fails too until somebody changes something.
    pub permanent: bool,
    /// How long to wait before the next attempt, where the service or the circuit breaker says so.
    pub retry_after: Option<Duration>,
}

/// Most bytes of a message.
pub const MESSAGE_MAX: usize = 512;

/// Most bytes of a message that becomes the failure of a task.
pub const REFUSAL_MAX: usize = 256;

impl CallError {
    /// An error with a code of ours.
    pub fn new(class: Class, cause: Cause, code: &str, message: &str) -> Self {
        Self {
            class,
            cause,
            code: code.to_owned(),
            message: single_line(message, MESSAGE_MAX),
            request_id: None,
            permanent: false,
            retry_after: None,
        }
    }

    /// No usable response.
    pub fn unavailable(code: &str, message: &str) -> Self {
        Self::new(Class::Unavailable, Cause::Unavailable, code, message)
    }
}
