//! What is to be written to one object.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use serde::Serialize;
use tracing::Span;

use crate::crd::{
    CachedGroup, FdiInstance, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupStatus, InstanceKey, resource_version,
};
use crate::k8s::events::{Event, EventType};
use crate::k8s::quota::group_bytes;
use crate::metrics::InstanceMetrics;

/// Roughly the size of an `FdiInstance` and its status.
const INSTANCE_BYTES: usize = 2 << 10;

/// The kind that an object is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Instance,
    Group,
}

/// One object, as it was when the update was computed.
#[derive(Debug, Clone)]
pub struct Object {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub uid: Arc<str>,
    /// The resource version.
    pub version: u64,
    /// Roughly how large it is.
    pub bytes: usize,
}

/// A status of either kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    Instance(Box<FdiInstanceStatus>),
    /// Shared with the store, once that shows it.
    Group(Arc<FdiTaskGroupStatus>),
}

impl Status {
    pub fn into_instance(self) -> Option<FdiInstanceStatus> {
        match self {
            Self::Instance(status) => Some(*status),
            Self::Group(_) => None,
        }
    }

    pub fn into_group(self) -> Option<Arc<FdiTaskGroupStatus>> {
        match self {
            Self::Group(status) => Some(status),
            Self::Instance(_) => None,
        }
    }
}

/// A transition of the object that an update is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    pub kind: EventType,
    pub reason: &'static str,
    pub action: &'static str,
    pub message: String,
}

/// A change of the finalizers, applied before the status is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalizers {
    /// The list is replaced as a whole, so it must be the one that was read (`None`: there was
    /// none).
    pub before: Option<Box<[String]>>,
    pub after: Vec<String>,
    /// Ours is removed although tasks were not observed stopped.
    pub abandoned: bool,
}

/// What is to be written to one object.
#[derive(Debug, Clone)]
pub struct Update {
    pub object: Object,
    /// `None` where only the finalizers change.
    pub status: Option<Status>,
    /// The store showed this status when the update was computed.
    pub is_stored: bool,
    /// Published once this is written.
    pub events: Vec<StatusEvent>,
    pub finalizers: Option<Box<Finalizers>>,
    /// Reports progress only: a verdict may follow soon.
    pub progress_only: bool,
    /// Somebody has just edited the object.
    pub urgent: bool,
    pub metrics: Arc<InstanceMetrics>,
    /// Of the reconcile that computed it: its ID is on the lines about the write too.
    pub span: Span,
}

impl Object {
    pub fn instance(key: &InstanceKey, object: &FdiInstance) -> Self {
        Self {
            kind: Kind::Instance,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            version: resource_version(&object.metadata),
            bytes: INSTANCE_BYTES,
        }
    }

    /// A group of the instance.
    pub fn group(key: &InstanceKey, group: &CachedGroup) -> Self {
        let metadata = &group.metadata;
        Self {
            kind: Kind::Group,
            namespace: key.namespace.clone(),
            name: metadata.name.to_string(),
            uid: Arc::clone(&metadata.uid),
            version: metadata.resource_version,
            bytes: group_bytes(group),
        }
    }

    /// The event about it.
    pub fn event(&self, event: &StatusEvent) -> Event {
        let (kind, version) = match self.kind {
            Kind::Instance => (FdiInstance::kind(&()), FdiInstance::api_version(&())),
            Kind::Group => (FdiTaskGroup::kind(&()), FdiTaskGroup::api_version(&())),
        };
        let regarding = ObjectReference {
            api_version: Some(version.into_owned()),
            kind: Some(kind.into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        };
        let StatusEvent { kind, reason, action, message } = event.clone();
        Event { regarding, kind, reason, action, note: message }
    }

    /// The fields of a log line that name the object: `fdiinstance` and `fditaskgroups`.
    pub fn log_names(&self) -> (Option<&str>, Option<&str>) {
        match self.kind {
            Kind::Instance => (Some(&self.name), None),
            Kind::Group => (None, Some(&self.name)),
        }
    }
}
