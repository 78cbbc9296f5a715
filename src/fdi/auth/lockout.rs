//! Guards users and access keys against lock-outs by values that were never accepted.
//!
//! Anybody may write a Secret with somebody else's access key ID or user name and a wrong secret.
//! Six such requests in a row lock the key for those who have the right one, so all never accepted
//! values for one key or user share a small budget. Values that were accepted once have their own.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Refusals count this long.
pub const WINDOW: Duration = Duration::from_mins(5);

/// Most refused requests in [`WINDOW`]. With those of accepted values they stay below six.
pub const UNKNOWN_MAX: usize = 2;

/// An access key or user of one site, whichever secret is sent with it.
#[derive(Debug, Default)]
pub struct Principal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    refusals: VecDeque<Instant>,
    in_flight: usize,
}

/// Whether a request with a value that was never accepted may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    Granted,
    /// The budget depends on requests that are in flight.
    Busy,
    /// For so long.
    Exhausted(Duration),
}

impl Principal {
    /// Reserves a request with a value that was never accepted; `retry`: it was refused before.
    ///
    /// A value that was not tried yet is preferred: others that are refused again and again must
    /// not keep the right one out.
    pub fn reserve(&self, retry: bool) -> Reservation {
        let mut state = self.0.lock();
        while state.refusals.front().is_some_and(|refusal| refusal.elapsed() >= WINDOW) {
            state.refusals.pop_front();
        }
        let room = if retry { 1 } else { UNKNOWN_MAX };
        match state.refusals.len().checked_sub(room) {
            Some(leaves_room) => Reservation::Exhausted(WINDOW.saturating_sub(state.refusals[leaves_room].elapsed())),
            None if state.refusals.len() + state.in_flight < room => {
                state.in_flight += 1;
                Reservation::Granted
            }
            None => Reservation::Busy,
        }
    }

    /// Ends a reserved request.
    pub fn release(&self, refused: bool) {
        let mut state = self.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if refused {
            state.refusals.push_back(Instant::now());
        }
    }
}
