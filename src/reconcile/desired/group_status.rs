//! The status of a group at one moment, without a copy of it.

use std::ops::Deref;
use std::sync::Arc;

use crate::crd::{FdiTaskGroup, FdiTaskGroupStatus};

/// The status that the API server has, or will show once it has caught up with our last write.
#[derive(Debug, Clone)]
pub enum GroupStatus {
    /// In the object.
    Stored(Arc<FdiTaskGroup>),
    /// Our last write, which the store does not show yet.
    Written(Arc<FdiTaskGroupStatus>),
}

impl Deref for GroupStatus {
    type Target = FdiTaskGroupStatus;

    fn deref(&self) -> &FdiTaskGroupStatus {
        static NONE: FdiTaskGroupStatus = FdiTaskGroupStatus::NONE;
        match self {
            Self::Stored(object) => object.status.as_ref().unwrap_or(&NONE),
            Self::Written(status) => status,
        }
    }
}

impl PartialEq for GroupStatus {
    fn eq(&self, other: &Self) -> bool {
        let (own, other): (&FdiTaskGroupStatus, &FdiTaskGroupStatus) = (self, other);
        std::ptr::eq(own, other) || own == other
    }
}

impl From<FdiTaskGroupStatus> for GroupStatus {
    fn from(status: FdiTaskGroupStatus) -> Self {
        Self::Written(Arc::new(status))
    }
}
