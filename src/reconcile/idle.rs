//! What a reconcile saw that had nothing to do. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crd::{CachedGroup, FdiInstance};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::time::backoff::add;

/// All steps are gone through this often at least. Nothing depends on it: time changes a status
/// only where a step says when.
const ALL_STEPS: Duration = Duration::from_mins(10);

/// Everything was as desired, reported and stored.
#[derive(Debug, Clone)]
pub struct Idle {
    instance: Arc<FdiInstance>,
    groups: Box<[Arc<CachedGroup>]>,
    /// When time alone may change something.
    pub next_check: Option<Timestamp>,
    at: Timestamp,
}

impl Idle {
    pub fn new(desired: &Desired, next_check: Option<Timestamp>, at: Timestamp) -> Option<Self> {
        let instance = Arc::clone(&desired.instance()?.object);
        let groups = desired.groups().iter().map(|group| Arc::clone(&group.object)).collect();
        Some(Self { instance, groups, next_check, at })
    }

    /// Whether the objects are the same still, and time has changed nothing.
    pub fn holds(&self, desired: &Desired, now: Timestamp) -> bool {
        let same_group = |(known, group): (&Arc<CachedGroup>, &DesiredGroup)| {
            Arc::ptr_eq(known, &group.object) && group.is_reported()
        };
        now < self.next_check.unwrap_or(Timestamp::MAX)
            && now < add(self.at, ALL_STEPS)
            && desired.instance().is_some_and(|instance| Arc::ptr_eq(&self.instance, &instance.object))
            && self.groups.len() == desired.groups().len()
            && self.groups.iter().zip(desired.groups()).all(same_group)
    }
}
