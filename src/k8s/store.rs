//! The objects of both kinds as last seen, by the instance that they belong to, and which instances
//! have changed.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::{Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::crd::{FdiInstance, FdiTaskGroup, InstanceKey, REQUESTED_AT};
use crate::metrics::WatchKind;

#[derive(Debug, Default)]
pub struct Store {
    objects: RwLock<Objects>,
    queue: Mutex<BTreeSet<InstanceKey>>,
    changed: Notify,
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Objects {
    instances: HashMap<InstanceKey, Arc<FdiInstance>>,
    groups: HashMap<InstanceKey, HashMap<String, Arc<FdiTaskGroup>>>,
    /// To which instance a group (namespace, name) belongs: a recreated group may belong to another
    /// one.
    instance_of_group: HashMap<(String, String), InstanceKey>,
}

impl Store {
    /// The instance and its groups.
    pub fn get(&self, key: &InstanceKey) -> (Option<Arc<FdiInstance>>, Vec<Arc<FdiTaskGroup>>) {
        let objects = self.objects.read();
        let groups = objects.groups.get(key).map(|groups| groups.values().map(Arc::clone).collect());
        (objects.instances.get(key).map(Arc::clone), groups.unwrap_or_default())
    }

    /// Whether the instance exists, or a group refers to it.
    pub fn is_referenced(&self, key: &InstanceKey) -> bool {
        let objects = self.objects.read();
        objects.instances.contains_key(key) || objects.groups.contains_key(key)
    }

    /// How often the API server's data went back to an earlier state. Versions of different epochs do
    /// not compare: what was written in an earlier one may be gone.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Begins the next epoch.
    pub fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// All instances.
    pub fn instances(&self) -> Vec<(InstanceKey, Arc<FdiInstance>)> {
        let objects = self.objects.read();
        objects.instances.iter().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    /// Queues an instance that has changed. An instance is queued once, however many changes it
    /// has.
    pub fn enqueue(&self, key: &InstanceKey) {
        self.queue.lock().insert(key.clone());
        self.changed.notify_one();
    }

    /// Queues every instance that is referenced.
    pub fn enqueue_all(&self) {
        let objects = self.objects.read();
        self.queue.lock().extend(objects.instances.keys().chain(objects.groups.keys()).cloned());
        self.changed.notify_one();
    }

    /// Waits for changed instances and takes them.
    pub async fn next_changed(&self) -> BTreeSet<InstanceKey> {
        loop {
            let changed = std::mem::take(&mut *self.queue.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.changed.notified().await;
        }
    }
}

/// A kind that the store holds.
pub trait Stored:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// For metrics.
    const KIND: WatchKind;

    /// Stores the object; the instances that the change is relevant to.
    fn apply(self, store: &Store) -> Vec<InstanceKey>;
    /// Deletes the object of that namespace and name; the instance that it belonged to.
    fn delete(store: &Store, namespace: &str, name: &str) -> Option<InstanceKey>;
    /// Namespace and name of every stored object.
    fn keys(store: &Store) -> Vec<(String, String)>;
}

impl Stored for FdiInstance {
    const KIND: WatchKind = WatchKind::FdiInstance;

    fn apply(self, store: &Store) -> Vec<InstanceKey> {
        let key = InstanceKey { namespace: self.namespace().unwrap_or_default(), name: self.name_any() };
        let new = Arc::new(self);
        let old = store.objects.write().instances.insert(key.clone(), Arc::clone(&new));
        if old.is_none_or(|old| is_relevant_change(&old.metadata, &new.metadata)) { vec![key] } else { Vec::new() }
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Option<InstanceKey> {
        let key = InstanceKey { namespace: namespace.to_owned(), name: name.to_owned() };
        store.objects.write().instances.remove(&key).map(|_| key)
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        let objects = store.objects.read();
        objects.instances.keys().map(|key| (key.namespace.clone(), key.name.clone())).collect()
    }
}

impl Stored for FdiTaskGroup {
    const KIND: WatchKind = WatchKind::FdiTaskGroup;

    fn apply(mut self, store: &Store) -> Vec<InstanceKey> {
        let namespace = self.namespace().unwrap_or_default();
        let id = (namespace.clone(), self.name_any());
        let instance = InstanceKey { namespace, name: self.spec.instance_ref.name.clone() };
        let mut objects = store.objects.write();
        let former =
            objects.instance_of_group.insert(id.clone(), instance.clone()).filter(|former| *former != instance);
        if let Some(former) = &former {
            objects.remove_group(former, &id.1);
        }
        let groups = objects.groups.entry(instance.clone()).or_default();
        let old = groups.get(&id.1);
        let relevant = old.is_none_or(|old| is_relevant_change(&old.metadata, &self.metadata));
        if let Some(old) = old.filter(|old| old.spec.task_ids == self.spec.task_ids) {
            // Reuse the old IDs: the ledger shares their strings.
            self.spec.task_ids.clone_from(&old.spec.task_ids);
        }
        groups.insert(id.1, Arc::new(self));
        former.into_iter().chain(relevant.then_some(instance)).collect()
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Option<InstanceKey> {
        let mut objects = store.objects.write();
        let instance = objects.instance_of_group.remove(&(namespace.to_owned(), name.to_owned()))?;
        objects.remove_group(&instance, name);
        Some(instance)
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        store.objects.read().instance_of_group.keys().cloned().collect()
    }
}

impl Objects {
    fn remove_group(&mut self, instance: &InstanceKey, name: &str) {
        if let Some(groups) = self.groups.get_mut(instance) {
            groups.remove(name);
            if groups.is_empty() {
                self.groups.remove(instance);
            }
        }
    }
}

/// Whether a change concerns the worker. Our own status writes come back as events, and must
/// trigger nothing.
fn is_relevant_change(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    let request = |metadata: &ObjectMeta| metadata.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT).cloned());
    old.uid != new.uid
        || old.generation != new.generation
        || old.deletion_timestamp != new.deletion_timestamp
        || old.finalizers != new.finalizers
        || request(old) != request(new)
}
