//! Our own last writes that the watch has not shown yet. Until it does, the next reconcile compares with these.

use std::collections::HashMap;

use kube::core::ObjectMeta;

/// Last writes by uid: the resource version that the API server returned, and the status written.
#[derive(Debug)]
pub struct MutationCache<S>(HashMap<String, (u64, S)>);

impl<S> Default for MutationCache<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<S: Clone + Default> MutationCache<S> {
    /// The status that the stored object has, or will have once the store has caught up with our write.
    pub fn current(&mut self, metadata: &ObjectMeta, stored: Option<&S>) -> S {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let version = version(metadata);
        match self.0.get(uid) {
            Some((ours, status)) if version < *ours => status.clone(),
            Some(_) => {
                self.0.remove(uid);
                stored.cloned().unwrap_or_default()
            }
            None => stored.cloned().unwrap_or_default(),
        }
    }

    /// Remembers a write by the metadata that the API server returned.
    pub fn insert(&mut self, returned: &ObjectMeta, status: S) {
        self.0.insert(returned.uid.clone().unwrap_or_default(), (version(returned), status));
    }

    /// Forgets objects that are gone.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| exists(uid));
    }
}

/// Resource versions are numbers that grow (comparable by contract since Kubernetes 1.35, in fact long before).
fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}
