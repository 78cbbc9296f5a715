//! One row of the condition table.

use crate::crd::ConditionStatus;

/// What a group reports: the Ready condition, and which of Reconciling and Stalled goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub ready: ConditionStatus,
    pub reason: &'static str,
    pub message: String,
    pub progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Reconciling,
    Stalled,
    Settled,
}
