//! The objects of both kinds as last seen, by the instance that they belong to, and which instances
//! have changed.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

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
}

#[derive(Debug, Default)]
struct Objects {
    instances: HashMap<InstanceKey, Arc<FdiInstance>>,
    groups: HashMap<InstanceKey, HashMap<String, StoredGroup>>,
    /// To which instance a group (namespace, name) belongs: a recreated group may belong to another
    /// one.
    instance_of_group: HashMap<(String, String), InstanceKey>,
}

/// A group and how it came to be known.
#[derive(Debug, Clone)]
pub struct StoredGroup {
    pub object: Arc<FdiTaskGroup>,
    /// It was first seen in a list, not by a watch: it may have existed for long.
    pub listed: bool,
}

impl Store {
    /// The instance and its groups.
    pub fn get(&self, key: &InstanceKey) -> (Option<Arc<FdiInstance>>, Vec<StoredGroup>) {
        let objects = self.objects.read();
        let groups = objects.groups.get(key).map(|groups| groups.values().cloned().collect());
        (objects.instances.get(key).map(Arc::clone), groups.unwrap_or_default())
    }

    /// Whether the instance exists, or a group refers to it.
    pub fn is_referenced(&self, key: &InstanceKey) -> bool {
        let objects = self.objects.read();
        objects.instances.contains_key(key) || objects.groups.contains_key(key)
    }

    /// Whether any group refers to this instance.
    pub fn has_groups(&self, key: &InstanceKey) -> bool {
        self.objects.read().groups.contains_key(key)
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

/// What a change of an object means to others.
#[derive(Debug, Default)]
pub struct Change {
    /// Instances whose worker it concerns.
    pub instances: Vec<InstanceKey>,
    /// The uid of an object that is gone.
    pub gone: Option<String>,
}

/// A kind that the store holds.
pub trait Stored:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// For metrics.
    const KIND: WatchKind;

    /// Stores the object, which came from a list or a watch.
    fn apply(self, store: &Store, listed: bool) -> Change;
    /// Deletes the object of that namespace and name.
    fn delete(store: &Store, namespace: &str, name: &str) -> Change;
    /// Namespace and name of every stored object.
    fn keys(store: &Store) -> Vec<(String, String)>;
}

impl Stored for FdiInstance {
    const KIND: WatchKind = WatchKind::FdiInstance;

    fn apply(self, store: &Store, _listed: bool) -> Change {
        let key = InstanceKey { namespace: self.namespace().unwrap_or_default(), name: self.name_any() };
        let new = Arc::new(self);
        let old = store.objects.write().instances.insert(key.clone(), Arc::clone(&new));
        let relevant = old.as_ref().is_none_or(|old| is_relevant_change(&old.metadata, &new.metadata));
        let gone = old.and_then(|old| replaced(&old.metadata, &new.metadata));
        Change { instances: relevant.then_some(key).into_iter().collect(), gone }
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Change {
        let key = InstanceKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let Some(old) = store.objects.write().instances.remove(&key) else { return Change::default() };
        Change { instances: vec![key], gone: old.metadata.uid.clone() }
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        let objects = store.objects.read();
        objects.instances.keys().map(|key| (key.namespace.clone(), key.name.clone())).collect()
    }
}

impl Stored for FdiTaskGroup {
    const KIND: WatchKind = WatchKind::FdiTaskGroup;

    fn apply(mut self, store: &Store, listed: bool) -> Change {
        let namespace = self.namespace().unwrap_or_default();
        let id = (namespace.clone(), self.name_any());
        let instance = InstanceKey { namespace, name: self.spec.instance_ref.name.clone() };
        let mut objects = store.objects.write();
        let former = objects.instance_of_group.insert(id.clone(), instance.clone());
        let old = former.as_ref().and_then(|former| objects.remove_group(former, &id.1));
        let moved = former.filter(|former| *former != instance);
        let relevant =
            moved.is_some() || old.as_ref().is_none_or(|old| is_relevant_change(&old.object.metadata, &self.metadata));
        let gone = old.as_ref().and_then(|old| replaced(&old.object.metadata, &self.metadata));
        let listed = old.as_ref().filter(|_| gone.is_none()).map_or(listed, |old| old.listed);
        if let Some(old) = old.filter(|old| old.object.spec.task_ids == self.spec.task_ids) {
            // Reuse the old IDs: the ledger shares their strings.
            self.spec.task_ids.clone_from(&old.object.spec.task_ids);
        }
        let stored = StoredGroup { object: Arc::new(self), listed };
        objects.groups.entry(instance.clone()).or_default().insert(id.1, stored);
        Change { instances: moved.into_iter().chain(relevant.then_some(instance)).collect(), gone }
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Change {
        let mut objects = store.objects.write();
        let Some(instance) = objects.instance_of_group.remove(&(namespace.to_owned(), name.to_owned())) else {
            return Change::default();
        };
        let old = objects.remove_group(&instance, name);
        Change { instances: vec![instance], gone: old.and_then(|old| old.object.metadata.uid.clone()) }
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        store.objects.read().instance_of_group.keys().cloned().collect()
    }
}

impl Objects {
    fn remove_group(&mut self, instance: &InstanceKey, name: &str) -> Option<StoredGroup> {
        let groups = self.groups.get_mut(instance)?;
        let removed = groups.remove(name);
        if groups.is_empty() {
            self.groups.remove(instance);
        }
        removed
    }
}

/// The uid of an object in whose place there is another one of the same name now.
fn replaced(old: &ObjectMeta, new: &ObjectMeta) -> Option<String> {
    old.uid.clone().filter(|_| old.uid != new.uid)
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
