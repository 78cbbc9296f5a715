//! How fast an instance may be asked: at the configured rate, or slower once the service has
//! throttled. Pure: the time is an argument.
//!
//! The rate falls by half with each throttled request and rises slowly with those that are served,
//! as TCP does it: quickly to just below where it was throttled, then in small steps.

use std::time::{Duration, Instant};

/// The slowest rate: one request in 30 s, so that a list of two pages still ends within its limit.
const MIN_RATE: f64 = 1.0 / 30.0;
/// The rate rises quickly up to this part of the rate that was throttled.
const SAFE_PART: f64 = 0.9;
/// What each request that is served adds to a rate below that.
const QUICK_RISE: f64 = 1.25;
/// The most that one adds above it.
const SLOW_RISE: f64 = 0.03;
/// How long it takes at least to come back from a standstill to the configured rate.
const FULL_RECOVERY: Duration = Duration::from_mins(30);

/// A token bucket whose rate adapts.
#[derive(Debug)]
pub struct AdaptiveRate {
    /// Requests per second.
    configured: f64,
    rate: f64,
    /// Below this the service did not throttle.
    safe: f64,
    burst: f64,
    tokens: f64,
    updated: Instant,
    /// No request before this, whatever tokens there are.
    not_before: Instant,
    last_throttled: Option<Instant>,
    last_served: Option<Instant>,
}

impl AdaptiveRate {
    /// `requests_per_second` with a burst of as many (at least 2: a list and a call). Zero counts
    /// as one: an instance that may never be asked is suspended, not limited.
    pub fn new(requests_per_second: u32, now: Instant) -> Self {
        let configured = f64::from(requests_per_second.max(1));
        let burst = configured.max(2.0);
        Self {
            configured,
            rate: configured,
            safe: configured,
            burst,
            tokens: burst,
            updated: now,
            not_before: now,
            last_throttled: None,
            last_served: None,
        }
    }

    /// Takes a token; otherwise the moment to try again.
    pub fn try_acquire(&mut self, now: Instant) -> Result<(), Instant> {
        if now < self.not_before {
            return Err(self.not_before);
        }
        let burst = if self.is_throttled() { 1.0 } else { self.burst };
        let refilled = now.saturating_duration_since(self.updated).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + refilled).min(burst);
        self.updated = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A little more than needed, so that rounding does not ask once too often.
        let missing = (1.0 - self.tokens) / self.rate + 0.000_1;
        Err(now + Duration::from_secs_f64(missing))
    }

    /// The service throttled a request that was sent at `sent`. Requests that were in flight
    /// together are throttled together: they count once.
    pub fn record_throttled(&mut self, sent: Instant, retry_after: Option<Duration>, now: Instant) {
        if self.last_throttled.is_none_or(|last| sent >= last) {
            self.safe = self.rate * SAFE_PART;
            self.rate = (self.rate / 2.0).max(MIN_RATE);
            self.last_throttled = Some(now);
        }
        let named = retry_after.unwrap_or_default();
        if !named.is_zero() {
            // The wait that the service names is one between any two requests.
            self.rate = self.rate.min(1.0 / named.as_secs_f64()).max(MIN_RATE);
        }
        self.tokens = 0.0;
        self.updated = now;
        self.not_before = self.not_before.max(now + named.max(Duration::from_secs_f64(1.0 / self.rate)));
    }

    /// The service served a request.
    pub fn record_served(&mut self, now: Instant) {
        let since = self.last_served.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if self.rate >= self.configured {
            return;
        }
        self.rate = if self.rate < self.safe {
            (self.rate * QUICK_RISE).min(self.safe)
        } else {
            let step = self.configured * since.as_secs_f64() / FULL_RECOVERY.as_secs_f64();
            self.rate + step.min(self.rate * SLOW_RISE)
        }
        .min(self.configured);
    }

    /// While the service throttles, one request at a time is in flight.
    pub fn is_throttled(&self) -> bool {
        self.rate < self.configured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Sends as fast as the rate allows to a service that serves one request in `interval`; how
    /// many were served and throttled in `span`.
    fn run(interval: Duration, retry_after: Option<Duration>, span: Duration) -> (u32, u32) {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(5, start);
        let (mut now, mut next_served) = (start, start);
        let (mut served, mut throttled) = (0, 0);
        while now < start + span {
            match rate.try_acquire(now) {
                Err(later) => now = later,
                Ok(()) if now >= next_served => {
                    next_served = now + interval;
                    served += 1;
                    rate.record_served(now);
                }
                Ok(()) => {
                    throttled += 1;
                    rate.record_throttled(now, retry_after, now);
                }
            }
        }
        (served, throttled)
    }

    #[test]
    fn beyond_the_burst_requests_come_at_the_configured_rate() {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(5, start);
        assert!((0..5).all(|_| rate.try_acquire(start).is_ok()), "the burst goes at once");
        let later = rate.try_acquire(start).unwrap_err();
        assert!((Duration::from_millis(199)..Duration::from_millis(202)).contains(&(later - start)));
        assert!(rate.try_acquire(later).is_ok());
    }

    #[test]
    fn the_slowest_rate_still_lets_a_list_and_a_call_go_together() {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(1, start);
        assert!(rate.try_acquire(start).is_ok() && rate.try_acquire(start).is_ok());
    }

    #[test]
    fn a_slower_service_is_asked_about_as_often_as_it_serves() {
        for interval in [1, 2, 3, 10] {
            for retry_after in [None, Some(seconds(interval))] {
                let (served, throttled) = run(seconds(interval), retry_after, seconds(600));
                let most = 600 / u32::try_from(interval).unwrap();
                assert!(served >= most / 2, "{interval} s: {served} of {most} served, {throttled} throttled");
                assert!(throttled <= 10 + served / 8, "{interval} s: {throttled} throttled beside {served}");
            }
        }
    }

    #[test]
    fn requests_that_were_in_flight_together_are_throttled_once() {
        let start = Instant::now();
        let mut one = AdaptiveRate::new(8, start);
        let mut many = AdaptiveRate::new(8, start);
        one.record_throttled(start, None, start + seconds(1));
        (0..10).for_each(|_| many.record_throttled(start, None, start + seconds(1)));
        assert_eq!(one.try_acquire(start + seconds(1)), many.try_acquire(start + seconds(1)));
    }

    #[test]
    fn the_wait_that_the_service_names_is_kept_before_each_request() {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(5, start);
        rate.record_throttled(start, Some(seconds(7)), start);
        assert_eq!(rate.try_acquire(start + seconds(6)), Err(start + seconds(7)));
        assert!(rate.try_acquire(start + seconds(7)).is_ok());
        let next = rate.try_acquire(start + seconds(7)).unwrap_err();
        assert!(next >= start + seconds(13), "one request at a time");
    }

    #[test]
    fn a_throttle_of_a_moment_is_over_within_the_hour() {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(5, start);
        rate.record_throttled(start, None, start);
        let mut now = start;
        while rate.is_throttled() {
            now = match rate.try_acquire(now) {
                Ok(()) => now,
                Err(later) => later,
            };
            rate.record_served(now);
        }
        assert!(now - start < seconds(3600), "{:?}", now - start);
    }
}
