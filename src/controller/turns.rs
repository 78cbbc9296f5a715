//! The instances of one namespace compute in turns. A reconcile of large objects can keep a thread
//! busy for long; so the instances of one tenant occupy one thread at the most, and the others
//! serve everybody else and `/livez`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;

use tokio::sync::Semaphore;

/// The turn of one namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turns {
    /// Runs the future, each step of it while no other future of these turns is in one. While it
    /// waits for something it has no turn.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut turn = None;
        poll_fn(|task| {
            let awaited = turn.get_or_insert_with(|| Box::pin(self.0.acquire()));
            // An error says that the semaphore was closed, which nobody does.
            let _turn = ready!(awaited.as_mut().poll(task));
            turn = None;
            future.as_mut().poll(task)
        })
        .await
    }

    /// Whether a future has or awaits a turn.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
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

    #[test]
    fn futures_that_block_their_threads_leave_one_to_the_others() {
        let runtime = with_two_threads();
        let turns = Turns::default();
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
            Turns::default().run(async move { done.send(()).unwrap() }).await;
        });
        let served = is_done.recv_timeout(Duration::from_secs(10));
        drop(release);
        assert!(served.is_ok(), "all threads are blocked");
    }

    #[test]
    fn all_of_them_end_and_none_waits_for_one_that_sleeps_or_was_dropped() {
        let runtime = with_two_threads();
        let turns = Turns::default();
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
