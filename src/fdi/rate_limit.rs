//! Limits the requests to one instance, lists and calls alike: their rate, and how many are in
//! flight.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::fdi::adaptive_rate::AdaptiveRate;
use crate::fdi::error::{CallError, Cause, Class};

/// A request that would wait longer for the rate fails instead: whoever wants it chooses again
/// later.
const MAX_WAIT: Duration = Duration::from_secs(45);

/// The limits of one instance. They outlive sign-ins: a rotated Secret does not refill the burst.
pub struct RequestLimiter {
    rate: Mutex<AdaptiveRate>,
    in_flight: Arc<Semaphore>,
    max_in_flight: u32,
}

impl RequestLimiter {
    /// `requests_per_second` with a burst of as many (at least 2: a list and a call), and at most
    /// `max_concurrent_calls` at a time. Zero counts as one: to send nothing, suspend the instance.
    pub fn new(requests_per_second: u32, max_concurrent_calls: u32) -> Self {
        let max_in_flight = max_concurrent_calls.max(1);
        let permits = usize::try_from(max_in_flight).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            rate: Mutex::new(AdaptiveRate::new(requests_per_second, Instant::now().into_std())),
            in_flight: Arc::new(Semaphore::new(permits)),
            max_in_flight,
        }
    }

    /// Waits for a place among the requests in flight, first come, first served, then for the rate.
    ///
    /// # Errors
    /// When the service has said to wait for longer than a request should.
    pub async fn acquire(&self) -> Result<Place, CallError> {
        loop {
            let permits = self.permits_of_one();
            // The semaphore is never closed; if it were, the rate would still be limited.
            let permit = Arc::clone(&self.in_flight).acquire_many_owned(permits).await.ok();
            // The service may have throttled while this request waited.
            while permits == self.permits_of_one() {
                let now = Instant::now();
                let Err(next) = self.rate.lock().try_acquire(now.into_std()) else {
                    return Ok(Place { sent: now, _permit: permit });
                };
                let wait = next.saturating_duration_since(now.into_std());
                if wait > MAX_WAIT {
                    return Err(throttled(wait));
                }
                sleep_until(now + wait).await;
            }
        }
    }

    /// The service served the request that had `place`.
    pub fn record_served(&self) {
        self.rate.lock().record_served(Instant::now().into_std());
    }

    /// The service refused the request that had `place` because there were too many.
    pub fn record_throttled(&self, place: &Place, retry_after: Option<Duration>) {
        self.rate.lock().record_throttled(place.sent.into_std(), retry_after, Instant::now().into_std());
    }

    /// While the service throttles, a request takes all permits: one at a time is in flight.
    fn permits_of_one(&self) -> u32 {
        if self.rate.lock().is_throttled() { self.max_in_flight } else { 1 }
    }
}

fn throttled(wait: Duration) -> CallError {
    let seconds = wait.as_secs();
    let message = format!(
        "The service has throttled requests and said how long to wait: {seconds} s are left. Nothing is sent until then."
    );
    let error = CallError::new(Class::Throttled, Cause::Throttled, "Throttled", &message);
    CallError { retry_after: Some(wait), ..error }
}

impl fmt::Debug for RequestLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLimiter").field("free", &self.in_flight.available_permits()).finish_non_exhaustive()
    }
}

/// The place of one request among those in flight; dropping it releases it.
#[derive(Debug)]
pub struct Place {
    sent: Instant,
    _permit: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn no_more_calls_than_allowed_are_in_flight_and_a_dropped_place_is_free_again() {
        let limits = RequestLimiter::new(100, 2);
        let first = limits.acquire().await;
        let _second = limits.acquire().await;
        assert!(limits.acquire().now_or_never().is_none(), "a third request beside two in flight");
        drop(first);
        assert!(limits.acquire().now_or_never().is_some(), "a dropped place is free");
    }

    #[tokio::test]
    async fn a_future_that_is_dropped_while_waiting_takes_no_place() {
        let limits = RequestLimiter::new(100, 1);
        let held = limits.acquire().await;
        drop(limits.acquire().now_or_never());
        drop(held);
        assert!(limits.acquire().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_burst_requests_come_at_the_rate() {
        let limits = RequestLimiter::new(20, 100);
        for _ in 0..20 {
            assert!(limits.acquire().now_or_never().is_some(), "the burst goes at once");
        }
        assert!(limits.acquire().now_or_never().is_none(), "the next one waits");
        let started = Instant::now();
        limits.acquire().await.unwrap();
        let waited = started.elapsed();
        assert!((Duration::from_millis(49)..Duration::from_millis(60)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn once_throttled_one_request_is_in_flight_and_the_wait_that_was_named_lies_between_any_two() {
        let limits = RequestLimiter::new(5, 2);
        let throttled = limits.acquire().await.unwrap();
        let beside = limits.acquire().await.unwrap();
        limits.record_throttled(&throttled, Some(seconds(3)));
        drop(throttled);
        let started = Instant::now();
        assert!(limits.acquire().now_or_never().is_none());
        tokio::time::advance(seconds(4)).await;
        assert!(limits.acquire().now_or_never().is_none(), "the other one is still in flight");
        drop(beside);
        drop(limits.acquire().await.unwrap());
        let first = started.elapsed();
        let second = limits.acquire().await.unwrap();
        assert!(started.elapsed() >= first + seconds(3), "{:?} after {first:?}", started.elapsed());
        assert!(limits.acquire().now_or_never().is_none(), "a second one beside it");
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_when_the_service_throttles_wait_in_turn() {
        let limits = RequestLimiter::new(5, 2);
        let places = [limits.acquire().await.unwrap(), limits.acquire().await.unwrap()];
        let waiting = async { tokio::join!(limits.acquire(), limits.acquire()) };
        let throttling = async {
            limits.record_throttled(&places[0], Some(seconds(2)));
            drop(places);
            tokio::time::sleep(seconds(10)).await;
        };
        // Both never have a place at once, so they never end together.
        tokio::select! {
            _ = waiting => panic!("two requests in flight while the service throttles"),
            () = throttling => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_of_an_hour_is_an_error_that_says_how_long() {
        let limits = RequestLimiter::new(5, 2);
        let place = limits.acquire().await.unwrap();
        limits.record_throttled(&place, Some(seconds(3600)));
        drop(place);
        let error = limits.acquire().now_or_never().unwrap().unwrap_err();
        assert_eq!((error.class, error.retry_after), (Class::Throttled, Some(seconds(3600))));
        assert!(error.message.contains("3600 s"), "{}", error.message);
    }
}
