//! Any Leases in any order: nobody's time is cut short.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::record::{LeaseRecord, NextStep};

const IDENTITY: &str = "me";
const DURATION: Duration = Duration::from_secs(15);

/// Lines: a Lease as the API server sends it, `-` for none, `!` for a request that failed, or
/// milliseconds that go by.
pub fn lease(data: &[u8]) {
    let mut record = LeaseRecord::new(IDENTITY.to_owned(), DURATION);
    let mut now = Instant::now();
    // Until when somebody else may act who held the Lease, as far as it was seen.
    let mut held_until = None;
    let mut seen: Option<Lease> = None;
    for line in data.split(|byte| *byte == b'\n') {
        match line {
            b"-" => {
                record.observe(None, now);
                seen = None;
            }
            b"!" => record.interrupt(),
            line => {
                if let Some(span) = std::str::from_utf8(line).ok().and_then(|text| text.parse::<u32>().ok()) {
                    now += Duration::from_millis(span.into());
                } else if let Ok(lease) = serde_json::from_slice::<Lease>(line) {
                    record.observe(Some(lease.clone()), now);
                    if seen.as_ref().map(version) != Some(version(&lease)) {
                        held_until = held(&lease).map(|duration| now + duration);
                    }
                    seen = Some(lease);
                } else {
                    continue;
                }
            }
        }
        match record.decide(now, false) {
            NextStep::Create => assert!(seen.is_none() && held_until.is_none_or(|until| until <= now)),
            NextStep::TakeOver(lease) => {
                assert_eq!(Some(version(&lease)), seen.as_ref().map(version), "not the last version");
                assert!(held_until.is_none_or(|until| until <= now), "its holder may still act");
            }
            NextStep::Renew(lease) => {
                assert_eq!(Some(version(&lease)), seen.as_ref().map(version), "not the last version");
                assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(IDENTITY));
            }
            NextStep::WaitUntil(_) => {}
        }
    }
}

/// Of the same version a Lease has the same content.
fn version(lease: &Lease) -> (Option<String>, Option<String>) {
    (lease.metadata.uid.clone(), lease.metadata.resource_version.clone())
}

/// For how long another process holds it that renews no more.
fn held(lease: &Lease) -> Option<Duration> {
    let spec = lease.spec.as_ref()?;
    let other = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty() && holder != IDENTITY);
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    other.then(|| seconds.filter(|seconds| *seconds > 0).map_or(DURATION, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::corpus;

    #[test]
    fn no_lease_makes_a_candidate_panic_or_cut_the_time_of_another_short() {
        corpus::replay("leases", 100_000, lease);
    }
}
