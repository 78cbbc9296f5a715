//! Long responses are read a few at a time: at a start there is one for each instance, and each
//! takes memory until the last byte is there.
//!
//! All tenants share the turns, so nobody can use them up: a response that is slow gives its turn
//! back, and none waits for a turn longer than a moment.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

/// Turns at once: more than the operator has threads.
const TURNS: usize = 4;
/// A response of fewer bytes needs no turn.
const LONG: usize = 64 * 1024;
/// A response that is there in whole is read well within this time, on a busy node too.
const HOLD_MAX: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The turns of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadTurns(Arc<Semaphore>);

impl Default for ReadTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURNS)))
    }
}

/// The turn of one response.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a ReadTurns,
    permit: Option<SemaphorePermit<'a>>,
    /// `None`: it has not needed one yet.
    until: Option<Instant>,
}

impl ReadTurns {
    pub fn turn(&self) -> Turn<'_> {
        Turn { turns: self, permit: None, until: None }
    }
}

impl Turn<'_> {
    /// Reads on, once it is the turn of a response that has or will have so many bytes.
    pub async fn read<T>(&mut self, length: usize, reading: impl Future<Output = T>) -> T {
        if length >= LONG && self.until.is_none() {
            self.permit = timeout(WAIT_MAX, self.turns.0.acquire()).await.ok().and_then(Result::ok);
            self.until = Some(Instant::now() + HOLD_MAX);
        }
        let mut reading = pin!(reading);
        if let Some(until) = self.until.filter(|_| self.permit.is_some()) {
            if let Ok(read) = timeout_at(until, &mut reading).await {
                return read;
            }
            self.permit = None;
        }
        reading.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::future::join_all;

    use super::*;

    async fn taken(turns: &ReadTurns) -> Vec<Turn<'_>> {
        let mut taken: Vec<Turn<'_>> = (0..TURNS).map(|_| turns.turn()).collect();
        join_all(taken.iter_mut().map(|turn| turn.read(LONG, ready(())))).await;
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_response_waits_until_another_is_read_and_a_short_one_does_not() {
        let turns = ReadTurns::default();
        let taken = taken(&turns).await;
        let start = Instant::now();
        turns.turn().read(LONG - 1, ready(())).await;
        let (mut next, end) = (turns.turn(), Duration::from_millis(100));
        let ending = async {
            tokio::time::sleep(end).await;
            drop(taken);
        };
        tokio::join!(next.read(LONG, ready(())), ending);
        assert_eq!(start.elapsed(), end);
    }

    #[tokio::test(start_paused = true)]
    async fn responses_that_hang_hold_up_others_for_a_moment_only() {
        let turns = ReadTurns::default();
        let mut taken = taken(&turns).await;
        let start = Instant::now();
        let hanging = join_all(taken.iter_mut().map(|turn| turn.read(LONG, pending::<()>())));
        let mut next = turns.turn();
        tokio::select! {
            _ = hanging => unreachable!("they hang"),
            () = next.read(LONG, ready(())) => {}
        }
        assert!((HOLD_MAX..HOLD_MAX * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
        drop(next);
        let (_held, start) = (join_all((0..TURNS).map(|_| turns.0.acquire())).await, Instant::now());
        turns.turn().read(LONG, ready(())).await;
        assert!(start.elapsed() < WAIT_MAX * 2, "however long they are held");
    }
}
