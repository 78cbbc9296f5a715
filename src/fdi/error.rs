//! What went wrong with a request to FDI or IAM, and the class that decides what happens next (design: "Talking to FDI").

use std::time::Duration;

use crate::fdi::text::single_line;

/// What the pass does next. Errors carry their class; nothing is decided by comparing texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The whole batch was refused because of some task in it: observe, halve the batch, find the culprit.
    Split,
    /// The whole batch was refused with a code outside the list: split once; when nothing gets through it is [`Class::Config`].
    SplitOnce,
    /// The sign-in was refused: only changed Secret data is tried again.
    SignIn,
    /// The request itself is refused (forbidden, wrong endpoint …): say what is wrong, try again slowly.
    Config,
    /// Too many requests: the instance pauses.
    Throttled,
    /// The service did not answer, or not with sense: whatever was context may or may not have happened.
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

/// CamelCase reasons for conditions, one for each cause a user can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A batch was refused because of a task in it.
    BatchRefused,
    /// Token, user or key refused (401, ROMA.1000/1002/1006, IAM.…, APIGW.0301/0303/0305/0307).
    SignInRefused,
    /// 403: signed in, but not allowed.
    Forbidden,
    /// Any other 4xx: wrong endpoint, project or instance.
    RequestRejected,
    /// The operator's allow-list does not hold this endpoint.
    EndpointNotAllowed,
    /// The certificate is not trusted, expired or for another name; or `caBundle` is not PEM.
    TlsFailed,
    /// 429 and its like.
    Throttled,
    /// 5xx, time-out, cut connection, body without sense.
    Unavailable,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub class: Class,
    pub cause: Cause,
    /// The service's own code (`FDI.3083`, `APIGW.0308` …) or ours where it gave none (`Timeout`, `HTTP 502` …).
    pub code: String,
    /// One plain sentence or two: what happened, and what to do. Never a secret, never more than 512 bytes.
    pub message: String,
    /// `X-Request-Id` of the answer, for a support ticket.
    pub request_id: Option<String>,
    /// For a batch of one task: trying again fails too until a person has changed something.
    pub permanent: bool,
    /// How long the service asked us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// Most bytes of a message.
const MESSAGE_MAX: usize = 512;

impl CallError {
    /// An error without an answer behind it. `code` is ours.
    pub(crate) fn new(class: Class, cause: Cause, code: &str, message: &str) -> Self {
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

    /// The service did not answer, or not with sense.
    pub(crate) fn unavailable(code: &str, message: &str) -> Self {
        Self::new(Class::Unavailable, Cause::Unavailable, code, message)
    }
}
