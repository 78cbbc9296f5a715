//! The simulator's time: the machine's, or one that a test sets.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// The only source of the current time in the simulator. Clones share one time.
#[derive(Debug, Clone)]
pub struct Clock {
    /// `None`: the machine's clock.
    set: Option<watch::Sender<Millis>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl Clock {
    /// The machine's clock.
    pub fn real() -> Self {
        Self { set: None }
    }

    /// A clock that stands still until [`Clock::advance`] or [`Clock::set`].
    pub fn settable(now: Millis) -> Self {
        Self { set: Some(watch::channel(now).0) }
    }

    pub fn now(&self) -> Millis {
        self.set.as_ref().map_or_else(|| Timestamp::now().as_millisecond(), |set| *set.borrow())
    }

    /// Advances a settable clock; does nothing to the machine's clock.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.send_modify(|now| *now += millis(by));
        }
    }

    /// Sets a settable clock; does nothing to the machine's clock.
    pub fn set(&self, now: Millis) {
        if let Some(set) = &self.set {
            set.send_replace(now);
        }
    }

    /// Waits until the clock shows `at` or later.
    pub async fn wait_until(&self, at: Millis) {
        match &self.set {
            None => {
                let left = u64::try_from(at - self.now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
            Some(set) => {
                // The sender lives in `self`, so the wait can't fail.
                let _ = set.subscribe().wait_for(|now| *now >= at).await;
            }
        }
    }
}

/// A duration in the unit of [`Millis`].
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// `2020-01-04T09:05:22.701000Z`: UTC with six decimals, as IAM writes `expires_at` and
/// `issued_at`.
pub fn iam_time(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// `2020-11-14T07:38:25.609Z`: how the task list writes `created_date` (a string there, unlike in
/// `ShowTask`).
pub fn list_time(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_services_write_them() {
        assert_eq!(iam_time(1_578_128_722_701), "2020-01-04T09:05:22.701000Z");
        assert_eq!(list_time(1_605_339_505_609), "2020-11-14T07:38:25.609Z");
    }

    #[tokio::test]
    async fn a_settable_clock_stands_still_until_it_is_advanced() {
        let clock = Clock::settable(1_000);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(1_500).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_millis(500));
        waiting.await.unwrap();
        assert_eq!(clock.now(), 1_500);
    }
}
