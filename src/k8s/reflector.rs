//! Keeps the store equal to what the API server has: one watch for each kind and scope.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::ObjectMeta;

use crate::crd::REQUESTED_AT;
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::store::{Change, Store, Stored};
use crate::k8s::watcher::{Error, Event, watch};
use crate::metrics::Metrics;

/// What one watch covers.
#[derive(Debug)]
pub struct Reflector<K: Stored> {
    pub api: Api<K>,
    /// The namespace of `api`; `None`: all.
    pub scope: Option<String>,
    pub store: Arc<Store>,
    pub writer: StatusWriter,
    pub metrics: Metrics,
    pub watch_timeout: Duration,
}

impl<K: Stored> Reflector<K> {
    /// Reflects forever. `synced` is called after each complete list.
    ///
    /// Each watch has its own back-off: a failure of one kind never delays the other. A complete
    /// list queues every instance, for what was deleted meanwhile shows only in what the list
    /// lacks.
    pub async fn run(self, synced: impl Fn()) -> Infallible {
        let mut listed: HashSet<(String, String)> = HashSet::new();
        let on_event = |event: Event<K>| self.on_event(event, &mut listed, &synced);
        watch(&self.api, self.watch_timeout, on_event).await
    }

    fn on_event(&self, event: Event<K>, listed: &mut HashSet<(String, String)>, synced: impl Fn()) {
        if !matches!(event, Event::Init | Event::Error(_)) {
            self.metrics.watch_received(K::KIND);
        }
        match event {
            Event::Init => {
                self.metrics.watch_restarted(K::KIND);
                listed.clear();
            }
            Event::InitApply(object) => {
                listed.insert((object.namespace().unwrap_or_default(), object.name_any()));
                self.apply(object, true);
            }
            Event::InitDone => {
                self.delete_unlisted(&std::mem::take(listed));
                synced();
                self.store.enqueue_all();
            }
            Event::Apply(object) => self.apply(object, false),
            Event::Delete(object) => self.delete(&object.namespace().unwrap_or_default(), &object.name_any()),
            Event::Bookmark => {}
            Event::Error(error) => {
                self.metrics.watch_error(K::KIND);
                if matches!(error, Error::VersionWentBack { .. }) {
                    // Our last writes may be gone from an API server whose data went back.
                    self.writer.forget_versions();
                }
                tracing::warn!(kind = %K::kind(&()), error = %error, "watch failed; starting it again");
            }
        }
    }

    fn apply(&self, mut object: K, listed: bool) {
        strip_metadata(object.meta_mut());
        self.report(object.apply(&self.store, listed));
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.report(K::delete(&self.store, namespace, name));
    }

    fn report(&self, change: Change) {
        change.gone.iter().for_each(|uid| self.writer.forget(uid));
        change.instances.iter().for_each(|key| self.store.enqueue(key));
    }

    fn delete_unlisted(&self, listed: &HashSet<(String, String)>) {
        for key in K::keys(&self.store) {
            let in_scope = self.scope.as_ref().is_none_or(|scope| *scope == key.0);
            if in_scope && !listed.contains(&key) {
                self.delete(&key.0, &key.1);
            }
        }
    }
}

/// These take more memory than all the rest of an object, and nothing here reads them.
fn strip_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| name == REQUESTED_AT);
    }
}
