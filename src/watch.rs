//! What is watched, kept, and whom it wakes: two watches feed the stores; the stores know which groups belong to which
//! instance and mark the instances that have something new.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use kube::api::Api;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::crd::{FdiInstance, FdiTaskGroup, REQUESTED_AT};
use crate::metrics::{Metrics, WatchKind};
use crate::pass::InstanceKey;

/// Objects of one list page: a page is held several times while it is decoded.
const PAGE: u32 = 50;

/// kube's own default goes up to a minute: after a short outage the operator stayed blind for half of one. Two cheap requests
/// every few seconds burden no API server that is coming back.
const QUICKEST: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(5);

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
    metrics: Metrics,
    filled: impl Fn(),
) {
    let mut events = stream(api, &metrics);
    let mark = |key: &InstanceKey| stores.mark(key);
    let mut seen: HashSet<(String, String)> = HashSet::new();
    while let Some(event) = events.next().await {
        metrics.watch_heard(K::KIND);
        match event {
            Event::Init => {
                metrics.watch_restarted(K::KIND);
                seen.clear();
            }
            Event::InitApply(object) => {
                seen.insert((object.namespace().unwrap_or_default(), object.name_any()));
                object.keep(&stores).iter().for_each(mark);
            }
            Event::InitDone => {
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
            Event::Apply(object) => object.keep(&stores).iter().for_each(mark),
            Event::Delete(object) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                K::drop_from(&stores, &namespace, &name).iter().for_each(mark);
            }
        }
    }
}

/// Waits between attempts of a watch that fails: doubled each time, and half of it at random, so that replicas do not ask
/// together.
struct Patience(Duration);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(SLOWEST);
        Some(wait.mul_f64(rand::random_range(0.5..1.0)))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0 = QUICKEST;
    }
}

fn stream<K: Kept>(api: Api<K>, metrics: &Metrics) -> BoxStream<'static, Event<K>> {
    let metrics = metrics.clone();
    let config = watcher::Config::default().page_size(PAGE);
    watch(api, config)
        .backoff(Patience(QUICKEST))
        .modify(|object| {
            // These weigh more than all the rest of an object and nobody here reads them.
            object.meta_mut().managed_fields = None;
            object.meta_mut().labels = None;
            if let Some(annotations) = &mut object.meta_mut().annotations {
                annotations.retain(|name, _| name == REQUESTED_AT);
            }
        })
        .inspect_err(move |error| {
            metrics.watch_error(K::KIND);
            tracing::warn!(kind = %K::kind(&()), error = plain(error), "the watch failed; it is started again");
        })
        .filter_map(|event| std::future::ready(event.ok()))
        .boxed()
}

/// What the API server said, without the debug text that kube's errors carry along.
fn plain(error: &watcher::Error) -> String {
    let said = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return format!("{} {}: {}", status.code, status.reason, status.message),
        other @ watcher::Error::NoResourceVersion => return other.to_string(),
    };
    match said {
        kube::Error::Api(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        other => other.to_string(),
    }
}
