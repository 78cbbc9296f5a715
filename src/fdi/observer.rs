//! The interface through which metrics learn of every request.

use std::fmt;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

use crate::fdi::task::Action;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    List,
    /// The monitor log of one task.
    MonitorLog,
    Start,
    Stop,
    /// The request to IAM for a token.
    SignIn,
}

impl Operation {
    /// As metrics and logs show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::MonitorLog => "monitor_log",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::SignIn => "sign_in",
        }
    }

    /// As it continues a sentence after "to …".
    pub fn verb_phrase(self) -> &'static str {
        match self {
            Self::List => "list tasks",
            Self::MonitorLog => "read the monitor log of a task",
            Self::Start => "start tasks",
            Self::Stop => "stop tasks",
            Self::SignIn => "sign in",
        }
    }

    /// Whether this is a batch call; only those can be split.
    pub fn is_batch(self) -> bool {
        matches!(self, Self::Start | Self::Stop)
    }
}

impl From<Action> for Operation {
    fn from(action: Action) -> Self {
        match action {
            Action::Start => Self::Start,
            Action::Stop => Self::Stop,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Notified of every request after it ended.
pub trait RequestObserver: Send + Sync {
    /// `result` is `ok` or the class of the error ([`crate::fdi::Class::as_str`]). `latency` is the
    /// time from sending to the end of the response, `waited` the time before that until it got its
    /// slot.
    fn request(&self, operation: Operation, result: &'static str, latency: Duration, waited: Duration);

    /// Notified of every response, whatever it says, and of when it had arrived.
    fn response(&self, _headers: &HeaderMap, _received: Timestamp) {}
}
