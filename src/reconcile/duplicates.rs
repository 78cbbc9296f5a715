//! Two `FdiInstance` objects may refer to one ROMA Connect instance. The oldest that can sign in serves it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::crd::{FdiInstance, InstanceKey};
use crate::fdi::{Fdi, Identity};
use crate::k8s::store::Store;

/// Who can sign in, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Duplicates {
    store: Arc<Store>,
    fdi: Fdi,
    known: Arc<Mutex<HashMap<InstanceKey, Known>>>,
}

/// What is known of one `FdiInstance`: which ROMA instance it means, and whether it could sign in at the
/// last attempt.
#[derive(Debug)]
struct Known {
    identity: Identity,
    signs_in: Option<bool>,
}

impl Duplicates {
    pub fn new(store: Arc<Store>, fdi: Fdi) -> Self {
        Self { store, fdi, known: Arc::default() }
    }

    /// The oldest other `FdiInstance` for the same ROMA instance that is older than this one and can sign
    /// in, or may turn out to: one that has not tried yet gets the chance.
    pub fn preferred(&self, key: &InstanceKey, object: &FdiInstance, identity: &Identity) -> Option<InstanceKey> {
        let age = |object: &FdiInstance, key: &InstanceKey| {
            (object.metadata.creation_timestamp.as_ref().map(|time| time.0), key.clone())
        };
        let own = age(object, key);
        let mut known = self.known.lock();
        let entry = known.entry(key.clone()).or_insert_with(|| Known { identity: identity.clone(), signs_in: None });
        entry.identity = identity.clone();
        let may_serve = |other: &InstanceKey| known.get(other).and_then(|known| known.signs_in).unwrap_or(true);
        self.store
            .instances()
            .into_iter()
            .filter(|(other, candidate)| age(candidate, other) < own && may_serve(other))
            .filter(|(_, candidate)| {
                self.fdi.identity(&candidate.spec.connection()).is_ok_and(|other| other == *identity)
            })
            .min_by_key(|(other, candidate)| age(candidate, other))
            .map(|(other, _)| other)
    }

    /// A worker tried to sign in, or found its instance gone. When the answer changes, the duplicates are
    /// queued.
    pub fn record_sign_in(&self, key: &InstanceKey, signs_in: bool) {
        let mut known = self.known.lock();
        let Some(entry) = known.get_mut(key) else { return };
        if entry.signs_in.replace(signs_in) == Some(signs_in) {
            return;
        }
        let identity = entry.identity.clone();
        for (other, _) in known.iter().filter(|(other, known)| *other != key && known.identity == identity) {
            self.store.enqueue(other);
        }
    }

    /// Nothing refers to the instance any more.
    pub fn forget(&self, key: &InstanceKey) {
        self.record_sign_in(key, false);
        self.known.lock().remove(key);
    }
}
