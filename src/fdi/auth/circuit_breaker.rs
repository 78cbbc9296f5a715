//! What is known about each breaker, for all instances of the process together.
//!
//! Six wrong signatures in a row lock an access key for all its users, and wrong passwords lock a user. So a credential that
//! is refused is not tried again by everybody who has it: at most [`REFUSALS_MAX`] refusals in [`WINDOW`], whoever asks.
//! A credential that was never accepted, or was just refused, is tried by one request at a time; a closed one runs freely.
//! Changed Secret data are another breaker, which starts anew.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::fdi::auth::{Fingerprint, TokenCache};
use crate::fdi::error::{CallError, Cause, Class};

pub(crate) const REFUSALS_MAX: usize = 3;
pub(crate) const WINDOW: Duration = Duration::from_mins(5);

const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// A trial that hangs must not hold up the other instances that share the breaker: after this long the next one may
/// go beside it, as long as all of them refused would still be at most [`REFUSALS_MAX`].
const PATIENCE: Duration = Duration::from_secs(5);

/// How often one who must wait although no trial is in slot looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Entries are forgotten when unused for this long.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// Which breaker: where it is context for, and the hash of who it is with all secret data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CircuitKey {
    pub(crate) site: String,
    pub(crate) fingerprint: Fingerprint,
}

/// All credentials of the process.
#[derive(Default)]
pub(crate) struct CircuitBreakers {
    known: Mutex<HashMap<CircuitKey, Arc<CircuitBreaker>>>,
}

impl CircuitBreakers {
    /// The entry for `key`, shared by all who have the same.
    pub(crate) fn get(&self, key: CircuitKey) -> Arc<CircuitBreaker> {
        let mut known = self.known.lock();
        known.retain(|_, breaker| Arc::strong_count(breaker) > 1 || breaker.idle() < FORGET_AFTER);
        let breaker = known.entry(key).or_default();
        breaker.state().last_used = Instant::now();
        Arc::clone(breaker)
    }
}

impl fmt::Debug for CircuitBreakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CircuitBreakers")
    }
}

/// What is known about one breaker.
pub(crate) struct CircuitBreaker {
    state: Mutex<State>,
    trial: Arc<Semaphore>,
    /// The tokens that a password gave, by project.
    tokens: Mutex<HashMap<String, Arc<TokenCache>>>,
}

struct State {
    closed: bool,
    /// When it was refused, within the last [`WINDOW`].
    refusals: VecDeque<Instant>,
    /// Refusals since it was last accepted; makes the waits grow.
    streak: u32,
    open_until: Option<(Instant, CallError)>,
    /// Requests under way that try an unproven breaker.
    trials: usize,
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
                trials: 0,
                last_used: Instant::now(),
            }),
            trial: Arc::new(Semaphore::new(1)),
            tokens: Mutex::default(),
        }
    }
}

impl CircuitBreaker {
    /// Slot to send one request with this breaker. Waits while another request tries it.
    ///
    /// # Errors
    /// At once, with the last refusal and the time until the next try, while the credential is open_until.
    pub(crate) async fn admit(self: &Arc<Self>) -> Result<Admission, CallError> {
        loop {
            if let Some(admission) = self.enter(None)? {
                return Ok(admission);
            }
            let slot = tokio::time::timeout(PATIENCE, Arc::clone(&self.trial).acquire_owned()).await;
            let trial = Probe { _turn: slot.ok().and_then(Result::ok) };
            if let Some(admission) = self.enter(Some(trial))? {
                return Ok(admission);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets a closed credential through, and an unproven one as `trial` while there is room for one.
    fn enter(self: &Arc<Self>, trial: Option<Probe>) -> Result<Option<Admission>, CallError> {
        let mut state = self.state();
        let now = Instant::now();
        state.last_used = now;
        if let Some((until, error)) = &state.open_until
            && *until > now
        {
            return Err(CallError { retry_after: Some(*until - now), ..error.clone() });
        }
        let trial = trial.filter(|_| !state.closed);
        if trial.is_some() && state.room_for_a_trial() {
            state.trials += 1;
        } else if !state.closed {
            return Ok(None);
        }
        Ok(Some(Admission { breaker: Arc::clone(self), since: now, trial }))
    }

    /// The token for `project_id`, for all who have this password.
    pub(crate) fn password_sign_in(&self, project_id: &str) -> Arc<TokenCache> {
        let mut tokens = self.tokens.lock();
        Arc::clone(tokens.entry(project_id.to_owned()).or_default())
    }

    fn idle(&self) -> Duration {
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

    fn room_for_a_trial(&mut self) -> bool {
        self.forget_old_refusals();
        self.trials + self.refusals.len() < REFUSALS_MAX
    }

    /// Bars the credential; for how long.
    fn refused(&mut self, since: Instant, error: &CallError) -> Duration {
        let now = Instant::now();
        // Requests that were under way together are one mistake, not several; they count all the same for the bound.
        if self.refusals.back().is_none_or(|last| since >= *last) {
            self.streak = self.streak.saturating_add(1);
        }
        self.closed = false;
        self.refusals.push_back(now);
        self.forget_old_refusals();
        let growth = 1_u32.checked_shl(self.streak.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = FIRST_WAIT.saturating_mul(growth).min(LONGEST_WAIT);
        // Up to a tenth more, so that operators that share a key do not try it at the same moment.
        let mut until = now + wait.mul_f64(1.0 + rand::random::<f64>() / 10.0);
        if let Some(leaves_room) = self.refusals.len().checked_sub(REFUSALS_MAX) {
            until = until.max(self.refusals[leaves_room] + WINDOW);
        }
        self.open_until = Some((until, error.clone()));
        until - now
    }
}

/// The slot of one request to try an unproven credential; without a permit when it lost its patience.
struct Probe {
    _turn: Option<OwnedSemaphorePermit>,
}

/// Slot for one request. Dropped without a is_consistent (no answer, or one that says nothing about the sign-in) nothing is learnt.
pub(crate) struct Admission {
    breaker: Arc<CircuitBreaker>,
    since: Instant,
    trial: Option<Probe>,
}

impl Admission {
    /// The service let the request in.
    pub(crate) fn accepted(self) {
        let mut state = self.breaker.state();
        // A refusal that came after this request was sent knows better.
        if state.refusals.back().is_none_or(|last| self.since >= *last) {
            state.closed = true;
            state.streak = 0;
            state.open_until = None;
        }
    }

    /// The service refused the sign-in, with `error`, which then says when the credential may be tried again.
    pub(crate) fn refused(self, error: &mut CallError) {
        error.retry_after = Some(self.breaker.state().refused(self.since, error));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.trial.is_some() {
            let mut state = self.breaker.state();
            state.trials = state.trials.saturating_sub(1);
        }
    }
}

/// Whether `outcome` shows that the service knew the breaker, whatever else it said.
pub(crate) fn authenticates<T>(outcome: &Result<T, CallError>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => matches!(error.class, Class::Split | Class::SplitOnce) || error.cause == Cause::Forbidden,
    }
}

#[cfg(test)]
mod tests;
