//! Two `FdiInstance` objects may point at one ROMA Connect instance. The oldest that can sign in serves it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crd::FdiInstance;
use crate::fdi::{Fdi, Identity};
use crate::reconcile::{InstanceKey, connection};
use crate::k8s::store::Stores;

/// Who can sign in, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Duplicates {
    stores: Arc<Stores>,
    fdi: Fdi,
    known: Arc<Mutex<HashMap<InstanceKey, Known>>>,
}

/// What is known of one `FdiInstance`: which ROMA instance it means, and whether it could sign in when it was last tried.
#[derive(Debug)]
struct Known {
    identity: Identity,
    works: Option<bool>,
}

impl Duplicates {
    pub fn new(stores: Arc<Stores>, fdi: Fdi) -> Self {
        Self { stores, fdi, known: Arc::default() }
    }

    /// The oldest other `FdiInstance` for the same ROMA instance that is older than this one and can sign in, or may turn out
    /// to: one that has not been tried yet is given the chance.
    pub fn older(&self, key: &InstanceKey, object: &FdiInstance, identity: &Identity) -> Option<InstanceKey> {
        let age = |object: &FdiInstance, key: &InstanceKey| {
            (object.metadata.creation_timestamp.as_ref().map(|time| time.0), key.clone())
        };
        let mine = age(object, key);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(key.clone()).or_insert_with(|| Known { identity: identity.clone(), works: None });
        entry.identity = identity.clone();
        let may_serve = |other: &InstanceKey| known.get(other).and_then(|known| known.works).unwrap_or(true);
        self.stores
            .instances()
            .into_iter()
            .filter(|(other, candidate)| age(candidate, other) < mine && may_serve(other))
            .filter(|(_, candidate)| {
                self.fdi.identity(&connection(&candidate.spec)).is_ok_and(|other| other == *identity)
            })
            .min_by_key(|(other, candidate)| age(candidate, other))
            .map(|(other, _)| other)
    }

    /// A worker tried to sign in, or found its instance gone. When the answer changes, those that wait for it are woken.
    pub fn tried(&self, key: &InstanceKey, works: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.get_mut(key) else { return };
        if entry.works.replace(works) == Some(works) {
            return;
        }
        let identity = entry.identity.clone();
        for twin in known.iter().filter(|(other, known)| *other != key && known.identity == identity) {
            self.stores.mark(twin.0);
        }
    }

    /// Nothing refers to the instance any more.
    pub fn forget(&self, key: &InstanceKey) {
        self.tried(key, false);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
