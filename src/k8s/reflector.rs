//! What is watched, kept, and whom it wakes: two watches feed the stores; the stores know which groups belong to which
//! instance and mark the instances that have something new.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kube::api::Api;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::crd::{FdiInstance, FdiTaskGroup, REQUESTED_AT};
use crate::k8s::watcher::{News, follow};
use crate::metrics::{Metrics, WatchKind};
use crate::reconcile::InstanceKey;

/// The objects of both kinds as last seen, by the instance that they belong to.
#[derive(Debug, Default)]
pub struct Stores {
    objects: RwLock<Objects>,
    marked: Mutex<BTreeSet<InstanceKey>>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Objects {
    instances: HashMap<InstanceKey, Arc<FdiInstance>>,
    groups: HashMap<InstanceKey, HashMap<String, Arc<FdiTaskGroup>>>,
    /// To which instance a group (namespace, name) belongs: a recreated group may belong to another one.
    homes: HashMap<(String, String), InstanceKey>,
}

impl Stores {
    /// The instance and its groups.
    pub fn get(&self, key: &InstanceKey) -> (Option<Arc<FdiInstance>>, Vec<Arc<FdiTaskGroup>>) {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let groups = objects.groups.get(key).map(|groups| groups.values().map(Arc::clone).collect());
        (objects.instances.get(key).map(Arc::clone), groups.unwrap_or_default())
    }

    /// Whether anything refers to this instance.
    pub fn refers_to(&self, key: &InstanceKey) -> bool {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.instances.contains_key(key) || objects.groups.contains_key(key)
    }

    /// All instances.
    pub fn instances(&self) -> Vec<(InstanceKey, Arc<FdiInstance>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.instances.iter().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    /// Marks an instance as having something new.
    pub fn mark(&self, key: &InstanceKey) {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        self.news.notify_one();
    }

    /// Waits for marked instances and takes them. Many changes to one instance are one mark.
    pub async fn marked(&self) -> BTreeSet<InstanceKey> {
        loop {
            let marked = std::mem::take(&mut *self.marked.lock().unwrap_or_else(PoisonError::into_inner));
            if !marked.is_empty() {
                return marked;
            }
            self.news.notified().await;
        }
    }
}

/// A kind that the stores keep.
pub trait Kept:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// For metrics.
    const KIND: WatchKind;

    /// Keeps the object; the instances that it makes a difference to.
    fn keep(self, stores: &Stores) -> Vec<InstanceKey>;
    /// Drops the object of that namespace and name; the instance that it belonged to.
    fn drop_from(stores: &Stores, namespace: &str, name: &str) -> Option<InstanceKey>;
    /// Namespace and name of every object kept.
    fn names(stores: &Stores) -> Vec<(String, String)>;
}

impl Kept for FdiInstance {
    const KIND: WatchKind = WatchKind::FdiInstance;

    fn keep(self, stores: &Stores) -> Vec<InstanceKey> {
        let key = InstanceKey { namespace: self.namespace().unwrap_or_default(), name: self.name_any() };
        let mut objects = stores.objects.write().unwrap_or_else(PoisonError::into_inner);
        let new = Arc::new(self);
        let old = objects.instances.insert(key.clone(), Arc::clone(&new));
        if old.is_none_or(|old| differs(&old.metadata, &new.metadata)) { vec![key] } else { Vec::new() }
    }

    fn drop_from(stores: &Stores, namespace: &str, name: &str) -> Option<InstanceKey> {
        let key = InstanceKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut objects = stores.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.instances.remove(&key).map(|_| key)
    }

    fn names(stores: &Stores) -> Vec<(String, String)> {
        let objects = stores.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.instances.keys().map(|key| (key.namespace.clone(), key.name.clone())).collect()
    }
}

impl Kept for FdiTaskGroup {
    const KIND: WatchKind = WatchKind::FdiTaskGroup;

