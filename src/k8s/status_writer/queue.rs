//! Which status is written next. Pure.
//!
//! The queue keeps the latest status of each object and at most one write in flight for each. So
//! the last status written is the newest, and one that was overtaken is never sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crd::FdiTaskGroupStatus;
use crate::k8s::status_writer::in_flight::InFlight;
use crate::k8s::status_writer::update::{Finalizers, Object, Status, Update};
use crate::time::backoff::{Backoff, add};

/// How long a status that reports only progress is held back for the verdict that may follow: a
/// convergence that is quicker costs one write.
pub const PROGRESS_HOLD: Duration = Duration::from_millis(300);

/// How far an urgent update goes ahead of those that are queued already. One that has been queued
/// for longer is written before it, so nothing starves.
pub const URGENT_HEAD_START: Duration = Duration::from_secs(2);

/// Waits after a write that failed, for each object.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };

/// When the API server says that an object is gone or another one, the watch shows it well within
/// this time.
const STALE_RETRY: Duration = Duration::from_secs(1);

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The API server stored it, as this resource version.
    Written(u64),
    /// The API server says that the object is gone, or that another one has its name.
    Stale,
    /// The API server refused it, or did not answer.
    Failed,
    /// It was not sent, because the object is gone.
    Gone,
}

#[derive(Debug, Default)]
pub struct Queue {
    /// Boxed, because a map keeps the capacity that it once needed: at a start that is one entry
    /// for each object.
    entries: HashMap<Arc<str>, Box<Entry>>,
    /// Objects whose status may be written now, by rank.
    ready: BTreeSet<(Timestamp, Arc<str>)>,
    /// Objects whose status may not be written yet, by when it may.
    delayed: BTreeSet<(Timestamp, Arc<str>)>,
    in_flight: InFlight,
    flushing: bool,
}

#[derive(Debug, Default)]
struct Entry {
    pending: Option<Pending>,
    in_flight: Option<Arc<Update>>,
    /// Our last write, until the store shows it.
    written: Option<Written>,
    failures: u32,
    failing_since: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    /// The resource version of the object when it was last reported stale.
    stale: Option<u64>,
    place: Option<Place>,
}

#[derive(Debug)]
struct Written {
    version: u64,
    status: Option<Status>,
    finalizers: Option<Box<Finalizers>>,
}

#[derive(Debug)]
struct Pending {
    update: Arc<Update>,
    queued_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Ready(Timestamp),
    Delayed(Timestamp),
}

impl Entry {
    /// Whether the API server has all that is in `update`, or will have it once the write in flight
    /// is done.
    fn will_have(&self, update: &Update) -> bool {
        let in_flight = self.in_flight.as_deref().map(|update| (&update.status, &update.finalizers));
        let written = self.written.as_ref().filter(|written| update.object.version < written.version);
        let ours = [in_flight, written.map(|written| (&written.status, &written.finalizers))];
        let status = ours.iter().flatten().find_map(|(status, _)| status.as_ref());
        let has_status = match (&update.status, status) {
            (None, _) => true,
            (Some(wanted), Some(status)) => wanted == status,
            (Some(_), None) => update.is_stored,
        };
        has_status
            && (update.finalizers.is_none()
                || ours.iter().flatten().any(|(_, finalizers)| **finalizers == update.finalizers))
    }

    /// The status in flight, and the one last written.
    fn sent(&self) -> impl Iterator<Item = &Status> {
        let in_flight = self.in_flight.as_ref().and_then(|update| update.status.as_ref());
        let written = self.written.as_ref().and_then(|written| written.status.as_ref());
        in_flight.into_iter().chain(written)
    }

    fn is_idle(&self) -> bool {
        self.pending.is_none() && self.in_flight.is_none() && self.written.is_none()
    }

    fn clear_failures(&mut self) {
        (self.failures, self.failing_since, self.retry_at, self.stale) = (0, None, None, None);
    }
}

impl Queue {
    /// Takes the newest status of an object. It replaces one that is still queued. Nothing is
    /// queued when the API server has this status, or will have it once the write in flight is
    /// done.
    pub fn publish(&mut self, update: Update, now: Timestamp) {
        let uid = Arc::clone(&update.object.uid);
        let entry = self.entries.entry(Arc::clone(&uid)).or_default();
        if entry.will_have(&update) {
            if entry.in_flight.is_none() {
                entry.clear_failures();
            }
            entry.pending = None;
        } else {
            let queued_at = entry.pending.as_ref().map_or(now, |pending| pending.queued_at);
            entry.pending = Some(Pending { update: Arc::new(update), queued_at });
        }
        self.place(&uid, now);
    }

    /// Whether anything is known of an object beside what the store shows.
    pub fn tracks(&self, uid: &str) -> bool {
        self.entries.contains_key(uid)
    }

    /// The next status to write; it is in flight from now on.
    pub fn next(&mut self, now: Timestamp) -> Option<Arc<Update>> {
        while let Some((eligible_at, uid)) = self.delayed.first().cloned()
            && eligible_at <= now
        {
            self.place(&uid, now);
        }
        let fits = |uid: &&Arc<str>| {
            let pending = self.entries.get(&***uid).and_then(|entry| entry.pending.as_ref());
            pending.is_some_and(|pending| self.in_flight.has_room(&pending.update.object, now))
        };
        let uid = self.ready.iter().map(|(_, uid)| uid).find(fits).cloned()?;
        let entry = self.entries.get_mut(&uid)?;
        let update = entry.pending.take()?.update;
        entry.in_flight = Some(Arc::clone(&update));
        self.in_flight.begin(&update.object, now);
        self.place(&uid, now);
        Some(update)
    }

