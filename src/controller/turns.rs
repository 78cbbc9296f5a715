//! The instances of one namespace compute in turns. A reconcile of large objects can keep a thread
//! busy for long; so the instances of one tenant occupy one thread at the most, and tenants whose
//! turns are long share one, of low priority, beside those that serve everybody else and `/livez`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::low_priority;
use crate::time::cpu;

/// CPU time of a turn that keeps others waiting. One of a hundred groups of ten tasks takes a fifth
/// of it.
const LONG: Duration = Duration::from_millis(10);
/// For how long the next turns are expected to be long as well.
const EXPECTED_FOR: Duration = Duration::from_mins(1);

/// The thread for long turns.
#[derive(Debug, Clone)]
pub struct LongTurns(Arc<Semaphore>);

/// The turn of one namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Turn>);

#[derive(Debug)]
struct Turn {
    free: Semaphore,
    last_long: Mutex<Option<Instant>>,
    long_turns: LongTurns,
}

impl Default for LongTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turns {
    pub fn new(long_turns: &LongTurns) -> Self {
        let (free, last_long) = (Semaphore::new(1), Mutex::default());
        Self(Arc::new(Turn { free, last_long, long_turns: long_turns.clone() }))
    }

    /// Runs the future, each step of it while no other future of these turns is in one. While it
    /// waits for something it has no turn.
    pub async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send> + Send,
    {
        let mut future = pin!(future);
        loop {
            let step = {
                // An error says that the semaphore was closed, which nobody does.
                let _turn = self.0.free.acquire().await;
                if self.expects_long() {
                    let _thread = self.0.long_turns.0.acquire().await;
                    poll_fn(|task| Poll::Ready(block_in_place(|| self.long_step(future.as_mut(), task.waker())))).await
                } else {
                    poll_fn(|task| Poll::Ready(self.step(future.as_mut(), task))).await
                }
            };
            match step {
                Poll::Ready(output) => return output,
                Poll::Pending => woken().await,
            }
        }
    }

    /// Whether a future has or awaits a turn.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// A long turn must not be a step of a worker thread of the runtime: tasks that it wakes wait
    /// for its end there, whatever the other threads do.
    fn expects_long(&self) -> bool {
        let recently = self.0.last_long.lock().is_some_and(|last| last.elapsed() < EXPECTED_FOR);
        recently && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread
    }

    /// A step of a namespace with large objects: they may come later than those of others.
    fn long_step<F>(&self, mut future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output>
    where
        F: Future<Output: Send> + Send,
    {
        low_priority::run(|| self.step(future.as_mut(), &mut Context::from_waker(waker)))
    }

    fn step<F: Future>(&self, future: Pin<&mut F>, task: &mut Context<'_>) -> Poll<F::Output> {
        let before = cpu::of_this_thread();
        let progress = future.poll(task);
        if cpu::of_this_thread().saturating_sub(before) > LONG {
            *self.0.last_long.lock() = Some(Instant::now());
        }
        progress
    }
}

/// Resolves when the task is woken, which its future has asked for.
async fn woken() {
    let mut asked = false;
    poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// As many as the operator has by default.
    fn with_two_threads() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn compute_for_long() {
        let end = cpu::of_this_thread() + LONG * 2;
        while cpu::of_this_thread() < end {}
    }

    #[test]
    fn futures_that_block_their_threads_leave_one_to_the_others() {
        let runtime = with_two_threads();
        let turns = Turns::new(&LongTurns::default());
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        for _ in 0..5 {
            let (turns, blocked) = (turns.clone(), Arc::clone(&blocked));
            runtime.spawn(async move { turns.run(async move { blocked.lock().unwrap().recv().unwrap_err() }).await });
        }
        let (done, is_done) = mpsc::channel();
        runtime.spawn(async move {
            for _ in 0..10 {
                yield_now().await;
            }
            Turns::new(&LongTurns::default()).run(async move { done.send(()).unwrap() }).await;
        });
        let served = is_done.recv_timeout(Duration::from_secs(10));
        drop(release);
        assert!(served.is_ok(), "all threads are blocked");
    }

    #[test]
    fn a_task_that_was_woken_by_a_long_turn_does_not_wait_for_its_end() {
        let runtime = with_two_threads();
        let turns = Turns::new(&LongTurns::default());
        let (release, blocked) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        runtime.spawn(async move {
            let steps = async move {
                compute_for_long();
                yield_now().await;
                // The runtime prefers to run it here, next.
                tokio::spawn(async move { done.send(()) });
                blocked.recv().unwrap_err();
            };
            turns.run(steps).await;
        });
        let served = is_done.recv_timeout(Duration::from_secs(10));
        drop(release);
        assert!(served.is_ok(), "it waits");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_long_turn_the_next_ones_have_a_low_priority() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let runtime = with_two_threads();
        let turns = Turns::new(&LongTurns::default());
        let (first, next) = runtime
            .block_on(runtime.spawn(async move {
                let steps = async {
                    let first = niceness();
                    compute_for_long();
                    yield_now().await;
                    (first, niceness())
                };
                turns.run(steps).await
            }))
            .unwrap();
        assert!(next > first || first == 19, "{first} {next}");
    }

    #[test]
    fn all_of_them_end_and_none_waits_for_one_that_sleeps_or_was_dropped() {
        let runtime = with_two_threads();
        let turns = Turns::new(&LongTurns::default());
        runtime.block_on(async {
            let mut running = JoinSet::new();
            for sleeps in [true, false].iter().cycle().take(100) {
                let turns = turns.clone();
                let steps = async move {
                    turns
                        .run(async {
                            for _ in 0..20 {
                                yield_now().await;
                            }
                            if *sleeps {
                                std::future::pending::<()>().await;
                            }
                        })
                        .await;
                };
                let within = Duration::from_millis(if *sleeps { 20 } else { 10_000 });
                running.spawn(tokio::time::timeout(within, steps));
            }
            let ended = running.join_all().await.into_iter().flatten().count();
            assert_eq!(ended, 50);
        });
        assert!(!turns.is_used());
    }
}
