//! Why an instance cannot be listed, or cannot be sent calls, and when that is tried again. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::crd::{InstanceKey, reasons};
use crate::fdi::{CallError, Cause, Class};
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// Why an instance cannot be listed, or cannot be sent calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceError {
    /// The groups refer to an `FdiInstance` that does not exist.
    InstanceNotFound,
    SpecInvalid(String),
    SecretNotFound(String),
    SecretInvalid(String),
    /// The API server did not return the Secret (forbidden, or unavailable).
    SecretUnreadable(String),
    /// Another `FdiInstance` serves the same ROMA instance.
    Duplicate(String),
    /// Signing in and listing took too long together.
    TimedOut,
    Call(CallError),
}

/// How severe an error is, which decides what the conditions report and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something that is referred to does not exist; reported at once.
    MissingReference,
    /// The instance cannot serve; reported when it lasts.
    Rejected,
    /// No response for now.
    Transient,
}

impl InstanceError {
    /// The stored spec has the form of another version.
    pub fn undecodable(error: &str) -> Self {
        let message =
            format!("the stored spec cannot be decoded ({error}): apply it again in the form of this version");
        Self::SpecInvalid(message)
    }

    pub fn secret_not_found(name: &str) -> Self {
        Self::SecretNotFound(format!("this namespace has no Secret \"{name}\": create it"))
    }

    /// `other` serves the same ROMA instance as `own`.
    pub fn duplicate(own: &InstanceKey, other: &InstanceKey) -> Self {
        if other.namespace == own.namespace {
            return Self::Duplicate(format!(
                "the FdiInstance \"{}\" serves the same ROMA Connect instance: refer to that one in the groups, \
                 or delete one of the two",
                other.name
            ));
        }
        // Names of another namespace are not for everybody.
        Self::Duplicate(
            "an FdiInstance in another namespace serves the same ROMA Connect instance: delete this one, or have \
             that one deleted (kubectl get fdi --all-namespaces shows projectId and instanceId to those who may)"
                .to_owned(),
        )
    }

    /// The reason as conditions show it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InstanceNotFound => reasons::INSTANCE_NOT_FOUND,
            Self::SpecInvalid(_) => reasons::SPEC_INVALID,
            Self::SecretNotFound(_) => reasons::SECRET_NOT_FOUND,
            Self::SecretInvalid(_) => reasons::SECRET_INVALID,
            Self::SecretUnreadable(_) => reasons::SECRET_UNREADABLE,
            Self::Duplicate(_) => reasons::DUPLICATE_INSTANCE,
            Self::TimedOut => reasons::UNAVAILABLE,
            Self::Call(error) => match error.cause {
                Cause::BatchRefused => reasons::BATCH_REFUSED,
                Cause::SignInRefused => reasons::SIGN_IN_REFUSED,
                Cause::Forbidden => reasons::FORBIDDEN,
                Cause::RequestRejected => reasons::REQUEST_REJECTED,
                Cause::ListTooLarge => reasons::LIST_TOO_LARGE,
                Cause::EndpointNotAllowed => reasons::ENDPOINT_NOT_ALLOWED,
                Cause::TlsFailed => reasons::TLS_FAILED,
                Cause::Throttled => reasons::THROTTLED,
                Cause::Unavailable => reasons::UNAVAILABLE,
            },
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::TimedOut => {
                "signing in and listing the tasks took too long: the operator tries again; if this lasts, check the \
                 state of the service"
            }
            Self::InstanceNotFound => {
                "this namespace has no FdiInstance of this name: create it, or replace the groups by ones with the \
                 right instanceRef"
            }
            Self::SpecInvalid(message)
            | Self::SecretNotFound(message)
            | Self::SecretInvalid(message)
            | Self::SecretUnreadable(message)
            | Self::Duplicate(message) => message,
            Self::Call(error) => &error.message,
        }
    }

    pub fn severity(&self) -> Severity {
        match self {
            Self::InstanceNotFound | Self::SecretNotFound(_) | Self::SecretInvalid(_) => Severity::MissingReference,
            Self::SpecInvalid(_) | Self::Duplicate(_) => Severity::Rejected,
            Self::SecretUnreadable(_) | Self::TimedOut => Severity::Transient,
            Self::Call(error) => match error.class {
                Class::SignIn | Class::Config | Class::Split | Class::SplitOnce => Severity::Rejected,
                Class::Throttled | Class::Unavailable => Severity::Transient,
            },
        }
    }

    /// True when only a change of the Secret, the instance or the operator's configuration can
    /// help.
    pub fn needs_change(&self) -> bool {
        self.severity() != Severity::Transient
    }
}

/// Failures in a row, and when the next attempt is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureStreak {
    /// The latest error.
    pub error: InstanceError,
    /// Since when the reason has been the same.
    pub reason_since: Timestamp,
    /// When the first failure of this streak happened, whatever its reason.
    pub started: Timestamp,
    /// How many failures in a row.
    pub count: u32,
    /// No further attempt before this.
    pub retry_at: Timestamp,
}

impl FailureStreak {
    /// The streak after one more failure.
    pub fn after(previous: Option<&Self>, error: InstanceError, now: Timestamp, timings: &Timings) -> Self {
        let same_reason = previous.filter(|streak| streak.error.reason() == error.reason());
        let count = previous.map_or(0, |streak| streak.count) + 1;
        let started = previous.map_or(now, |streak| streak.started);
        let wait = match &error {
            InstanceError::Call(error) => {
                let failures = same_reason.map_or(1, |streak| streak.count + 1);
                call_wait(error, failures, timings.backoff.proportional(started, now), timings)
            }
            InstanceError::SecretUnreadable(_) | InstanceError::TimedOut => timings.backoff.proportional(started, now),
            // Nothing is asked of the service: only the cluster is read again, a little more often
            // than promised.
            _ => timings.secret_refresh.mul_f64(0.8),
        };
        // Where the service itself named the wait, not a moment sooner.
        let named = matches!(&error, InstanceError::Call(error) if error.retry_after.is_some());
        let jittered = timings.jittered(wait);
        let retry_at = add(now, if named { jittered.max(wait) } else { jittered });
        let reason_since = same_reason.map_or(now, |streak| streak.reason_since);
        Self { error, reason_since, started, count, retry_at }
    }
}

fn call_wait(error: &CallError, failures: u32, proportional: Duration, timings: &Timings) -> Duration {
    let backoff = timings.backoff;
    match (error.class, error.cause) {
        // The circuit breaker keeps its own back-off and counts refusals; while it is open, asking
        // it costs nothing.
        (Class::SignIn, _) => error.retry_after.unwrap_or(backoff.base).max(backoff.base),
        (Class::Throttled, _) => error.retry_after.unwrap_or_else(|| backoff.exponential(failures)).min(backoff.max),
        (Class::Unavailable, _) => proportional,
        (_, Cause::EndpointNotAllowed) => timings.secret_refresh,
        (Class::Config | Class::Split | Class::SplitOnce, _) => backoff.exponential(failures),
    }
}
