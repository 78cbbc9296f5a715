//! Condition types, reasons, event reasons and failure codes: the whole vocabulary. Each has a row
//! in `docs/`.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::fdi::text::truncate;

/// Condition types.
pub mod condition_types {
    /// Whether all tasks were observed in the desired state.
    pub const READY: &str = "Ready";
    /// Whether the last exchange with FDI that this object needed succeeded.
    pub const SYNCED: &str = "Synced";
    /// Present (True) only while the operator works towards the desired state.
    pub const RECONCILING: &str = "Reconciling";
    /// Present (True) only while a user has to act.
    pub const STALLED: &str = "Stalled";
    /// Whether the runs of the tasks that are on succeed. It never decides `Ready`.
    pub const RUNS_HEALTHY: &str = "RunsHealthy";
}

/// Reasons of conditions.
pub mod reasons {
    pub const TASKS_IN_DESIRED_STATE: &str = "TasksInDesiredState";
    pub const PROGRESSING: &str = "Progressing";
    pub const TASKS_FAILED: &str = "TasksFailed";
    pub const TASKS_CONFLICT: &str = "TasksConflict";
    pub const TASKS_CONTESTED: &str = "TasksContested";
    pub const SUSPENDED: &str = "Suspended";
    pub const DELETING: &str = "Deleting";
    pub const SPEC_INVALID: &str = "SpecInvalid";
    pub const TOO_MANY_TASKS: &str = "TooManyTasks";
    pub const SELECTION_TOO_LARGE: &str = "SelectionTooLarge";
    pub const NO_TASKS_SELECTED: &str = "NoTasksSelected";
    pub const INSTANCE_NOT_FOUND: &str = "InstanceNotFound";
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    pub const SECRET_INVALID: &str = "SecretInvalid";
    pub const SECRET_UNREADABLE: &str = "SecretUnreadable";
    pub const DUPLICATE_INSTANCE: &str = "DuplicateInstance";
    pub const ENDPOINT_NOT_ALLOWED: &str = "EndpointNotAllowed";
    pub const SIGN_IN_REFUSED: &str = "SignInRefused";
    pub const FORBIDDEN: &str = "Forbidden";
    pub const REQUEST_REJECTED: &str = "RequestRejected";
    pub const LIST_TOO_LARGE: &str = "ListTooLarge";
    pub const TLS_FAILED: &str = "TlsFailed";
    pub const THROTTLED: &str = "Throttled";
    pub const UNAVAILABLE: &str = "Unavailable";
    pub const BATCH_REFUSED: &str = "BatchRefused";
    pub const OBSERVATION_STALE: &str = "ObservationStale";
    pub const NOT_OBSERVED: &str = "NotObserved";
    pub const SIGNED_IN: &str = "SignedIn";
    pub const SYNCED: &str = "Synced";
    pub const RUNS_SUCCEEDING: &str = "RunsSucceeding";
    pub const RUNS_FAILED: &str = "RunsFailed";
    pub const NO_RUNS_YET: &str = "NoRunsYet";
}

/// Reasons of events. Events are published on transitions only.
pub mod event_reasons {
    pub const READY: &str = "TasksReady";
    pub const FAILED: &str = "TasksFailed";
    pub const CONFLICT: &str = "TasksConflict";
    pub const CONTESTED: &str = "TasksContested";
    pub const RUNS_FAILED: &str = "RunsFailed";
    pub const RUNS_RECOVERED: &str = "RunsRecovered";
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    pub const SELECTION_CHANGED: &str = "SelectionChanged";
    pub const SELECTION_TOO_LARGE: &str = "SelectionTooLarge";
    pub const INSTANCE_READY: &str = "InstanceReady";
    pub const INSTANCE_NOT_READY: &str = "InstanceNotReady";
    pub const DELETION_GIVEN_UP: &str = "DeletionGivenUp";
    pub const NAMESPACE_QUOTA_EXCEEDED: &str = "NamespaceQuotaExceeded";
}

/// Actions of events: what the operator was doing.
pub mod event_actions {
    pub const OBSERVE: &str = "Observe";
    pub const START: &str = "Start";
    pub const STOP: &str = "Stop";
    pub const DELETE: &str = "Delete";
}

/// What a pending task needs next, in `status.pending`.
pub mod pending_reasons {
    /// A list that is newer than its last call.
    pub const LIST_DUE: &str = "ListDue";
    /// Its call, also where one was sent and its response was lost.
    pub const CALL_DUE: &str = "CallDue";
    /// The effect of a call that the service accepted.
    pub const SETTLING: &str = "Settling";
    /// The end of the time in which an earlier call in the opposite direction may still act.
    pub const OPPOSING_CALL: &str = "OpposingCall";
    /// The next attempt, after one that failed.
    pub const RETRY_DUE: &str = "RetryDue";
    /// Its appearance in the list of the instance.
    pub const NOT_LISTED: &str = "NotListed";
    /// A status that the operator knows.
    pub const STATE_UNKNOWN: &str = "StateUnknown";
}

