//! What step 5 hands to step 7.

use std::sync::Arc;

use crate::crd::{FdiInstanceStatus, FdiTaskGroupStatus};
use crate::k8s::status_writer::update::StatusEvent;
use crate::reconcile::desired::DesiredGroup;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::status::facts::Tally;

/// What is to be reported about one group.
#[derive(Debug, Clone)]
pub struct GroupReport<'a> {
    pub group: &'a DesiredGroup,
    pub status: Arc<FdiTaskGroupStatus>,
    /// What becomes true with this status.
    pub events: Vec<StatusEvent>,
    /// What the operator has done, whatever is written.
    pub actions: Vec<StatusEvent>,
    /// Reports progress only: a verdict may follow soon.
    pub progress_only: bool,
    /// Somebody has just edited the group.
    pub urgent: bool,
    /// The finalizer is to be removed, and why.
    pub release: Option<FinalizerRelease>,
    pub tally: Tally,
}

/// What is to be reported about one instance.
#[derive(Debug, Clone)]
pub struct InstanceReport {
    pub status: FdiInstanceStatus,
    pub events: Vec<StatusEvent>,
    /// Not listed yet: a verdict may follow soon.
    pub progress_only: bool,
}
