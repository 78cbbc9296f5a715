//! Circuit breakers for a credential, because refusals lock: six wrong signatures in a row lock an
//! access key for all its users, and wrong passwords lock a user.
//!
//! A credential has a circuit for each target (an FDI instance, or IAM), which opens when that
//! target refuses it. What one instance refuses for reasons of its own does not take the credential
//! away from the others: while somebody has been accepted since, they use it freely. After a
//! refusal requests go one at a time until one is accepted; after [`REFUSALS_MAX`] refusals in a
//! row within [`WINDOW`] all circuits are open. A credential that was never accepted is probed by
//! one request at a time. Changed Secret data is another credential.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::fdi::auth::lockout::{Principal, Reservation, WINDOW};
use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::error_codes::{Meaning, meaning};
use crate::time::backoff::Backoff;

pub const REFUSALS_MAX: usize = 3;

const BACKOFF: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_mins(10) };

/// A probe that hangs must not block the other instances: after this long the next one may start
/// beside it, as long as [`REFUSALS_MAX`] holds even if all of them are refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait for the probes of others.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A circuit that was not used for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// What is known about one credential.
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    state: Mutex<State>,
    /// Whose values these are, where refusals can lock somebody.
    principal: Option<Arc<Principal>>,
    /// Those who want to probe take turns, first come, first served.
    queue: tokio::sync::Mutex<()>,
    /// Signals that a request ended.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The credential was accepted at least once.
    ever_accepted: bool,
    /// Some instance accepts the credential, as far as is known.
    proven: bool,
    circuits: HashMap<Arc<str>, Status>,
    /// Of all targets since the last acceptance.
    refusals: Refusals,
    /// Probes in flight, and when the latest one started.
    probes: usize,
    last_probe: Option<Instant>,
}

/// The circuit of one target.
#[derive(Debug)]
struct Status {
    closed: bool,
    refusals: Refusals,
    last_used: Instant,
}

/// Refusals in a row, and what follows from them.
#[derive(Debug, Default)]
struct Refusals {
    /// Within the last [`WINDOW`].
    recent: VecDeque<Instant>,
    /// How many in a row; the waits grow with it. Requests that were in flight together are one.
    streak: u32,
    last: Option<(Instant, CallError)>,
    open_until: Option<Instant>,
}

/// One credential at one target.
#[derive(Debug, Clone)]
pub struct Circuit {
    breaker: Arc<CircuitBreaker>,
    target: Arc<str>,
}

/// Whether a request may be sent now.
enum Entry {
    Admitted(Admission),
    Wait(Wait),
}

/// For what a request waits.
enum Wait {
    /// The end of another one.
    Another,
    /// The same, but not beyond this time.
    Until(Instant),
}

impl CircuitBreaker {
    pub fn new(principal: Option<Arc<Principal>>) -> Self {
        Self { principal, ..Self::default() }
    }

    pub fn circuit(self: &Arc<Self>, target: &str) -> Circuit {
        let mut state = self.state.lock();
        let target = if let Some((target, _)) = state.circuits.get_key_value(target) {
            Arc::clone(target)
        } else {
            state.circuits.retain(|_, status| status.last_used.elapsed() < FORGET_AFTER);
            Arc::from(target)
        };
        state.status(&target).last_used = Instant::now();
        Circuit { breaker: Arc::clone(self), target }
    }
}

impl Circuit {
    /// # Errors
    /// While the circuit is open: the last refusal, with the time until the next attempt.
    pub fn check(&self) -> Result<(), CallError> {
        self.breaker.state.lock().check(&self.target)
    }

    /// Admits one request. Waits a bounded time while others probe the credential.
    ///
    /// # Errors
    /// While the circuit is open: the last refusal, with the time until the next attempt. Class
    /// `Unavailable` when those before it get no response.
    pub async fn admit(&self) -> Result<Admission, CallError> {
        timeout(ADMISSION_TIMEOUT, self.wait()).await.unwrap_or_else(|_| {
            Err(CallError::unavailable(
                "SignInPending",
                "Another FdiInstance signs in with the same values and has no response yet. The operator tries again.",
            ))
        })
    }