    fn keep(mut self, stores: &Stores) -> Vec<InstanceKey> {
        let namespace = self.namespace().unwrap_or_default();
        let id = (namespace.clone(), self.name_any());
        let home = InstanceKey { namespace, name: self.spec.instance_ref.name.clone() };
        let mut objects = stores.objects.write().unwrap_or_else(PoisonError::into_inner);
        let former = objects.homes.insert(id.clone(), home.clone()).filter(|former| *former != home);
        if let Some(former) = &former {
            objects.leave(former, &id.1);
        }
        let groups = objects.groups.entry(home.clone()).or_default();
        let old = groups.get(&id.1);
        let news = old.is_none_or(|old| differs(&old.metadata, &self.metadata));
        if let Some(old) = old.filter(|old| old.spec.task_ids == self.spec.task_ids) {
            // A status write brings the whole object anew. Who remembers these IDs shares their texts with the old one.
            self.spec.task_ids.clone_from(&old.spec.task_ids);
        }
        groups.insert(id.1, Arc::new(self));
        former.into_iter().chain(news.then_some(home)).collect()
    }

    fn drop_from(stores: &Stores, namespace: &str, name: &str) -> Option<InstanceKey> {
        let mut objects = stores.objects.write().unwrap_or_else(PoisonError::into_inner);
        let home = objects.homes.remove(&(namespace.to_owned(), name.to_owned()))?;
        objects.leave(&home, name);
        Some(home)
    }

    fn names(stores: &Stores) -> Vec<(String, String)> {
        stores.objects.read().unwrap_or_else(PoisonError::into_inner).homes.keys().cloned().collect()
    }
}

impl Objects {
    fn leave(&mut self, home: &InstanceKey, name: &str) {
        if let Some(groups) = self.groups.get_mut(home) {
            groups.remove(name);
            if groups.is_empty() {
                self.groups.remove(home);
            }
        }
    }
}

/// Whether a change concerns the worker. Our own status writes come back as events, and must wake nobody.
fn differs(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    let request = |metadata: &ObjectMeta| metadata.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT).cloned());
    old.uid != new.uid
        || old.generation != new.generation
        || old.deletion_timestamp != new.deletion_timestamp
        || old.finalizers != new.finalizers
        || request(old) != request(new)
}

/// Feeds the stores with the objects of one kind in one place, for ever. `filled` is called after each complete list.
///
/// Each watch has its own back-off: trouble with one kind never pauses the other. A complete list wakes everything, for
/// what was deleted meanwhile shows only in what is missing from it.
pub async fn feed<K: Kept>(
    api: Api<K>,
    stores: Arc<Stores>,
    scope: Option<String>,
    length: Duration,
    metrics: Metrics,
    filled: impl Fn(),
) -> Infallible {
    let mark = |key: &InstanceKey| stores.mark(key);
    let mut seen: HashSet<(String, String)> = HashSet::new();
    let hear = |news: News<K>| {
        if !matches!(news, News::Listing | News::Failed(_)) {
            metrics.watch_heard(K::KIND);
        }
        match news {
            News::Listing => {
                metrics.watch_restarted(K::KIND);
                seen.clear();
            }
            News::Listed(mut object) => {
                lighten(object.meta_mut());
                seen.insert((object.namespace().unwrap_or_default(), object.name_any()));
                object.keep(&stores).iter().for_each(mark);
            }
            News::Complete => {
                for (namespace, name) in K::names(&stores) {
                    let here = scope.as_ref().is_none_or(|scope| *scope == namespace);
                    if here && !seen.contains(&(namespace.clone(), name.clone())) {
                        K::drop_from(&stores, &namespace, &name).iter().for_each(mark);
                    }
                }
                seen = HashSet::new();
                filled();
                let objects = stores.objects.read().unwrap_or_else(PoisonError::into_inner);
                let keys: Vec<InstanceKey> = objects.instances.keys().chain(objects.groups.keys()).cloned().collect();
                drop(objects);
                keys.iter().for_each(mark);
            }
            News::Changed(mut object) => {
                lighten(object.meta_mut());
                object.keep(&stores).iter().for_each(mark);
            }
            News::Deleted(object) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                K::drop_from(&stores, &namespace, &name).iter().for_each(mark);
            }
            News::Alive => {}
            News::Failed(trouble) => {
                metrics.watch_error(K::KIND);
                let kind = K::kind(&());
                tracing::warn!(%kind, error = %trouble, "the watch failed; it is started again");
            }
        }
    };
    follow(&api, length, hear).await
}

/// These weigh more than all the rest of an object and nobody here reads them.
fn lighten(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| name == REQUESTED_AT);
    }
}
