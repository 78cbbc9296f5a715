//! Moments between which the time counts in which the machine was suspended.

use std::time::Duration;

use tokio::time::Instant;

/// A moment on two clocks: the monotonic one, on which timers run, and on Linux the one that goes
/// on while the machine is suspended (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    monotonic: Instant,
    boot: Duration,
}

impl Moment {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), boot: since_boot() }
    }

    /// Time from this moment to a later one, by the clock that counted more.
    pub fn elapsed_at(self, later: Self) -> Duration {
        let monotonic = later.monotonic.saturating_duration_since(self.monotonic);
        monotonic.max(later.boot.saturating_sub(self.boot))
    }

    /// The same moment as timers know it.
    pub fn monotonic(self) -> Instant {
        self.monotonic
    }

    /// This moment, had the machine been suspended for so long since.
    #[cfg(test)]
    pub fn before_suspension(self, suspended: Duration) -> Self {
        Self { boot: self.boot.saturating_sub(suspended), ..self }
    }

    /// This moment, had the machine been suspended for so long before it.
    #[cfg(test)]
    pub fn after_suspension(self, suspended: Duration) -> Self {
        Self { boot: self.boot + suspended, ..self }
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_counted_more_decides() {
        let moment = Moment::now();
        assert_eq!(moment.elapsed_at(moment), Duration::ZERO);
        assert_eq!(moment.elapsed_at(moment.after_suspension(SECOND * 9)), SECOND * 9);
        tokio::time::advance(SECOND * 10).await;
        let later = Moment::now();
        assert!(moment.elapsed_at(later) >= SECOND * 10);
        assert!(moment.elapsed_at(later.after_suspension(SECOND * 20)) >= SECOND * 20);
        assert_eq!(later.elapsed_at(moment), Duration::ZERO);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_second_clock_is_that_of_the_kernel() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let difference = since_boot().as_secs_f64() - uptime;
        assert!((0.0..5.0).contains(&difference.max(0.0)) && difference > -1.0, "{difference}");
    }
}
