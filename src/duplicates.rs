//! Two `FdiInstance` objects may point at one ROMA Connect instance. The oldest that can sign in serves it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crd::FdiInstance;
use crate::fdi::{Fdi, Identity};
use crate::pass::{InstanceKey, connection};
use crate::watch::Stores;

/// Who can sign in, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Duplicates {
    stores: Arc<Stores>,
    fdi: Fdi,
    tried: Arc<Mutex<HashMap<InstanceKey, bool>>>,
}

impl Duplicates {
    pub fn new(stores: Arc<Stores>, fdi: Fdi) -> Self {
        Self { stores, fdi, tried: Arc::default() }
    }

    /// The oldest other `FdiInstance` for the same ROMA instance that is older than this one and can sign in, or may turn out
    /// to: one that has not been tried yet is given the chance.
    pub fn older(&self, key: &InstanceKey, object: &FdiInstance, identity: &Identity) -> Option<InstanceKey> {
        let age = |object: &FdiInstance, key: &InstanceKey| {
            (object.metadata.creation_timestamp.as_ref().map(|time| time.0), key.clone())
        };
        let mine = age(object, key);
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        self.stores
            .instances()
            .into_iter()
            .filter(|(other, candidate)| age(candidate, other) < mine && tried.get(other).copied().unwrap_or(true))
            .filter(|(_, candidate)| {
                self.fdi.identity(&connection(&candidate.spec)).is_ok_and(|other| other == *identity)
            })
            .min_by_key(|(other, candidate)| age(candidate, other))
            .map(|(other, _)| other)
    }

    /// A worker tried to sign in. When the answer changes, those that wait for it are woken.
    pub fn tried(&self, key: &InstanceKey, works: bool) {
        let before = self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), works);
        if before != Some(works) {
            self.wake_twins(key);
        }
    }

    /// The instance is gone.
    pub fn forget(&self, key: &InstanceKey) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn wake_twins(&self, key: &InstanceKey) {
        let instances = self.stores.instances();
        let identity = |object: &FdiInstance| self.fdi.identity(&connection(&object.spec)).ok();
        let Some(mine) = instances.iter().find(|(other, _)| other == key).and_then(|(_, object)| identity(object)) else {
            return;
        };
        for (other, object) in &instances {
            if other != key && identity(object).as_ref() == Some(&mine) {
                self.stores.mark(other);
            }
        }
    }
}
