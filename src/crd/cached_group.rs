//! An `FdiTaskGroup` as the store caches it.

use std::sync::Arc;

use super::group::{FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus};
use super::metadata::CachedMetadata;

/// The group with only that of its metadata which is read: there may be tens of thousands of them,
/// and `ObjectMeta` takes more memory than everything else in an object.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedGroup {
    pub metadata: CachedMetadata,
    pub spec: FdiTaskGroupSpec,
    pub status: Option<Arc<FdiTaskGroupStatus>>,
}

impl From<FdiTaskGroup> for CachedGroup {
    fn from(mut group: FdiTaskGroup) -> Self {
        // Decoding leaves room for up to twice as many.
        group.spec.task_ids.shrink_to_fit();
        group.spec.task_names.shrink_to_fit();
        Self { metadata: group.metadata.into(), spec: group.spec, status: group.status }
    }
}

impl CachedGroup {
    /// Takes the texts that `old` has as well: what reconciles remember of the group shares them.
    pub fn share_texts(&mut self, old: &Self) {
        if self.metadata.uid == old.metadata.uid {
            self.metadata.uid = Arc::clone(&old.metadata.uid);
        }
        if self.spec.task_ids == old.spec.task_ids {
            self.spec.task_ids.clone_from(&old.spec.task_ids);
        }
    }
}
