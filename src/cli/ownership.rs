//! Which group owns which task, decided by the operator's own pure steps.

use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::{FdiInstance, FdiTaskGroup};
use crate::fdi::{Attributes, Task, Tasks};
use crate::reconcile::desired::{Desired, Snapshot, StoredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::{Observed, TaskList};
use crate::reconcile::timings::Timings;

/// What the groups of one instance want, and the memory of an operator that has seen this list.
pub fn resolve(
    instance: FdiInstance,
    groups: Vec<FdiTaskGroup>,
    tasks: Vec<Task>,
    now: Timestamp,
) -> (Desired, InstanceState) {
    let status = instance.status.clone().unwrap_or_default();
    let uid = instance.metadata.uid.clone().unwrap_or_default();
    let snapshot =
        Snapshot { instance: Some((Arc::new(instance), status)), groups: groups.into_iter().map(stored).collect() };
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    let desired = state.resolve(snapshot, now);
    let list = TaskList::new(now, Tasks::new(Attributes::Keep, tasks));
    let observed = Observed { instance: Some(uid), list: Some(Ok(list)), credential: None };
    let desired = state.record_list(desired, observed, now);
    (desired, state)
}

fn stored(group: FdiTaskGroup) -> StoredGroup {
    let status = group.status.clone().unwrap_or_default();
    StoredGroup { object: Arc::new(group.into()), status, unreported_since: None, predates: false }
}
