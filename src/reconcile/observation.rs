//! What is known of one instance between reconciles: the last complete list, and why lists or calls
//! fail. Pure.

pub mod failure;
pub mod list;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crd::reasons;
use crate::fdi::{CallError, Fingerprint};
use crate::reconcile::desired::Desired;
use crate::reconcile::observation::failure::{FailureStreak, InstanceError};
pub use crate::reconcile::observation::list::TaskList;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// How long a list serves while calls are throttled and nothing else was sent.
const THROTTLED_TTL: Duration = Duration::from_secs(60);

/// What step 2 found. Default: nothing was asked.
#[derive(Debug, Default)]
pub struct Observed {
    /// The uid of the `FdiInstance` that was asked.
    pub instance: Option<String>,
    /// The credential in use, where the Secret was read.
    pub credential: Option<Fingerprint>,
    /// The list, or why there is none; `None` when the list at hand is fresh or must not be
    /// replaced yet.
    pub list: Option<Result<TaskList, InstanceError>>,
}

/// The `FdiInstance` as last seen: its identity, and what an edit or a request changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InstanceRevision {
    uid: String,
    generation: i64,
    requested_at: Option<Box<str>>,
}

/// Values of `requestedAt` that no status has echoed yet.
#[derive(Debug, Clone)]
struct PendingRequests {
    tokens: Vec<Box<str>>,
    first_seen: Timestamp,
}

/// The memory of one instance.
#[derive(Debug, Clone)]
pub struct Observation {
    timings: Arc<Timings>,
    list: Option<TaskList>,
    list_failure: Option<FailureStreak>,
    call_failure: Option<FailureStreak>,
    last_call_ended: Option<Timestamp>,
    credential: Option<Fingerprint>,
    instance: Option<InstanceRevision>,
    knew_instance: bool,
    pending_requests: Option<PendingRequests>,
    /// When a list is due beside the regular poll.
    check_at: Option<Timestamp>,
}

impl Observation {
    pub fn new(timings: Arc<Timings>) -> Self {
        Self {
            timings,
            list: None,
            list_failure: None,
            call_failure: None,
            last_call_ended: None,
            credential: None,
            instance: None,
            knew_instance: false,
            pending_requests: None,
            check_at: None,
        }
    }

    /// The last complete list, however old.
    pub fn list(&self) -> Option<&TaskList> {
        self.list.as_ref()
    }

    /// Why lists fail at present.
    pub fn list_failure(&self) -> Option<&FailureStreak> {
        self.list_failure.as_ref()
    }

    /// Why calls fail at present.
    pub fn call_failure(&self) -> Option<&FailureStreak> {
        self.call_failure.as_ref()
    }