    async fn wait(&self) -> Result<Admission, CallError> {
        if let Entry::Admitted(admission) = self.enter(false)? {
            return Ok(admission);
        }
        let _turn = self.breaker.queue.lock().await;
        loop {
            let changed = self.breaker.changed.notified();
            match self.enter(true)? {
                Entry::Admitted(admission) => return Ok(admission),
                Entry::Wait(Wait::Another) => changed.await,
                Entry::Wait(Wait::Until(time)) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(time) => {}
                    }
                }
            }
        }
    }

    /// Admits any request to a target that is free, and others where it is their turn to probe.
    fn enter(&self, turn: bool) -> Result<Entry, CallError> {
        let mut state = self.breaker.state.lock();
        state.check(&self.target)?;
        let status = state.status(&self.target);
        status.last_used = Instant::now();
        let (closed, refused_here) = (status.closed, status.refusals.streak > 0);
        if state.proven && state.refusals.streak == 0 && !refused_here {
            return Ok(Entry::Admitted(self.admission(false, false)));
        }
        if !turn {
            return Ok(Entry::Wait(Wait::Another));
        }
        if let Some(wait) = state.wait_for_a_probe(closed)? {
            return Ok(Entry::Wait(wait));
        }
        let principal = self.breaker.principal.as_ref().filter(|_| !state.ever_accepted);
        match principal.map(|principal| principal.reserve(state.refusals.streak > 0)) {
            Some(Reservation::Exhausted(wait)) => return Err(held_back(&state.refusals, wait)),
            Some(Reservation::Busy) => return Ok(Entry::Wait(Wait::Until(Instant::now() + PATIENCE))),
            Some(Reservation::Granted) | None => {}
        }
        let reserved = principal.is_some();
        state.probes += 1;
        state.last_probe = Some(Instant::now());
        Ok(Entry::Admitted(self.admission(true, reserved)))
    }

    fn admission(&self, probe: bool, reserved: bool) -> Admission {
        Admission { circuit: self.clone(), since: Instant::now(), probe, reserved, refused: false }
    }
}

/// The error for a value that was never accepted while its principal has no budget left.
fn held_back(refusals: &Refusals, wait: Duration) -> CallError {
    let error = match &refusals.last {
        Some((_, error)) => error.clone(),
        None => CallError::new(
            Class::SignIn,
            Cause::SignInRefused,
            "SignInHeldBack",
            "The service has just refused other values for this user or access key. More refusals would lock it, so the operator tries this Secret within five minutes.",
        ),
    };
    CallError { retry_after: Some(wait), ..error }
}

impl State {
    fn status(&mut self, target: &Arc<str>) -> &mut Status {
        let new = || Status { closed: false, refusals: Refusals::default(), last_used: Instant::now() };
        self.circuits.entry(Arc::clone(target)).or_insert_with(new)
    }

    /// Whether nothing is known to speak against a request to `target` now.
    fn check(&mut self, target: &Arc<str>) -> Result<(), CallError> {
        let here = self.status(target).refusals.open();
        let everywhere = self.refusals.open().filter(|_| !self.proven);
        here.into_iter().chain(everywhere).max_by_key(|error| error.retry_after).map_or(Ok(()), Err)
    }

    /// `None` when a probe may start.
    ///
    /// # Errors
    /// The last refusal, when the credential was refused too often of late.
    fn wait_for_a_probe(&mut self, closed: bool) -> Result<Option<Wait>, CallError> {
        self.refusals.forget_old();
        // The last one belongs to targets that accept the credential, as far as is known.
        let max = if closed || !self.proven { REFUSALS_MAX } else { REFUSALS_MAX - 1 };
        if self.probes + self.refusals.recent.len() < max {
            let next = self.last_probe.filter(|_| self.probes > 0).map(|started| started + PATIENCE);
            return Ok(next.filter(|next| *next > Instant::now()).map(Wait::Until));
        }
        match (&self.refusals.last, self.probes) {
            (Some((_, error)), 0) => Err(CallError { retry_after: Some(BACKOFF.base), ..error.clone() }),
            _ => Ok(Some(Wait::Another)),
        }
    }

