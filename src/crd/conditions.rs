//! Condition types, reasons and event reasons: the whole vocabulary in one place. Each has its row in `docs/`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Condition types.
pub mod types {
    /// Is everything as wanted, by observation?
    pub const READY: &str = "Ready";
    /// Did the last exchange with FDI that this object needed work?
    pub const SYNCED: &str = "Synced";
    /// Present (True) only while the operator works towards the wish.
    pub const RECONCILING: &str = "Reconciling";
    /// Present (True) only while somebody has to act.
    pub const STALLED: &str = "Stalled";
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
    pub const INSTANCE_NOT_FOUND: &str = "InstanceNotFound";
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    pub const SECRET_INVALID: &str = "SecretInvalid";
    pub const SECRET_UNREADABLE: &str = "SecretUnreadable";
    pub const DUPLICATE_INSTANCE: &str = "DuplicateInstance";
    pub const ENDPOINT_NOT_ALLOWED: &str = "EndpointNotAllowed";
    pub const SIGN_IN_REFUSED: &str = "SignInRefused";
    pub const FORBIDDEN: &str = "Forbidden";
    pub const REQUEST_REJECTED: &str = "RequestRejected";
    pub const TLS_FAILED: &str = "TlsFailed";
    pub const THROTTLED: &str = "Throttled";
    pub const UNAVAILABLE: &str = "Unavailable";
    pub const BATCH_REFUSED: &str = "BatchRefused";
    pub const OBSERVATION_STALE: &str = "ObservationStale";
    pub const NOT_OBSERVED: &str = "NotObserved";
    pub const SIGNED_IN: &str = "SignedIn";
    pub const SYNCED: &str = "Synced";
}

/// Reasons of events. Events are published on transitions only.
pub mod event_reasons {
    pub const READY: &str = "TasksReady";
    pub const FAILED: &str = "TasksFailed";
    pub const CONFLICT: &str = "TasksConflict";
    pub const CONTESTED: &str = "TasksContested";
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    pub const INSTANCE_READY: &str = "InstanceReady";
    pub const INSTANCE_TROUBLE: &str = "InstanceTrouble";
    pub const DELETION_GIVEN_UP: &str = "DeletionGivenUp";
}

/// Longest message of a condition, in bytes.
pub const MESSAGE_MAX: usize = 1024;

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
    /// Ready, Synced, Reconciling or Stalled.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The generation of the spec that this condition was computed from.
    #[serde(default)]
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// Why, in one `CamelCase` word.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// What happened, to what, and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

impl Condition {
    /// Builds a condition; `previous` lends its transition time while the status stays the same.
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
        generation: i64,
        previous: &[Condition],
        now: Timestamp,
    ) -> Self {
        let kept = previous.iter().find(|c| c.type_ == type_ && c.status == status);
        Self {
            type_: type_.to_owned(),
            status,
            observed_generation: generation,
            last_transition_time: kept.map_or_else(|| Time(whole_seconds(now)), |c| c.last_transition_time.clone()),
            reason: reason.to_owned(),
            message: cut(message, MESSAGE_MAX),
        }
    }
}

/// Kubernetes stores whole seconds; keeping more would make every comparison with what is stored differ.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `text` without control characters and with at most `max` bytes, cut at a character with an ellipsis.
pub fn cut(text: &str, max: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= max {
        return clean;
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &clean[..end])
}
