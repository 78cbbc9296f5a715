//! How much of the objects of one namespace is kept, so that its users cannot fill the operator's
//! memory. Pure.

use std::collections::HashMap;

use crate::crd::{CachedGroup, FdiInstance};
use crate::metrics::WatchKind;

/// For each namespace: 10,000 groups of 40 tasks, or 600 of 1,000 tasks, or 4,000 instances. A
/// namespace that uses all of it still leaves three quarters of the 256 MiB that the manifests set.
pub const NAMESPACE_BYTES: usize = 64 << 20;

/// What an object takes beside its texts: itself, its status, and what a reconcile remembers.
const GROUP_BYTES: usize = 2 << 10;
const INSTANCE_BYTES: usize = 16 << 10;
/// What a listed task takes beside its ID.
const TASK_BYTES: usize = 64;

/// Roughly what the group takes in memory.
pub fn group_bytes(group: &CachedGroup) -> usize {
    let chosen: usize = group.spec.texts().map(|text| text.len() + TASK_BYTES).sum();
    let failures = group.status.iter().flat_map(|status| &status.failures);
    let failures: usize = failures.map(|failure| failure.message.len() + failure.task_name.len() + TASK_BYTES).sum();
    let finalizers: usize = group.metadata.finalizers.iter().flatten().map(String::len).sum();
    GROUP_BYTES + chosen + failures + finalizers
}

/// Roughly what the instance takes in memory.
pub fn instance_bytes(instance: &FdiInstance) -> usize {
    let finalizers: usize = instance.metadata.finalizers.iter().flatten().map(String::len).sum();
    INSTANCE_BYTES + instance.spec.ca_bundle.as_ref().map_or(0, String::len) + finalizers
}

/// What each namespace uses, and what did not fit.
#[derive(Debug, Default)]
pub struct Quotas {
    used: HashMap<String, usize>,
    /// Bytes by kind and namespace, and by name.
    rejected: HashMap<(WatchKind, String), HashMap<String, usize>>,
}

impl Quotas {
    /// Whether `bytes` of an object fit: then they are used.
    #[must_use]
    pub fn acquire(&mut self, kind: WatchKind, namespace: &str, name: &str, bytes: usize) -> bool {
        self.forget_rejected(kind, namespace, name);
        let used = self.used.entry(namespace.to_owned()).or_default();
        let fits = *used + bytes <= NAMESPACE_BYTES;
        if fits {
            *used += bytes;
        } else {
            let rejected = self.rejected.entry((kind, namespace.to_owned())).or_default();
            rejected.insert(name.to_owned(), bytes);
        }
        fits
    }

    /// Returns the bytes of an object that is no longer stored.
    pub fn release(&mut self, namespace: &str, bytes: usize) {
        if let Some(used) = self.used.get_mut(namespace) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                self.used.remove(namespace);
            }
        }
    }

    /// An object that did not fit was deleted.
    pub fn forget_rejected(&mut self, kind: WatchKind, namespace: &str, name: &str) {
        if let Some(rejected) = self.rejected.get_mut(&(kind, namespace.to_owned())) {
            rejected.remove(name);
        }
    }

    /// Forgets all that did not fit: a list begins, of one namespace or of all.
    pub fn begin_list(&mut self, kind: WatchKind, scope: Option<&str>) {
        self.rejected.retain(|(of, namespace), _| *of != kind || scope.is_some_and(|scope| scope != namespace));
    }

    /// How many objects of the kind did not fit.
    pub fn rejected(&self, kind: WatchKind) -> usize {
        self.rejected.iter().filter(|((of, _), _)| *of == kind).map(|(_, rejected)| rejected.len()).sum()
    }

    /// Whether an object of the kind would fit now that did not before.
    pub fn has_room(&self, kind: WatchKind) -> bool {
        let used = |namespace| self.used.get(namespace).copied().unwrap_or_default();
        let mut rejected = self.rejected.iter().filter(|((of, _), _)| *of == kind);
        rejected.any(|((_, namespace), rejected)| {
            rejected.values().min().is_some_and(|smallest| used(namespace) + smallest <= NAMESPACE_BYTES)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::FdiTaskGroup;

    const KIND: WatchKind = WatchKind::FdiTaskGroup;
    const HALF: usize = NAMESPACE_BYTES / 2;

    /// The namespace `a` with two objects that use up its quota.
    fn used_up() -> Quotas {
        let mut quotas = Quotas::default();
        assert!(quotas.acquire(KIND, "a", "one", HALF) && quotas.acquire(KIND, "a", "two", HALF));
        quotas
    }

    #[test]
    fn a_group_counts_with_all_texts_that_choose_its_tasks() {
        let spec = serde_json::json!({"instanceRef": {"name": "roma"}, "desiredState": "Running", "taskIds": ["abcd"]});
        let bytes = |more: serde_json::Value| {
            let mut spec = spec.clone();
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            group_bytes(&FdiTaskGroup::new("a", serde_json::from_value(spec).unwrap()).into())
        };
        let alone = bytes(serde_json::json!({}));
        let one_more = alone + "abcd".len() + TASK_BYTES;
        assert_eq!(bytes(serde_json::json!({"taskNames": ["efgh"]})), one_more);
        assert_eq!(bytes(serde_json::json!({"selector": {"tags": ["efgh"]}})), one_more);
        let excluding = serde_json::json!({"selector": {"names": ["e"], "exclude": {"taskIds": ["fgh"]}}});
        assert_eq!(bytes(excluding), one_more + TASK_BYTES);
    }

    #[test]
    fn a_namespace_gets_its_quota_and_no_more_and_another_one_its_own() {
        let mut quotas = used_up();
        assert!(!quotas.acquire(KIND, "a", "three", 1) && !quotas.acquire(KIND, "a", "three", 2));
        assert!(quotas.acquire(KIND, "b", "three", HALF));
        assert_eq!(quotas.rejected(KIND), 1, "however often it is tried");
        assert_eq!(quotas.rejected(WatchKind::FdiInstance), 0);
    }

    #[test]
    fn there_is_room_again_once_the_smallest_rejected_object_fits() {
        let mut quotas = used_up();
        assert!(!quotas.acquire(KIND, "a", "large", HALF) && !quotas.acquire(KIND, "a", "small", 6));
        quotas.release("a", 5);
        assert!(!quotas.has_room(KIND));
        quotas.release("a", 1);
        assert!(quotas.has_room(KIND) && !quotas.has_room(WatchKind::FdiInstance));
        quotas.forget_rejected(KIND, "a", "small");
        assert!(!quotas.has_room(KIND));
    }

    #[test]
    fn a_list_begins_without_rejected_objects_of_its_scope() {
        let mut quotas = used_up();
        assert!(!quotas.acquire(KIND, "a", "three", 1));
        quotas.begin_list(KIND, Some("b"));
        quotas.begin_list(WatchKind::FdiInstance, None);
        assert_eq!(quotas.rejected(KIND), 1);
        quotas.begin_list(KIND, None);
        assert_eq!(quotas.rejected(KIND), 0);
    }
}
