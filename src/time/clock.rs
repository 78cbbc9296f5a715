//! The operator's clock: wall time that only moves forward, at the pace of the monotonic clock.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time read once at the start, monotonic time from then on.
///
/// All back-offs and settle windows are counted on this clock, so a step of the system clock
/// neither hangs one nor ends it early. The price: after a step the times shown in statuses are off
/// by that step until the process restarts. On Linux the monotonic clock stands still while the
/// machine is suspended.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// Reads the system clock. Call once, at the start of the process, and hand out copies.
    pub fn start() -> Self {
        Self::anchored(Timestamp::now())
    }

    /// A clock that shows `base` now.
    pub fn anchored(base: Timestamp) -> Self {
        Self { base, started: Instant::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The wall time of a moment of the monotonic clock.
    pub fn at(&self, moment: Instant) -> Timestamp {
        let elapsed = SignedDuration::try_from(moment.saturating_duration_since(self.started));
        // Out of range only after some 8,000 years of uptime.
        elapsed.ok().and_then(|elapsed| self.base.checked_add(elapsed).ok()).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_moves_with_the_monotonic_clock_and_copies_agree() {
        let base: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let clock = Clock::anchored(base);
        let copy = clock;
        assert_eq!(clock.now(), base);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now().to_string(), "2026-01-02T03:04:06.5Z");
        assert_eq!(copy.now(), clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_before_the_start_is_shown_as_the_start() {
        let earlier = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let clock = Clock::anchored(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.at(earlier), Timestamp::UNIX_EPOCH);
    }
}
