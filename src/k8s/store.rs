//! The objects of both kinds as last received, by the instance that they belong to, and which
//! instances have changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, SetOnce};

use crate::crd::{CachedGroup, CachedMetadata, FdiInstance, FdiTaskGroup, FdiTaskGroupStatus, InstanceKey};
use crate::k8s::quota::{Quotas, group_bytes, instance_bytes};
use crate::metrics::WatchKind;

/// What one watch covers: a namespace, or all of them.
pub type Scope = Option<String>;

#[derive(Debug, Default)]
pub struct Store {
    objects: RwLock<Objects>,
    queue: Mutex<BTreeSet<InstanceKey>>,
    changed: Notify,
    first_sync: SetOnce<()>,
}

#[derive(Debug, Default)]
struct Objects {
    instances: HashMap<InstanceKey, Arc<FdiInstance>>,
    groups: HashMap<Arc<InstanceKey>, HashMap<Box<str>, StoredGroup>>,
    /// To which instance a group (`namespace/name`) belongs: a recreated group may belong to
    /// another one.
    instance_of_group: HashMap<Box<str>, Arc<InstanceKey>>,
    /// What is listed completely.
    listed: HashSet<(WatchKind, Scope)>,
    quotas: Quotas,
}

/// A group and how it came to be known.
#[derive(Debug, Clone)]
pub struct StoredGroup {
    pub object: Arc<CachedGroup>,
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

    /// A list of the scope begins.
    pub fn begin_list<K: Stored>(&self, scope: &Scope) {
        self.objects.write().quotas.begin_list(K::KIND, scope.as_deref());
    }

    /// The scope is listed completely. Queues its instances, for what was deleted meanwhile shows
    /// only in what the list lacks.
    pub fn end_list<K: Stored>(&self, scope: &Scope) {
        let mut objects = self.objects.write();
        objects.listed.insert((K::KIND, scope.clone()));
        let keys = objects.instances.keys().chain(objects.groups.keys().map(|key| &**key));
        let synced: Vec<&InstanceKey> = keys.filter(|key| objects.is_synced(key)).collect();
        self.queue.lock().extend(synced.into_iter().cloned());
        let both = [WatchKind::FdiInstance, WatchKind::FdiTaskGroup];
        if both.into_iter().all(|kind| objects.listed.contains(&(kind, scope.clone()))) {
            // Fails if another scope was first.
            let _ = self.first_sync.set(());
        }
        self.changed.notify_one();
    }

    /// Resolves once both kinds are listed in some scope.
    pub async fn synced(&self) {
        self.first_sync.wait().await;
    }

    /// How many objects of the kind are not stored because their namespace's quota is used up.
    pub fn rejected<K: Stored>(&self) -> usize {
        self.objects.read().quotas.rejected(K::KIND)
    }

    /// Whether objects that were not stored would fit now: a list brings them.
    pub fn has_room<K: Stored>(&self) -> bool {
        self.objects.read().quotas.has_room(K::KIND)
    }

    /// Queues an instance that has changed, if its scope is listed. An instance is queued once,
    /// however many changes it has.
    pub fn enqueue(&self, key: &InstanceKey) {
        if self.objects.read().is_synced(key) {
            self.queue.lock().insert(key.clone());
            self.changed.notify_one();
        }
    }

    /// Resolves when instances have changed, and takes them.
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
    /// The quota of its namespace is used up: the object is not stored, not even its former
    /// version.
    pub rejected: bool,
}

/// A kind that the store holds.
pub trait Stored:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// For metrics.
    const KIND: WatchKind;

    /// The uid and the status of a group.
    fn group_status(&mut self) -> Option<(&str, &mut Arc<FdiTaskGroupStatus>)>;
    /// Stores the object, which came from a list or a watch.
    fn apply(self, store: &Store, listed: bool) -> Change;
    /// Deletes the object of that namespace and name.
    fn delete(store: &Store, namespace: &str, name: &str) -> Change;
    /// The uid of the stored object of that namespace and name.
    fn uid(store: &Store, namespace: &str, name: &str) -> Option<String>;
    /// Namespace and name of every stored object.
    fn keys(store: &Store) -> Vec<(String, String)>;
}

impl Stored for FdiInstance {
    const KIND: WatchKind = WatchKind::FdiInstance;

    fn group_status(&mut self) -> Option<(&str, &mut Arc<FdiTaskGroupStatus>)> {
        None
    }

    fn apply(self, store: &Store, _listed: bool) -> Change {
        let key = InstanceKey::of(&self.metadata);
        let mut objects = store.objects.write();
        let old = objects.remove_instance(&key);
        let metadata = |object: &Self| CachedMetadata::from(object.metadata.clone());
        let (before, now) = (old.as_deref().map(metadata), metadata(&self));
        let gone = before.as_ref().and_then(|before| replaced(before, &now));
        if !objects.quotas.acquire(Self::KIND, &key.namespace, &key.name, instance_bytes(&self)) {
            return Change { instances: old.map(|_| key).into_iter().collect(), gone, rejected: true };
        }
        let relevant = before.is_none_or(|before| is_relevant_change(&before, &now));
        objects.instances.insert(key.clone(), Arc::new(self));
        Change { instances: relevant.then_some(key).into_iter().collect(), gone, rejected: false }
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Change {
        let key = InstanceKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut objects = store.objects.write();
        objects.quotas.forget_rejected(Self::KIND, namespace, name);
        let Some(old) = objects.remove_instance(&key) else { return Change::default() };
        Change { instances: vec![key], gone: old.metadata.uid.clone(), rejected: false }
    }

    fn uid(store: &Store, namespace: &str, name: &str) -> Option<String> {
        let key = InstanceKey { namespace: namespace.to_owned(), name: name.to_owned() };
        store.objects.read().instances.get(&key)?.metadata.uid.clone()
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        let objects = store.objects.read();
        objects.instances.keys().map(|key| (key.namespace.clone(), key.name.clone())).collect()
    }
}

impl Stored for FdiTaskGroup {
    const KIND: WatchKind = WatchKind::FdiTaskGroup;

