//! How long a thread has computed.

use std::time::Duration;

/// CPU time of this thread so far. Differs from the time that went by where other programs had the
/// core meanwhile.
#[cfg(target_os = "linux")]
pub fn of_this_thread() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Not measured: there the program is a command line.
#[cfg(not(target_os = "linux"))]
pub fn of_this_thread() -> Duration {
    Duration::ZERO
}