    /// Takes in what became of a write. One that failed is tried again unless a newer status is
    /// queued. Returns false when the failure is one to report.
    pub fn complete(&mut self, object: &Object, outcome: Outcome, now: Timestamp) -> bool {
        self.in_flight.end(object, now, !self.flushing);
        let uid = &object.uid;
        let Some(entry) = self.entries.get_mut(uid) else { return true };
        let Some(update) = entry.in_flight.take() else { return true };
        let expected = match outcome {
            Outcome::Written(version) => {
                let (status, finalizers) = (update.status.clone(), update.finalizers.clone());
                entry.written = Some(Written { version, status, finalizers });
                entry.clear_failures();
                true
            }
            // Believed once for each version of the object: a refusal that lasts has the same code.
            Outcome::Stale if entry.stale != Some(update.object.version) => {
                entry.stale = Some(update.object.version);
                entry.retry_at = Some(add(now, STALE_RETRY));
                true
            }
            Outcome::Stale | Outcome::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                entry.failing_since.get_or_insert(now);
                entry.retry_at = Some(add(now, BACKOFF.exponential(entry.failures)));
                false
            }
            Outcome::Gone => {
                self.forget(uid);
                return true;
            }
        };
        if !matches!(outcome, Outcome::Written(_)) && entry.pending.is_none() {
            entry.pending = Some(Pending { update, queued_at: now });
        }
        self.place(uid, now);
        expected
    }

    /// When the next status that is held back may be written.
    pub fn next_eligible(&self, now: Timestamp) -> Option<Timestamp> {
        let delayed = self.delayed.first().map(|(eligible_at, _)| *eligible_at);
        let paused = if self.ready.is_empty() { None } else { self.in_flight.next_resume(now) };
        delayed.into_iter().chain(paused).min()
    }

    /// The status that the API server has, or will have once the write in flight is done, where the
    /// store does not show it: the store is at `version`.
    pub fn overlay(&mut self, uid: &str, version: u64) -> Option<Status> {
        let entry = self.entries.get_mut(uid)?;
        entry.written = entry.written.take().filter(|written| version < written.version);
        let status = entry.sent().next().cloned();
        if entry.is_idle() {
            self.entries.remove(uid);
        }
        status
    }

    /// The status as we have sent it, if it is that one: equal ones are kept once.
    pub fn interned(&self, uid: &str, status: &FdiTaskGroupStatus) -> Option<Arc<FdiTaskGroupStatus>> {
        self.entries.get(uid)?.sent().find_map(|sent| match sent {
            Status::Group(sent) if **sent == *status => Some(Arc::clone(sent)),
            _ => None,
        })
    }

    /// Since when no status of the object could be written.
    pub fn failing_since(&self, uid: &str) -> Option<Timestamp> {
        self.entries.get(uid)?.failing_since
    }

    /// The object is gone: nothing more is written to it.
    pub fn forget(&mut self, uid: &str) {
        if let Some(entry) = self.entries.remove(uid) {
            self.unplace(entry.place, &Arc::from(uid));
        }
    }

    /// The API server went back to an older state: our last writes may be lost, whatever their
    /// version.
    pub fn forget_versions(&mut self) {
        for entry in self.entries.values_mut() {
            (entry.written, entry.stale) = (None, None);
        }
        self.entries.retain(|_, entry| !entry.is_idle());
    }

    /// The process shuts down: everything that is queued may be written now, once more also after a
    /// failure.
    pub fn flush(&mut self, now: Timestamp) {
        self.flushing = true;
        self.in_flight.end_pauses(now);
        let uids: Vec<Arc<str>> = self.delayed.iter().map(|(_, uid)| Arc::clone(uid)).collect();
        for uid in uids {
            if let Some(entry) = self.entries.get_mut(&uid) {
                entry.retry_at = None;
            }
            self.place(&uid, now);
        }
    }

    /// Nothing may be written now, and nothing is in flight.
    pub fn is_drained(&self) -> bool {
        self.ready.is_empty() && self.in_flight.is_empty()
    }

    /// Puts an object where its state says.
    fn place(&mut self, uid: &Arc<str>, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let former = entry.place.take();
        if entry.in_flight.is_none()
            && let Some(Pending { update, queued_at }) = &entry.pending
        {
            let hold = update.progress_only && !self.flushing;
            let hold_ends = add(*queued_at, if hold { PROGRESS_HOLD } else { Duration::ZERO });
            let eligible_at = entry.retry_at.map_or(hold_ends, |retry_at| retry_at.max(hold_ends));
            let head_start = if update.urgent { URGENT_HEAD_START } else { Duration::ZERO };
            entry.place = Some(if eligible_at <= now {
                Place::Ready(queued_at.checked_sub(head_start).unwrap_or(*queued_at))
            } else {
                Place::Delayed(eligible_at)
            });
        }
        let place = entry.place;
        let idle = entry.is_idle();
        self.unplace(former, uid);
        match place {
            Some(Place::Ready(rank)) => drop(self.ready.insert((rank, Arc::clone(uid)))),
            Some(Place::Delayed(at)) => drop(self.delayed.insert((at, Arc::clone(uid)))),
            None if idle => drop(self.entries.remove(uid)),
            None => {}
        }
    }

    fn unplace(&mut self, place: Option<Place>, uid: &Arc<str>) {
        match place {
            Some(Place::Ready(rank)) => drop(self.ready.remove(&(rank, Arc::clone(uid)))),
            Some(Place::Delayed(at)) => drop(self.delayed.remove(&(at, Arc::clone(uid)))),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