/// Codes of task failures that the operator itself detects; the others are the service's.
pub mod failure_codes {
    /// The service accepted the call, but no list showed its effect within the settle window.
    pub const NOT_SETTLED: &str = "NotSettled";
    /// The service's response did not say what became of the task.
    pub const OUTCOME_UNKNOWN: &str = "OutcomeUnknown";
    /// The service does not list the task, or none of the name.
    pub const TASK_NOT_FOUND: &str = "TaskNotFound";
    /// Several tasks have the name.
    pub const TASK_NAME_AMBIGUOUS: &str = "TaskNameAmbiguous";
    /// Something else keeps switching the task back.
    pub const CONTESTED: &str = "Contested";
    /// The group lists a text that is not a task ID.
    pub const INVALID_TASK_ID: &str = "InvalidTaskId";
}

/// Messages of conditions that nearly every object has.
pub mod messages {
    pub const SYNCED: &str = "the last exchange with FDI succeeded";
    pub const RUNS_SUCCEEDING: &str = "no task that is on failed its latest run";
    pub const NO_RUNS_YET: &str =
        "no run of the tasks that are on has been observed yet: a scheduled task runs at its planned times";
}

/// Texts that nearly every object has in its conditions. There may be tens of thousands of objects,
/// so these take no memory of their own.
const COMMON: [&str; 12] = [
    condition_types::READY,
    condition_types::SYNCED,
    condition_types::RUNS_HEALTHY,
    reasons::TASKS_IN_DESIRED_STATE,
    reasons::RUNS_SUCCEEDING,
    reasons::NO_RUNS_YET,
    reasons::SIGNED_IN,
    reasons::PROGRESSING,
    reasons::NOT_OBSERVED,
    messages::SYNCED,
    messages::RUNS_SUCCEEDING,
    messages::NO_RUNS_YET,
];

fn common(text: &str) -> Option<Cow<'static, str>> {
    COMMON.iter().find(|common| **common == text).map(|common| Cow::Borrowed(*common))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(common(&text).unwrap_or(Cow::Owned(text)))
}

/// Longest message of a condition, in bytes.
const MESSAGE_MAX: usize = 1024;

/// True, False or Unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One condition, as in the Kubernetes API conventions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Synced`, `RunsHealthy`, `Reconciling` or `Stalled`.
    #[serde(rename = "type", deserialize_with = "text")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: Cow<'static, str>,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The generation of the spec that this condition was computed from.
    #[serde(default)]
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// Why, as one `CamelCase` word.
    #[serde(deserialize_with = "text")]
    #[schemars(length(min = 1, max = 128))]
    pub reason: Cow<'static, str>,
    /// What happened, to what, and what to do.
    #[serde(deserialize_with = "text")]
    #[schemars(length(max = 1024))]
    pub message: Cow<'static, str>,
}

impl Condition {
    /// A condition as of `now`. It keeps the transition time of its predecessor in `previous` while
    /// the status stays the same.
    #[must_use]
    pub fn following(mut self, previous: &[Self], now: Timestamp) -> Self {
        let kept = find_condition(previous, &self.type_).filter(|before| before.status == self.status);
        self.last_transition_time =
            kept.map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone());
        self
    }

    /// A condition without its time, which [`Condition::following`] sets.
    pub fn new(type_: &'static str, status: ConditionStatus, reason: &'static str, message: &str) -> Self {
        Self {
            type_: Cow::Borrowed(type_),
            status,
            observed_generation: 0,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            reason: Cow::Borrowed(reason),
            message: common(message).unwrap_or_else(|| Cow::Owned(truncate(message, MESSAGE_MAX))),
        }
    }

    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// The condition of this type, if there is one.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Kubernetes stores whole seconds; with fractions no comparison with a stored time would be equal.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nearly_every_condition_says_is_kept_once_and_anything_else_as_it_is() {
        let decode = |message: &str| -> Condition {
            let json = serde_json::json!({
                "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": "TasksInDesiredState", "message": message
            });
            serde_json::from_str(&json.to_string()).unwrap()
        };
        let kept_once = |text: &Cow<'static, str>| matches!(text, Cow::Borrowed(_));
        let common = decode(messages::SYNCED);
        assert!([&common.type_, &common.reason, &common.message].into_iter().all(kept_once));
        let other = decode("3 of 10 tasks failed");
        assert!(!kept_once(&other.message) && other.message == "3 of 10 tasks failed");
        let made = Condition::new(condition_types::READY, ConditionStatus::True, reasons::SYNCED, messages::SYNCED);
        assert!(kept_once(&made.message));
    }
}