    /// Takes in a refusal of `target`. Returns for how long its circuit is open.
    fn refused(&mut self, target: &Arc<str>, since: Instant, error: &CallError) -> Duration {
        let status = self.status(target);
        status.closed = false;
        let until = status.refusals.add(since, error);
        // A proven credential that many requests used at the same time was refused once.
        if !self.proven || self.refusals.before(since) {
            self.refusals.add(since, error);
        }
        let accepted_elsewhere = self.circuits.values().any(|status| status.closed);
        self.proven &= accepted_elsewhere && self.refusals.recent.len() < REFUSALS_MAX;
        let all_until = self.refusals.open_until.filter(|_| !self.proven);
        all_until.map_or(until, |all| all.max(until)) - Instant::now()
    }

    fn accepted(&mut self, target: &Arc<str>, since: Instant) {
        self.ever_accepted = true;
        let status = self.status(target);
        // A refusal that came after this request was sent is more recent.
        if status.refusals.before(since) {
            status.closed = true;
            status.refusals = Refusals::default();
        }
        if self.refusals.before(since) {
            self.proven = true;
            self.refusals = Refusals::default();
        }
    }
}

impl Refusals {
    /// Whether the last refusal came before `time`.
    fn before(&self, time: Instant) -> bool {
        self.last.as_ref().is_none_or(|(last, _)| *last <= time)
    }

    fn forget_old(&mut self) {
        while self.recent.front().is_some_and(|refusal| refusal.elapsed() >= WINDOW) {
            self.recent.pop_front();
        }
    }

    /// While the circuit is open: the last refusal, with the time until the next attempt.
    fn open(&self) -> Option<CallError> {
        let wait = self.open_until?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())?;
        self.last.as_ref().map(|(_, error)| CallError { retry_after: Some(wait), ..error.clone() })
    }

    /// One more refusal, of a request that was sent at `since`. Returns until when to wait.
    fn add(&mut self, since: Instant, error: &CallError) -> Instant {
        let now = Instant::now();
        if self.before(since) {
            self.streak = self.streak.saturating_add(1);
        }
        self.last = Some((now, error.clone()));
        self.recent.push_back(now);
        self.forget_old();
        // Up to a tenth more, so that operators that share a key do not retry at the same moment.
        let mut until = now + BACKOFF.exponential(self.streak).mul_f64(1.0 + rand::random::<f64>() / 10.0);
        if let Some(leaves_room) = self.recent.len().checked_sub(REFUSALS_MAX) {
            until = until.max(self.recent[leaves_room] + WINDOW);
        }
        let until = until.max(now + error.retry_after.unwrap_or_default());
        self.open_until = Some(until);
        until
    }
}

/// Permission for one request. Dropping it without a verdict (no response, or one that says nothing
/// about the sign-in) teaches nothing.
#[derive(Debug)]
pub struct Admission {
    circuit: Circuit,
    since: Instant,
    probe: bool,
    /// It uses the budget of the principal.
    reserved: bool,
    refused: bool,
}

impl Admission {
    /// The target accepted the credential.
    pub fn accepted(self) {
        self.circuit.breaker.state.lock().accepted(&self.circuit.target, self.since);
    }

    /// IAM accepted the password. Whether FDI accepts the token is another question.
    pub fn issued_token(self) {
        let mut state = self.circuit.breaker.state.lock();
        state.ever_accepted = true;
        let status = state.status(&self.circuit.target);
        if status.refusals.before(self.since) {
            status.refusals = Refusals::default();
        }
    }

    /// The target refused the credential with `error`, which then says when the next attempt is
    /// due.
    pub fn refused(mut self, error: &mut CallError) {
        self.refused = true;
        let wait = self.circuit.breaker.state.lock().refused(&self.circuit.target, self.since, error);
        error.retry_after = Some(error.retry_after.map_or(wait, |named| named.max(wait)));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let breaker = &self.circuit.breaker;
        if self.probe {
            let mut state = breaker.state.lock();
            state.probes = state.probes.saturating_sub(1);
        }
        if let Some(principal) = breaker.principal.as_ref().filter(|_| self.reserved) {
            principal.release(self.refused);
        }
        breaker.changed.notify_waiters();
    }
}

/// Whether `outcome` shows that the service accepted the credential, whatever else it said.
pub fn authenticates<T>(outcome: &Result<T, CallError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => {
            matches!(meaning(&error.code), Meaning::SomeTask | Meaning::Fdi) || error.cause == Cause::Forbidden
        }
    }
}

#[cfg(test)]
mod tests;
