//! What the process uses, under the names that every Prometheus client library gives it
//! (`process_*`), read from `/proc` at each scrape. Elsewhere than on Linux there are no samples.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// How many families there are.
#[cfg(test)]
pub(super) const FAMILIES: usize = 7;

/// The kernel reports times in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Usage;

impl Collector for Usage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let cpu = ConstCounter::new(seconds);
            let of_cpu = encoder.encode_descriptor(
                "process_cpu",
                "User and system CPU time of the process",
                Some(&Unit::Seconds),
                cpu.metric_type(),
            )?;
            cpu.encode(of_cpu)?;
        }
        for (name, help, unit, value) in gauges() {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let of_gauge = encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?;
            gauge.encode(of_gauge)?;
        }
        Ok(())
    }
}

fn gauges() -> [(&'static str, &'static str, Option<Unit>, Option<f64>); 6] {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let status = read("self/status");
    let started = start_seconds(&read("self/stat"), &read("stat"));
    // The descriptor that lists the others is one of them.
    let open = fs::read_dir("/proc/self/fd").ok().and_then(|open| u32::try_from(open.count()).ok());
    let bytes = |field| number_after(&status, field).map(|kibibytes| kibibytes * 1024.0);
    [
        ("process_start_time", "When the process started, in Unix time", Some(Unit::Seconds), started),
        ("process_resident_memory", "Resident memory", Some(Unit::Bytes), bytes("VmRSS:")),
        ("process_virtual_memory", "Virtual memory", Some(Unit::Bytes), bytes("VmSize:")),
        ("process_threads", "Threads", None, number_after(&status, "Threads:")),
        ("process_open_fds", "Open file descriptors", None, open.map(|open| f64::from(open.saturating_sub(1)))),
        (
            "process_max_fds",
            "How many file descriptors may be open",
            None,
            number_after(&read("self/limits"), "Max open files"),
        ),
    ]
}

#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    std::time::Duration::try_from(used).ok().map(|used| used.as_secs_f64())
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Option<f64> {
    None
}

/// The number that follows `field` at the start of a line.
fn number_after(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Boot time plus the ticks after it at which the process started: field 22 of its `stat`, whose
/// second field is a name in parentheses that may hold anything.
fn start_seconds(process: &str, system: &str) -> Option<f64> {
    let after_name = process.rsplit_once(')')?.1;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    Some(number_after(system, "btime ")? + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_figures_are_read_from_the_lines_of_the_kernel() {
        let status = "Name:\tfdi operator\nVmSize:\t  123456 kB\nVmRSS:\t    7890 kB\nThreads:\t4\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(7890.0));
        assert_eq!(number_after(status, "Threads:"), Some(4.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024.0));
        assert_eq!(number_after("Max open files            unlimited\n", "Max open files"), None);
    }

    #[test]
    fn the_start_is_found_whatever_the_name_of_the_process() {
        let fields: Vec<String> = (3..=52).map(|field| (field * 100).to_string()).collect();
        let process = format!("42 (fdi (a) b) {}", fields.join(" "));
        assert_eq!(start_seconds(&process, "cpu 1\nbtime 1000\nprocesses 9\n"), Some(1022.0));
        assert_eq!(start_seconds("", ""), None);
    }

    #[test]
    fn on_linux_every_figure_is_there_and_plausible() {
        if !cfg!(target_os = "linux") {
            return;
        }
        for (name, _, _, value) in gauges() {
            assert!(value.is_some_and(|value| value >= 1.0), "{name}: {value:?}");
        }
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
        let started = Duration::from_secs_f64(gauges()[0].3.unwrap());
        let age = SystemTime::UNIX_EPOCH.elapsed().unwrap().abs_diff(started);
        assert!(age < Duration::from_secs(3600), "started {started:?}, {age:?} ago");
    }
}
