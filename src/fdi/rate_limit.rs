//! Limits the requests to one instance, lists and calls alike: their rate, and how many are in
//! flight.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of one instance. They outlive sign-ins: a rotated Secret does not refill the burst.
pub struct RequestLimiter {
    rate: DefaultDirectRateLimiter,
    in_flight: Arc<Semaphore>,
}

impl RequestLimiter {
    /// `requests_per_second` with a burst of as many (at least 2: a list and a call), and at most
    /// `max_concurrent_calls` at a time. Zero counts as one: to send nothing, suspend the instance.
    pub fn new(requests_per_second: u32, max_concurrent_calls: u32) -> Self {
        let rate = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = rate.max(NonZeroU32::MIN.saturating_add(1));
        let places = usize::try_from(max_concurrent_calls.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            rate: RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)),
            in_flight: Arc::new(Semaphore::new(places)),
        }
    }

    /// Waits for a place among the requests in flight, first come, first served, then for the rate.
    pub async fn acquire(&self) -> Place {
        // The semaphore is never closed; if it were, the rate would still be limited.
        let permit = Arc::clone(&self.in_flight).acquire_owned().await.ok();
        self.rate.until_ready().await;
        Place { _permit: permit }
    }
}

impl fmt::Debug for RequestLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLimiter").field("free", &self.in_flight.available_permits()).finish_non_exhaustive()
    }
}

/// The place of one request among those in flight; dropping it releases it.
#[derive(Debug)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

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

    #[tokio::test]
    async fn beyond_the_burst_requests_come_at_the_rate() {
        let limits = RequestLimiter::new(20, 100);
        for _ in 0..20 {
            assert!(limits.acquire().now_or_never().is_some(), "the burst goes at once");
        }
        assert!(limits.acquire().now_or_never().is_none(), "the next one waits");
        let started = std::time::Instant::now();
        limits.acquire().await;
        assert!(started.elapsed() <= Duration::from_secs(2), "but not for long");
    }

    #[tokio::test]
    async fn the_slowest_rate_still_lets_a_list_and_a_call_go_together() {
        let limits = RequestLimiter::new(1, 2);
        let _list = limits.acquire().now_or_never().unwrap();
        assert!(limits.acquire().now_or_never().is_some());
    }
}
