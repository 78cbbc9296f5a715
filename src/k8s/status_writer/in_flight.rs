//! How much may be in flight of each namespace. Pure.
//!
//! An API server works as long on one group of a thousand IDs as on dozens of small ones, and
//! requests of everybody else wait meanwhile. So large objects of one namespace are written one
//! after another, with a pause after each that is [`PAUSE`] times as long as the write: a tenant
//! that changes many of them all the time leaves the API server most of it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::k8s::status_writer::update::Object;
use crate::time::backoff::{add, elapsed};

/// So much of one namespace is in flight at once, or one object that is larger.
pub const NAMESPACE_BYTES: usize = 128 << 10;
/// From this size on an object is a large one: a group of some 300 IDs.
pub const LARGE: usize = NAMESPACE_BYTES / 4;
/// How long a namespace pauses after a large object, in times of the write.
const PAUSE: u32 = 4;
/// An API server that is this slow is not so because of one tenant's statuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is in flight.
#[derive(Debug, Default)]
pub struct InFlight {
    count: usize,
    namespaces: HashMap<String, Share>,
}

#[derive(Debug)]
struct Share {
    bytes: usize,
    /// When the latest write began.
    began: Timestamp,
    /// The end of the pause after a large object.
    resumes_at: Timestamp,
}

impl InFlight {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the object may be written now, beside what is in flight of its namespace.
    pub fn has_room(&self, object: &Object, now: Timestamp) -> bool {
        self.namespaces.get(&object.namespace).is_none_or(|share| {
            now >= share.resumes_at && (share.bytes == 0 || share.bytes + object.bytes <= NAMESPACE_BYTES)
        })
    }

    /// When the next namespace may go on after a large object.
    pub fn next_resume(&self, now: Timestamp) -> Option<Timestamp> {
        self.namespaces.values().map(|share| share.resumes_at).filter(|&at| at > now).min()
    }

    /// The process shuts down: no more pauses.
    pub fn end_pauses(&mut self, now: Timestamp) {
        self.namespaces.values_mut().for_each(|share| share.resumes_at = share.resumes_at.min(now));
    }

    pub fn begin(&mut self, object: &Object, now: Timestamp) {
        self.count += 1;
        self.namespaces.retain(|_, share| share.bytes > 0 || share.resumes_at > now);
        let new = || Share { bytes: 0, began: now, resumes_at: now };
        let share = self.namespaces.entry(object.namespace.clone()).or_insert_with(new);
        share.bytes += object.bytes;
        share.began = now;
    }

    pub fn end(&mut self, object: &Object, now: Timestamp, pause: bool) {
        self.count -= 1;
        if let Some(share) = self.namespaces.get_mut(&object.namespace) {
            share.bytes -= object.bytes;
            if pause && object.bytes >= LARGE {
                share.resumes_at = add(now, elapsed(share.began, now).saturating_mul(PAUSE).min(LONGEST_PAUSE));
            }
        }
    }
}