    fn group_status(&mut self) -> Option<(&str, &mut Arc<FdiTaskGroupStatus>)> {
        Some((self.metadata.uid.as_deref()?, self.status.as_mut()?))
    }

    fn apply(self, store: &Store, listed: bool) -> Change {
        let namespace = self.namespace().unwrap_or_default();
        let name = self.name_any();
        let instance = InstanceKey { namespace: namespace.clone(), name: self.spec.instance_ref.name.clone() };
        let mut group = CachedGroup::from(self);
        let mut objects = store.objects.write();
        let old = objects.remove_group(&namespace, &name);
        let gone = old.as_ref().and_then(|(_, old)| replaced(&old.object.metadata, &group.metadata));
        let former = old.as_ref().map(|(former, _)| InstanceKey::clone(former));
        if !objects.quotas.acquire(Self::KIND, &namespace, &name, group_bytes(&group)) {
            return Change { instances: former.into_iter().collect(), gone, rejected: true };
        }
        let relevant = old.as_ref().is_none_or(|(_, old)| is_relevant_change(&old.object.metadata, &group.metadata));
        let listed = old.as_ref().filter(|_| gone.is_none()).map_or(listed, |(_, old)| old.listed);
        if let Some((_, old)) = old {
            group.share_texts(&old.object);
        }
        let shared = objects.groups.get_key_value(&instance).map(|(shared, _)| Arc::clone(shared));
        let shared = shared.unwrap_or_else(|| Arc::new(instance.clone()));
        objects.instance_of_group.insert(group_key(&namespace, &name), Arc::clone(&shared));
        let stored = StoredGroup { object: Arc::new(group), listed };
        objects.groups.entry(shared).or_default().insert(name.into(), stored);
        let former = former.filter(|former| *former != instance);
        Change { instances: former.into_iter().chain(relevant.then_some(instance)).collect(), gone, rejected: false }
    }

    fn delete(store: &Store, namespace: &str, name: &str) -> Change {
        let mut objects = store.objects.write();
        objects.quotas.forget_rejected(Self::KIND, namespace, name);
        let Some((instance, old)) = objects.remove_group(namespace, name) else { return Change::default() };
        Change {
            instances: vec![InstanceKey::clone(&instance)],
            gone: Some(old.object.metadata.uid.to_string()),
            rejected: false,
        }
    }

    fn uid(store: &Store, namespace: &str, name: &str) -> Option<String> {
        let objects = store.objects.read();
        let instance = objects.instance_of_group.get(&group_key(namespace, name))?;
        Some(objects.groups.get(instance)?.get(name)?.object.metadata.uid.to_string())
    }

    fn keys(store: &Store) -> Vec<(String, String)> {
        let objects = store.objects.read();
        let keys = objects.instance_of_group.keys().filter_map(|key| key.split_once('/'));
        keys.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect()
    }
}

impl Objects {
    /// Whether both kinds are listed where the instance is.
    fn is_synced(&self, key: &InstanceKey) -> bool {
        let listed = |kind, scope| self.listed.contains(&(kind, scope));
        [None, Some(key.namespace.clone())]
            .into_iter()
            .any(|scope: Scope| listed(WatchKind::FdiInstance, scope.clone()) && listed(WatchKind::FdiTaskGroup, scope))
    }

    fn remove_instance(&mut self, key: &InstanceKey) -> Option<Arc<FdiInstance>> {
        let old = self.instances.remove(key)?;
        self.quotas.release(&key.namespace, instance_bytes(&old));
        Some(old)
    }

    fn remove_group(&mut self, namespace: &str, name: &str) -> Option<(Arc<InstanceKey>, StoredGroup)> {
        let instance = self.instance_of_group.remove(&group_key(namespace, name))?;
        let groups = self.groups.get_mut(&instance)?;
        let old = groups.remove(name)?;
        if groups.is_empty() {
            self.groups.remove(&instance);
        }
        self.quotas.release(namespace, group_bytes(&old.object));
        Some((instance, old))
    }
}

/// Neither part has a slash in it.
fn group_key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into_boxed_str()
}

/// The uid of an object in whose place there is another one of the same name now.
fn replaced(old: &CachedMetadata, new: &CachedMetadata) -> Option<String> {
    (old.uid != new.uid).then(|| old.uid.to_string())
}

/// Whether a change concerns the worker. Our own status writes come back as events, and must
/// trigger nothing.
fn is_relevant_change(old: &CachedMetadata, new: &CachedMetadata) -> bool {
    old.uid != new.uid
        || old.generation != new.generation
        || old.deletion_timestamp != new.deletion_timestamp
        || old.finalizers != new.finalizers
        || old.requested_at != new.requested_at
}
