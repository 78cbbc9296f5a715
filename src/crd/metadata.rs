//! What is read of the metadata of both kinds.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::ObjectMeta;

use crate::fdi::text::truncate;

/// Annotation that requests a reconcile, on either kind, spelled as Flux does. Its value is echoed
/// in `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Longest value of [`REQUESTED_AT`] that is kept, in bytes.
const REQUESTED_AT_MAX: usize = 256;

/// What is read of an object's metadata, beside its namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedMetadata {
    pub name: Box<str>,
    /// Shared with what reconciles remember of the object.
    pub uid: Arc<str>,
    pub resource_version: u64,
    pub generation: i64,
    pub creation_timestamp: Option<Timestamp>,
    pub deletion_timestamp: Option<Timestamp>,
    pub finalizers: Option<Box<[String]>>,
    /// The annotation [`REQUESTED_AT`].
    pub requested_at: Option<Box<str>>,
}

impl From<ObjectMeta> for CachedMetadata {
    fn from(metadata: ObjectMeta) -> Self {
        Self {
            resource_version: resource_version(&metadata),
            requested_at: requested_at(&metadata),
            name: metadata.name.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            generation: metadata.generation.unwrap_or_default(),
            creation_timestamp: metadata.creation_timestamp.map(|time| time.0),
            deletion_timestamp: metadata.deletion_timestamp.map(|time| time.0),
            finalizers: metadata.finalizers.map(Vec::into_boxed_slice),
        }
    }
}

/// The value of [`REQUESTED_AT`].
pub fn requested_at(metadata: &ObjectMeta) -> Option<Box<str>> {
    let text = metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    Some(truncate(text, REQUESTED_AT_MAX).into())
}

/// Resource versions are numbers that grow (comparable by contract since Kubernetes 1.35, in fact
/// long before). One that is no number is newer than any.
pub fn resource_version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}
