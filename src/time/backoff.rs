//! How long to wait after a failure. Pure, but for the jitter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::reconcile::timings::Timings;

/// `time + wait`, at most the end of time.
pub fn after(time: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| time.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

/// Time from `earlier` to `later`; nothing when they are the other way round.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// The wait after the n-th failure in a row (from 1): base, 2·base, 4·base … up to the maximum.
pub fn doubling(failures: u32, timings: &Timings) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
    timings.backoff_base.saturating_mul(factor).min(timings.backoff_max)
}

/// The wait while a service does not answer: an eighth of the outage so far, so that its end is noticed soon after a short
/// one (within 10 s after a minute) and cheaply after a long one (46 looks in the first hour).
pub fn slow_start(outage_began: Timestamp, now: Timestamp, timings: &Timings) -> Duration {
    (between(outage_began, now) / 8).clamp(timings.backoff_base, timings.backoff_max)
}

/// `wait` ± 10 %, so that many that failed together do not come back together.
pub fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.9..1.1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_five_seconds_to_ten_minutes() {
        let timings = Timings::default();
        let seconds: Vec<u64> = (1..=9).map(|n| doubling(n, &timings).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(doubling(u32::MAX, &timings).as_secs(), 600);
    }

    #[test]
    fn the_end_of_an_outage_of_a_minute_is_noticed_within_ten_seconds_and_an_hour_costs_under_fifty_looks() {
        let timings = Timings::default();
        let start = Timestamp::UNIX_EPOCH;
        let (mut now, mut looks) = (start, 0);
        while between(start, now) < Duration::from_secs(3600) {
            looks += 1;
            let wait = slow_start(start, now, &timings);
            if between(start, now) <= Duration::from_secs(60) {
                assert!(wait.mul_f64(1.1) <= Duration::from_secs(10), "{wait:?} at {now}");
            }
            now = after(now, wait);
        }
        assert!(looks <= 50, "{looks} looks");
    }

    #[test]
    fn jitter_is_ten_percent_at_most() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_secs(100)).as_secs_f64();
            assert!((90.0..=110.0).contains(&wait));
        }
    }
}
