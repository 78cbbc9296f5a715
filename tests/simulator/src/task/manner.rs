//! Manners: how one task behaves.

use serde::{Deserialize, Serialize};

use super::fields::Action;

/// How a task behaves when it is started or stopped, and how its runs go. A task may have several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Manner {
    /// A start is refused with FDI.3083, as [`crate::Policies::missing_plan`] says.
    NoSchedulePlan,
    /// An item under `failure` with this code and message.
    Refuses {
        /// Only this action; both when absent.
        #[serde(default)]
        action: Option<Action>,
        code: String,
        message: String,
        /// Only so many times; always when absent.
        #[serde(default)]
        times: Option<u32>,
    },
    /// The whole batch that names this task is refused with this status, code and message;
    /// [`crate::Policies::apply_before_error`] says what happens to the others.
    Poison {
        #[serde(default)]
        action: Option<Action>,
        status: u16,
        code: String,
        message: String,
        #[serde(default)]
        times: Option<u32>,
    },
    /// Lists show the new state only so long after the command was accepted.
    SettlesAfter { ms: u64 },
    /// Commands are accepted and have no effect.
    NeverSettles,
    /// Its switch changes back and forth by itself, this long after each change.
    Flaps { every_ms: u64 },
    /// While the task is on, a run ends in ERROR at once, and so does the first one after each
    /// start.
    FailsRuns {
        /// What the monitor log gives as the cause: 103 source, 503 target, 907, 909 and 914
        /// overlap …
        code: u16,
        /// A further run each so many milliseconds; none when absent.
        #[serde(default)]
        every_ms: Option<u64>,
        /// Only so many runs fail, then they succeed; always when absent.
        #[serde(default)]
        times: Option<u32>,
    },
}

/// Why a task does not accept a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Objection {
    NoSchedulePlan,
    Refuses { code: String, message: String },
    Poison { status: u16, code: String, message: String },
}

impl Manner {
    /// This manner's objection to `action`, if it has one; one that is counted is used up by one.
    pub(super) fn objection(&mut self, action: Action) -> Option<Objection> {
        match self {
            Self::NoSchedulePlan => (action == Action::Start).then_some(Objection::NoSchedulePlan),
            Self::Refuses { action: only, code, message, times } => (only.is_none_or(|only| only == action)
                && use_up(times))
            .then(|| Objection::Refuses { code: code.clone(), message: message.clone() }),
            Self::Poison { action: only, status, code, message, times } => (only.is_none_or(|only| only == action)
                && use_up(times))
            .then(|| Objection::Poison { status: *status, code: code.clone(), message: message.clone() }),
            Self::SettlesAfter { .. } | Self::NeverSettles | Self::Flaps { .. } | Self::FailsRuns { .. } => None,
        }
    }

    /// The cause with which this manner makes the next run fail; one that is counted is used up by
    /// one.
    pub(super) fn failure(&mut self) -> Option<u16> {
        match self {
            Self::FailsRuns { code, times, .. } => use_up(times).then_some(*code),
            _ => None,
        }
    }
}

fn use_up(times: &mut Option<u32>) -> bool {
    match times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}
