//! Several `FdiInstance` objects may refer to one ROMA Connect instance. One of them serves it: the
//! oldest of those that can, and that have groups.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::crd::{FdiInstance, InstanceKey, requested_at};
use crate::fdi::{Fdi, Identity};
use crate::k8s::store::Store;

/// For this long a younger instance leaves an older one the chance to be tried first.
const FIRST_CHANCE: Duration = Duration::from_secs(5);

/// Who serves what, shared by all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Duplicates {
    store: Arc<Store>,
    fdi: Fdi,
    known: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    instances: HashMap<InstanceKey, Candidate>,
    /// Oldest first.
    by_identity: HashMap<Identity, BTreeSet<(Option<Timestamp>, InstanceKey)>>,
}

#[derive(Debug)]
struct Candidate {
    revision: Revision,
    identity: Option<Identity>,
    created: Option<Timestamp>,
    standing: Standing,
    has_groups: bool,
    /// Some group refers to it, so that its worker runs.
    referenced: bool,
    /// Since when it could be tried.
    since: Instant,
}

/// What a user changes to have a rejected instance tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Revision {
    uid: Option<String>,
    generation: Option<i64>,
    requested_at: Option<Box<str>>,
}

/// Whether an instance can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not tried since it was last changed.
    Untried,
    /// It signed in and listed, and its calls are not rejected.
    Serves,
    /// Its sign-in, its lists or its calls are rejected.
    Rejected,
}

impl Duplicates {
    pub fn new(store: Arc<Store>, fdi: Fdi) -> Self {
        Self { store, fdi, known: Arc::default() }
    }

    /// Takes in the object as it is stored now. To be called before the workers of a set of changes
    /// run, so that each knows of the others.
    pub fn sync(&self, key: &InstanceKey) {
        let object = self.store.get(key).0;
        let referenced = self.store.has_groups(key);
        let mut known = self.known.lock();
        let Some(object) = object else { return known.remove(key) };
        let revision = Revision::of(&object);
        if let Some(candidate) = known.instances.get_mut(key).filter(|candidate| candidate.revision == revision) {
            if referenced && !candidate.referenced {
                candidate.since = Instant::now();
            }
            candidate.referenced = referenced;
            return;
        }
        let has_groups = known.instances.get(key).is_some_and(|candidate| candidate.has_groups);
        known.remove(key);
        let identity = self.fdi.identity(&object.spec.connection()).ok();
        let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if let Some(identity) = &identity {
            known.by_identity.entry(identity.clone()).or_default().insert((created, key.clone()));
        }
        let standing = Standing::Untried;
        known.instances.insert(
            key.clone(),
            Candidate { revision, identity, created, standing, has_groups, referenced, since: Instant::now() },
        );
    }

    /// The other `FdiInstance` that serves the same ROMA instance, where this one must not.
    pub fn preferred(&self, key: &InstanceKey) -> Option<InstanceKey> {
        let known = self.known.lock();
        let own = known.instances.get(key)?;
        let same = known.by_identity.get(own.identity.as_ref()?)?;
        let own_age = (own.created, key.clone());
        let mut others = same.iter().filter(|age| **age != own_age && self.store.has_groups(&age.1));
        let preferred = others.find(|age| {
            known.instances.get(&age.1).is_some_and(|other| match other.standing {
                Standing::Serves => **age < own_age || own.standing == Standing::Rejected,
                Standing::Untried => **age < own_age && other.since.elapsed() < FIRST_CHANCE,
                Standing::Rejected => false,
            })
        });
        preferred.map(|(_, server)| server.clone())
    }

    /// Takes in what a worker found. When it changes who serves, the workers of the duplicates are
    /// told.
    pub fn record(&self, key: &InstanceKey, standing: Option<Standing>, has_groups: bool) {
        let mut known = self.known.lock();
        let Some(candidate) = known.instances.get_mut(key) else { return };
        let before = (candidate.standing, candidate.has_groups);
        let standing = standing.unwrap_or(candidate.standing);
        (candidate.standing, candidate.has_groups) = (standing, has_groups);
        if before != (standing, has_groups) {
            let identity = candidate.identity.clone();
            self.enqueue_others(&known, key, identity.as_ref());
        }
    }

    /// Nothing refers to the instance any more.
    pub fn forget(&self, key: &InstanceKey) {
        let mut known = self.known.lock();
        let identity = known.instances.get(key).and_then(|candidate| candidate.identity.clone());
        self.enqueue_others(&known, key, identity.as_ref());
        known.remove(key);
    }

    fn enqueue_others(&self, known: &Inner, key: &InstanceKey, identity: Option<&Identity>) {
        let same = identity.and_then(|identity| known.by_identity.get(identity));
        for (_, other) in same.into_iter().flatten().filter(|(_, other)| other != key) {
            self.store.enqueue(other);
        }
    }
}

impl Inner {
    fn remove(&mut self, key: &InstanceKey) {
        let Some(candidate) = self.instances.remove(key) else { return };
        let Some(identity) = candidate.identity else { return };
        if let Some(same) = self.by_identity.get_mut(&identity) {
            same.remove(&(candidate.created, key.clone()));
            if same.is_empty() {
                self.by_identity.remove(&identity);
            }
        }
    }
}

impl Revision {
    fn of(object: &FdiInstance) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            requested_at: requested_at(&object.metadata),
        }
    }
}
