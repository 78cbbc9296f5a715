//! How long to wait after a failure. Pure, except for the jitter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `time + wait`, at most the end of time.
pub fn add(time: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| time.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

/// Time from `earlier` to `later`; zero when they are in the opposite order.
pub fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// A factor of 1 ± 10 %.
pub fn jitter() -> f64 {
    rand::random_range(0.9..1.1)
}

/// A growing wait between a shortest and a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after the n-th failure in a row (from 1): base, 2·base, 4·base … up to the maximum.
    pub fn exponential(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// The wait while a service does not respond: an eighth of the outage so far. The end of a
    /// short outage is noticed soon (within 10 s after a minute), a long one is cheap (46 requests
    /// in the first hour).
    pub fn proportional(&self, outage_began: Timestamp, now: Timestamp) -> Duration {
        (elapsed(outage_began, now) / 8).clamp(self.base, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_secs(600) };

    #[test]
    fn waits_double_from_five_seconds_to_ten_minutes() {
        let seconds: Vec<u64> = (1..=9).map(|n| BACKOFF.exponential(n).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(BACKOFF.exponential(u32::MAX).as_secs(), 600);
    }

    #[test]
    fn a_minutes_outage_is_noticed_within_ten_seconds_and_an_hours_costs_under_fifty_requests() {
        let start = Timestamp::UNIX_EPOCH;
        let (mut now, mut requests) = (start, 0);
        while elapsed(start, now) < Duration::from_secs(3600) {
            requests += 1;
            let wait = BACKOFF.proportional(start, now);
            if elapsed(start, now) <= Duration::from_secs(60) {
                assert!(wait.mul_f64(1.1) <= Duration::from_secs(10), "{wait:?} at {now}");
            }
            now = add(now, wait);
        }
        assert!(requests <= 50, "{requests} requests");
    }

    #[test]
    fn jitter_is_ten_percent_at_most() {
        for _ in 0..1000 {
            assert!((0.9..=1.1).contains(&jitter()));
        }
    }
}
