//! A circuit breaker for a credential, because refusals lock: six wrong signatures in a row lock an
//! access key for all its users, and wrong passwords lock a user.
//!
//! So a credential that is refused is refused at most [`REFUSALS_MAX`] times in [`WINDOW`], however
//! many instances use it. One that was never accepted, or was just refused, is probed by one
//! request at a time; an accepted one is used freely. Changed Secret data is another credential
//! with a breaker of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::fdi::error::{CallError, Cause, Class};
use crate::time::backoff::Backoff;

pub const REFUSALS_MAX: usize = 3;
pub const WINDOW: Duration = Duration::from_mins(5);

const BACKOFF: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_mins(10) };

/// A probe that hangs must not block the other instances: after this long the next one may start
/// beside it, as long as [`REFUSALS_MAX`] holds even if all of them are refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a credential is accepted: closed, open until a time, or half-open.
pub struct CircuitBreaker {
    state: Mutex<State>,
    /// Probes take turns, first come, first served.
    probe: Arc<Semaphore>,
    /// Signals that a probe ended or that the state changed.
    changed: Notify,
}

struct State {
    closed: bool,
    /// Refusals within the last [`WINDOW`].
    refusals: VecDeque<Instant>,
    /// Refusals in a row; the waits grow with it.
    streak: u32,
    open_until: Option<(Instant, CallError)>,
    /// Probes in flight.
    probes: usize,
    last_used: Instant,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                closed: false,
                refusals: VecDeque::new(),
                streak: 0,
                open_until: None,
                probes: 0,
                last_used: Instant::now(),
            }),
            probe: Arc::new(Semaphore::new(1)),
            changed: Notify::new(),
        }
    }
}

impl CircuitBreaker {
    /// Admits one request with the credential. Waits while another request probes it.
    ///
    /// # Errors
    /// While the circuit is open: the last refusal, with the time until the next attempt.
    pub async fn admit(self: &Arc<Self>) -> Result<Admission, CallError> {
        loop {
            let changed = self.changed.notified();
            if let Some(admission) = self.enter(None)? {
                return Ok(admission);
            }
            let turn = timeout(PATIENCE, Arc::clone(&self.probe).acquire_owned()).await;
            let probe = Probe { _turn: turn.ok().and_then(Result::ok) };
            if let Some(admission) = self.enter(Some(probe))? {
                return Ok(admission);
            }
            // An old refusal leaves the window without a signal.
            let _ = timeout(PATIENCE, changed).await;
        }
    }

    /// Admits any request while the circuit is closed, and a `probe` while there is room for one.
    fn enter(self: &Arc<Self>, probe: Option<Probe>) -> Result<Option<Admission>, CallError> {
        let mut state = self.state();
        let now = Instant::now();
        state.last_used = now;
        if let Some((until, error)) = &state.open_until
            && *until > now
        {
            return Err(CallError { retry_after: Some(*until - now), ..error.clone() });
        }
        let probe = probe.filter(|_| !state.closed);
        if probe.is_some() && state.has_room_for_a_probe() {
            state.probes += 1;
        } else if !state.closed {
            return Ok(None);
        }
        Ok(Some(Admission { breaker: Arc::clone(self), since: now, probe }))
    }

    pub fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    pub fn idle(&self) -> Duration {
        self.state().last_used.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn forget_old_refusals(&mut self) {
        while self.refusals.front().is_some_and(|refusal| refusal.elapsed() >= WINDOW) {
            self.refusals.pop_front();
        }
    }

    fn has_room_for_a_probe(&mut self) -> bool {
        self.forget_old_refusals();
        self.probes + self.refusals.len() < REFUSALS_MAX
    }

    /// Opens the circuit. Returns for how long.
    fn refused(&mut self, since: Instant, error: &CallError) -> Duration {
        let now = Instant::now();
        // Requests that were in flight together are one mistake, though each counts in the window.
        if self.refusals.back().is_none_or(|last| since >= *last) {
            self.streak = self.streak.saturating_add(1);
        }
        self.closed = false;
        self.refusals.push_back(now);
        self.forget_old_refusals();
        // Up to a tenth more, so that operators that share a key do not retry at the same moment.
        let wait = BACKOFF.exponential(self.streak).mul_f64(1.0 + rand::random::<f64>() / 10.0);
        let mut until = now + wait;
        if let Some(leaves_room) = self.refusals.len().checked_sub(REFUSALS_MAX) {
            until = until.max(self.refusals[leaves_room] + WINDOW);
        }
        self.open_until = Some((until, error.clone()));
        until - now
    }
}

/// A request that probes the credential; without a turn when it ran out of patience.
struct Probe {
    _turn: Option<OwnedSemaphorePermit>,
}

/// Permission for one request. Dropping it without a verdict (no response, or one that says nothing
/// about the sign-in) teaches nothing.
pub struct Admission {
    breaker: Arc<CircuitBreaker>,
    since: Instant,
    probe: Option<Probe>,
}

impl Admission {
    /// The service accepted the sign-in.
    pub fn accepted(self) {
        let mut state = self.breaker.state();
        // A refusal that came after this request was sent is more recent.
        if state.refusals.back().is_none_or(|last| self.since >= *last) {
            state.closed = true;
            state.streak = 0;
            state.open_until = None;
        }
    }

    /// The service refused the sign-in with `error`, which then says when the next attempt is due.
    pub fn refused(self, error: &mut CallError) {
        error.retry_after = Some(self.breaker.state().refused(self.since, error));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.probe.is_some() {
            let mut state = self.breaker.state();
            state.probes = state.probes.saturating_sub(1);
        }
        self.breaker.changed.notify_waiters();
    }
}

/// Whether `outcome` shows that the service accepted the credential, whatever else it said.
pub fn authenticates<T>(outcome: &Result<T, CallError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => matches!(error.class, Class::Split | Class::SplitOnce) || error.cause == Cause::Forbidden,
    }
}

#[cfg(test)]
mod tests;
