//! Keeps the store equal to what the API server has: one watch for each kind and scope.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::ObjectMeta;
use tracing::{debug, info, warn};

use crate::crd::{REQUESTED_AT, event_actions, event_reasons, requested_at};
use crate::k8s::events::{Event as KubeEvent, EventRecorder, EventType};
use crate::k8s::status_writer::StatusWriter;
use crate::k8s::store::{Change, Scope, Store, Stored};
use crate::k8s::watcher::{Error, Event, watch};
use crate::metrics::Metrics;

/// What one watch covers.
#[derive(Debug)]
pub struct Reflector<K: Stored> {
    pub api: Api<K>,
    /// The namespace of `api`; `None`: all.
    pub scope: Scope,
    pub store: Arc<Store>,
    pub writer: StatusWriter,
    pub metrics: Metrics,
    pub events: EventRecorder,
    pub watch_timeout: Duration,
}

/// What becomes of the scope.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A list is complete.
    Listed,
    /// The operator has no permission.
    Forbidden(&'a Error),
}

/// What one watch remembers.
#[derive(Debug, Default)]
struct Memory {
    /// Namespaces and names in the list that is under way.
    listed: HashSet<(String, String)>,
    /// The failure that was logged last, until the watch works again.
    failure: Option<String>,
}

impl<K: Stored> Reflector<K> {
    /// Reflects forever.
    ///
    /// Each watch has its own back-off: a failure of one kind or scope never delays another.
    pub async fn run(self, on_progress: impl Fn(Progress<'_>)) -> Infallible {
        let mut memory = Memory::default();
        self.metrics.watch_started(K::KIND, self.scope_name());
        let on_event = |event: Event<K>| self.on_event(event, &mut memory, &on_progress);
        let must_list = || self.store.has_room::<K>();
        watch(&self.api, self.watch_timeout, on_event, must_list).await
    }

    fn on_event(&self, event: Event<K>, memory: &mut Memory, on_progress: impl Fn(Progress<'_>)) {
        if !matches!(event, Event::Init | Event::Error(_)) {
            self.metrics.watch_received(K::KIND, self.scope_name());
            if memory.failure.take().is_some() {
                info!(kind = %K::kind(&()), scope = self.scope_name(), "the watch works again");
            }
        }
        match event {
            Event::Init => {
                self.metrics.watch_restarted(K::KIND);
                self.store.begin_list::<K>(&self.scope);
                memory.listed.clear();
            }
            Event::InitApply(object) => {
                memory.listed.insert((object.namespace().unwrap_or_default(), object.name_any()));
                self.apply(object, true);
            }
            Event::InitDone => {
                self.delete_unlisted(&std::mem::take(&mut memory.listed));
                self.metrics.watch_synced(K::KIND, self.scope_name());
                on_progress(Progress::Listed);
                self.store.end_list::<K>(&self.scope);
            }
            Event::Apply(object) => self.apply(object, false),
            Event::Delete(object) => self.delete(&object.namespace().unwrap_or_default(), &object.name_any()),
            Event::Bookmark => {}
            Event::Error(error) => self.on_error(&error, memory, on_progress),
        }
    }

    fn on_error(&self, error: &Error, memory: &mut Memory, on_progress: impl Fn(Progress<'_>)) {
        self.metrics.watch_error(K::KIND);
        if matches!(error, Error::VersionWentBack { .. }) {
            // Our last writes may be gone from an API server whose data went back.
            self.writer.forget_versions();
        }
        if error.is_forbidden() {
            on_progress(Progress::Forbidden(error));
        }
        let (kind, scope, text) = (K::kind(&()), self.scope_name(), error.to_string());
        // A lasting failure is logged once.
        if memory.failure.as_ref() == Some(&text) {
            debug!(%kind, scope, error = text, "watch failed; retrying");
        } else {
            warn!(%kind, scope, error = text, "watch failed; retrying");
            memory.failure = Some(text);
        }
    }

    fn apply(&self, mut object: K, listed: bool) {
        strip_metadata(object.meta_mut());
        if let Some((uid, status)) = object.group_status()
            && let Some(interned) = self.writer.interned(uid, status)
        {
            *status = interned;
        }
        let reference = object.object_ref(&());
        let change = object.apply(&self.store, listed);
        self.report(&change);
        if change.rejected {
            self.on_rejected(reference);
        }
    }

    fn delete(&self, namespace: &str, name: &str) {
        self.report(&K::delete(&self.store, namespace, name));
    }

    fn report(&self, change: &Change) {
        change.gone.iter().for_each(|uid| self.writer.forget(uid));
        change.instances.iter().for_each(|key| self.store.enqueue(key));
        self.metrics.objects_rejected(K::KIND, self.store.rejected::<K>());
    }

    fn on_rejected(&self, regarding: ObjectReference) {
        let (namespace, name) = (regarding.namespace.as_deref(), regarding.name.as_deref());
        warn!(kind = %K::kind(&()), namespace, name, "not reconciled: the quota of its namespace is used up");
        self.events.emit(KubeEvent {
            regarding,
            kind: EventType::Warning,
            reason: event_reasons::NAMESPACE_QUOTA_EXCEEDED,
            action: event_actions::OBSERVE,
            note: "not reconciled: the FdiTaskGroups and FdiInstances of this namespace need more memory than \
                   the operator gives to one namespace; delete some, or list fewer tasks"
                .to_owned(),
        });
    }

    fn delete_unlisted(&self, listed: &HashSet<(String, String)>) {
        for key in K::keys(&self.store) {
            let in_scope = self.scope.as_ref().is_none_or(|scope| *scope == key.0);
            if in_scope && !listed.contains(&key) {
                self.delete(&key.0, &key.1);
            }
        }
    }

    fn scope_name(&self) -> &str {
        self.scope.as_deref().unwrap_or("all")
    }
}

/// Users write as much as they like here, and only the annotation is read.
fn strip_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.owner_references = None;
    metadata.generate_name = None;
    metadata.annotations = requested_at(metadata).map(|value| [(REQUESTED_AT.to_owned(), value.into())].into());
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    #[test]
    fn nothing_that_users_make_long_is_kept_of_an_object() {
        let long = "x".repeat(250_000);
        let mut metadata = ObjectMeta {
            name: Some("orders".to_owned()),
            generate_name: Some(long.clone()),
            labels: Some([("a".to_owned(), long.clone())].into()),
            owner_references: Some(vec![OwnerReference { name: long.clone(), ..OwnerReference::default() }]),
            annotations: Some([(REQUESTED_AT.to_owned(), long.clone()), ("other".to_owned(), long)].into()),
            ..ObjectMeta::default()
        };
        strip_metadata(&mut metadata);
        let kept = serde_json::to_string(&metadata).unwrap();
        assert!(kept.len() < 400 && kept.contains("orders") && kept.contains(REQUESTED_AT), "{kept}");
    }
}