    /// True when the last list need not be requested again: it is young, or since then only
    /// throttled calls were sent, which a list would only throttle more; it shows what the last
    /// call did, and nothing asks for a newer one.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.list_failure.is_none()
            && self.list.as_ref().is_some_and(|list| {
                let covers = |moment: Timestamp| list.requested_at >= moment;
                let ttl = if self.is_throttled() { THROTTLED_TTL } else { self.timings.list_ttl };
                now < add(list.requested_at, ttl)
                    && self.last_call_ended.is_none_or(covers)
                    && self.pending_requests.as_ref().is_none_or(|pending| covers(pending.first_seen))
                    && self.check_at.is_none_or(|check_at| check_at > now || covers(check_at))
            })
    }

    fn is_throttled(&self) -> bool {
        self.throttled_until().is_some()
    }

    /// Until when the last call, which was throttled, asks for silence.
    fn throttled_until(&self) -> Option<Timestamp> {
        let throttled = |failure: &&FailureStreak| failure.error.reason() == reasons::THROTTLED;
        self.call_failure.as_ref().filter(throttled).map(|failure| failure.retry_at)
    }

    /// Whether a list may be requested with this credential: not during a back-off, unless the
    /// credential is a new one and may be the cure.
    pub fn may_list(&self, credential: Fingerprint, now: Timestamp) -> bool {
        if self.throttled_until().is_some_and(|until| now < until) {
            return false;
        }
        self.list_failure.as_ref().is_none_or(|failure| {
            now >= failure.retry_at || (self.credential != Some(credential) && failure.error.needs_change())
        })
    }

    /// Whether lists or calls fail, so that a changed Secret may be the cure.
    pub fn is_failing(&self) -> bool {
        self.list_failure.is_some() || self.call_failure.is_some()
    }

    /// True while no call may be sent.
    pub fn calls_blocked(&self, now: Timestamp) -> bool {
        self.list_failure.is_some() || self.call_failure.as_ref().is_some_and(|failure| now < failure.retry_at)
    }

    /// When the instance is to be listed next: at the poll interval, or at `wanted` if that is
    /// sooner and the service may be asked then. While anything fails, the Secret is read again
    /// well within the promised time.
    pub fn next_list(&mut self, poll: Duration, wanted: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.check_at = wanted;
        let regular = match &self.list {
            Some(list) if self.list_failure.is_none() => add(list.requested_at, self.timings.jittered(poll)),
            _ => add(now, poll),
        };
        let blocked_until = self.list_failure.as_ref().map(|failure| failure.retry_at).max(self.throttled_until());
        // No list before the service may be asked again, but time alone may change a condition.
        let (regular, wanted) = match blocked_until.filter(|&until| now < until) {
            Some(until) => (regular.max(until), wanted.map(|time| if time > now { time } else { until })),
            None => (regular, wanted),
        };
        let retry = self.list_failure.as_ref().map(|failure| failure.retry_at);
        let secret = self.is_failing().then(|| add(now, self.timings.secret_refresh.min(poll).mul_f64(0.8)));
        [wanted, retry, secret].into_iter().flatten().fold(regular, Timestamp::min)
    }

    /// Compares with the stored instance: an edit or `requestedAt` ends its back-offs.
    pub fn sync(&mut self, desired: &Desired, now: Timestamp) {
        // A request is answered by a list of its own, however young the last one is.
        let tokens = desired.unanswered_requests();
        match &self.pending_requests {
            _ if tokens.is_empty() => self.pending_requests = None,
            Some(known) if known.tokens == tokens => {}
            _ => self.pending_requests = Some(PendingRequests { tokens, first_seen: now }),
        }
        let seen = desired.instance().map(|instance| InstanceRevision {
            uid: instance.object.metadata.uid.clone().unwrap_or_default(),
            generation: instance.generation,
            requested_at: instance.requested_at.clone(),
        });
        if self.instance == seen {
            return;
        }
        let uid = |revision: &Option<InstanceRevision>| revision.as_ref().map(|revision| revision.uid.clone());
        if self.instance.is_some() && uid(&self.instance) != uid(&seen) {
            // What is known is about another ROMA instance than the next object of this name means.
            (self.list, self.list_failure, self.call_failure, self.last_call_ended) = (None, None, None, None);
        }
        self.knew_instance |= seen.is_some();
        self.instance = seen;
        for failure in self.failures_mut() {
            failure.retry_at = failure.retry_at.min(now);
        }
    }

    /// Whether an `FdiInstance` was ever seen.
    pub fn knew_instance(&self) -> bool {
        self.knew_instance
    }

    /// Takes in what step 2 found, unless that is about an `FdiInstance` that was replaced
    /// meanwhile.
    pub fn record_list(&mut self, observed: Observed, now: Timestamp) {
        if self.instance.as_ref().map(|instance| &instance.uid) != observed.instance.as_ref() {
            return;
        }
        if let Some(credential) = observed.credential
            && self.credential.replace(credential) != Some(credential)
        {
            for failure in self.failures_mut().filter(|failure| failure.error.needs_change()) {
                failure.retry_at = failure.retry_at.min(now);
            }
        }
        match observed.list {
            Some(Ok(list)) => {
                self.list = Some(list);
                self.list_failure = None;
            }
            Some(Err(error)) => {
                self.list_failure = Some(FailureStreak::after(self.list_failure.as_ref(), error, now, &self.timings));
            }
            None => {}
        }
    }

    /// Clears the call failure once no task needs a call: no later call would clear it. Only a list
    /// that was requested after the last call can show that.
    pub fn clear_call_failure(&mut self) {
        if self.last_call_ended.is_none_or(|ended| self.list.as_ref().is_some_and(|list| list.requested_at >= ended)) {
            self.call_failure = None;
        }
    }

    /// A call was answered per task, or refused for a task in it: calls work.
    pub fn record_call_success(&mut self, ended: Timestamp) {
        self.record_call(ended);
        self.call_failure = None;
    }

    /// A call was sent; the last list does not show what it did.
    pub fn record_call(&mut self, ended: Timestamp) {
        self.last_call_ended = Some(ended);
    }

    /// Calls failed, or could not be sent, for a cause that concerns the whole instance: one
    /// failure, however many calls were in flight together.
    pub fn record_call_failure(&mut self, error: CallError, at: Timestamp) {
        let streak = FailureStreak::after(self.call_failure.as_ref(), InstanceError::Call(error), at, &self.timings);
        self.call_failure = Some(streak);
    }

    fn failures_mut(&mut self) -> impl Iterator<Item = &mut FailureStreak> {
        [&mut self.list_failure, &mut self.call_failure].into_iter().flatten()
    }
}
