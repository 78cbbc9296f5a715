//! What one candidate knows of the Lease, and what it does next. Pure: moments and responses are
//! arguments.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

/// The Lease as one candidate sees it.
#[derive(Debug)]
pub(super) struct LeaseRecord {
    /// Our own identity, unique for each process.
    pub identity: String,
    /// For a Lease without a duration.
    pub default_duration: Duration,
    /// The Lease as last read.
    seen: Option<Seen>,
    /// A request failed since: a Lease may have come and gone.
    interrupted: bool,
}

/// A version of the Lease, or its absence, and since when it has been there. The times in the Lease
/// are ignored: they come from the clocks of others.
#[derive(Debug)]
struct Seen {
    /// `None`: there is no Lease, or no longer.
    lease: Option<Lease>,
    /// Of the Lease, or of the one that was there before.
    holder: String,
    /// When nobody can act any more who held the Lease, seen or not.
    expires: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NextStep {
    /// There is no Lease, and whoever held one that was deleted can no longer act.
    Create,
    /// The Lease has no holder, or the holder did not renew it for its whole duration: replace this
    /// version by ours.
    TakeOver(Box<Lease>),
    /// The Lease is ours: replace this version by a newer one.
    Renew(Box<Lease>),
    /// Another process holds it, or may hold it: read again, at this moment at the latest.
    WaitUntil(Instant),
}

impl LeaseRecord {
    pub fn new(identity: String, default_duration: Duration) -> Self {
        Self { identity, default_duration, seen: None, interrupted: false }
    }

    /// Takes in a response. `now` is the moment it was *received*: the holder renewed before it, so
    /// counting from here errs on the long side.
    pub fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let interrupted = std::mem::take(&mut self.interrupted);
        let Some(lease) = lease else {
            // Whoever held a Lease that was deleted does not know yet, and acts until its deadline;
            // a process that has only just started never saw it.
            if interrupted || self.seen.as_ref().is_none_or(|seen| seen.lease.is_some()) {
                let holder = self.holder().to_owned();
                let deleted = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
                let duration = deleted.map_or(self.default_duration, |lease| self.duration(lease));
                let known = self.seen.as_ref().map_or(now, |seen| seen.expires);
                let expires = known.max(now + duration.max(self.default_duration));
                self.seen = Some(Seen { lease: None, holder, expires });
            }
            return;
        };
        let same = |seen: &Lease| {
            seen.metadata.uid == lease.metadata.uid && seen.metadata.resource_version == lease.metadata.resource_version
        };
        if self.seen.as_ref().and_then(|seen| seen.lease.as_ref()).is_some_and(same) {
            return;
        }
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let expires = now + self.duration(&lease);
        self.seen = Some(Seen { lease: Some(lease), holder, expires });
    }

    fn duration(&self, lease: &Lease) -> Duration {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        seconds.map_or(self.default_duration, Duration::from_secs)
    }

    /// A request failed.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// The holder that was read last; empty if there is none.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |seen| &seen.holder)
    }

    /// `leads`: our own term has begun and is not over.
    pub fn decide(&self, now: Instant, leads: bool) -> NextStep {
        let Some(seen) = &self.seen else { return NextStep::WaitUntil(now) };
        // Without a term, another process may have held the Lease between ours and its deletion.
        let ours = seen.holder == self.identity && (leads || seen.lease.is_some());
        let free = now >= seen.expires || (seen.holder.is_empty() && seen.lease.is_some());
        match &seen.lease {
            _ if !ours && !free => NextStep::WaitUntil(seen.expires),
            None => NextStep::Create,
            Some(lease) if ours => NextStep::Renew(Box::new(lease.clone())),
            Some(lease) => NextStep::TakeOver(Box::new(lease.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn lease(version: &str, holder: &str, seconds: Option<i32>) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            }),
        }
    }

    /// A response and the second in which it was received. A Lease named `FAILED` stands for a
    /// request that failed.
    type Read = (u64, Option<Lease>);

    const FAILED: &str = "failed";

    /// The decision `after` so many seconds.
    fn decided(reads: &[Read], after: u64, leads: bool) -> String {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut record = LeaseRecord::new("identity".to_owned(), Duration::from_secs(15));
        for (moment, response) in reads {
            if response.as_ref().is_some_and(|lease| lease.metadata.name.as_deref() == Some(FAILED)) {
                record.interrupt();
            } else {
                record.observe(response.clone(), at(*moment));
            }
        }
        match record.decide(at(after), leads) {
            NextStep::Create => "create".to_owned(),
            NextStep::TakeOver(lease) => format!("take over {}", lease.metadata.resource_version.unwrap()),
            NextStep::Renew(lease) => format!("renew {}", lease.metadata.resource_version.unwrap()),
            NextStep::WaitUntil(moment) => format!("wait until {}", moment.duration_since(start).as_secs()),
        }
    }

    #[test]
    fn what_a_candidate_does_follows_from_what_it_read_and_when() {
        let other = |version| Some(lease(version, "other", Some(15)));
        let mine = |version| Some(lease(version, "identity", Some(15)));
        let failed = || {
            let name = Some(FAILED.to_owned());
            Some(Lease { metadata: ObjectMeta { name, ..ObjectMeta::default() }, spec: None })
        };
        let table: Vec<(&str, Vec<Read>, u64, &str)> = vec![
            ("nothing there", vec![(0, None)], 0, "wait until 15"),
            ("nothing there still", vec![(0, None), (14, None)], 15, "create"),
            ("nothing there, a request failed", vec![(0, None), (5, failed()), (6, None)], 15, "wait until 21"),
            ("made by another meanwhile", vec![(0, None), (14, other("1"))], 15, "wait until 29"),
            ("held by another", vec![(0, other("1"))], 14, "wait until 15"),
            ("silent for its whole duration", vec![(0, other("1"))], 15, "take over 1"),
            ("seen again unchanged", vec![(0, other("1")), (14, other("1"))], 15, "take over 1"),
            ("renewed", vec![(0, other("1")), (14, other("2"))], 15, "wait until 29"),
            ("released", vec![(0, other("1")), (1, Some(lease("2", "", Some(1))))], 1, "take over 2"),
            ("ours", vec![(0, mine("1"))], 0, "renew 1"),
            ("ours, long ago", vec![(0, mine("1"))], 99, "renew 1"),
            ("the lease's own duration counts", vec![(0, Some(lease("1", "other", Some(60))))], 15, "wait until 60"),
            ("no duration: ours counts", vec![(0, Some(lease("1", "other", None)))], 14, "wait until 15"),
            ("unusable duration: ours counts", vec![(0, Some(lease("1", "other", Some(-5))))], 14, "wait until 15"),
            ("deleted under its holder", vec![(0, other("1")), (3, None)], 17, "wait until 18"),
            (
                "deleted under a holder with a longer duration",
                vec![(0, Some(lease("1", "other", Some(60)))), (3, None)],
                62,
                "wait until 63",
            ),
            ("deleted, holder silent since", vec![(0, other("1")), (3, None)], 18, "create"),
            ("released and deleted", vec![(0, Some(lease("1", "", Some(1)))), (3, None)], 17, "wait until 18"),
            ("ours was deleted", vec![(0, mine("1")), (3, None)], 3, "create"),
            ("ours without a term was deleted", vec![(0, mine("1")), (3, None)], 17, "wait until 18"),
            ("without spec", vec![(0, Some(Lease { spec: None, ..lease("1", "", None) }))], 0, "take over 1"),
        ];
        for (case, reads, after, expected) in table {
            assert_eq!(decided(&reads, after, !case.contains("without a term")), expected, "{case}");
        }
    }

    #[test]
    fn a_lease_deleted_and_made_anew_with_the_same_version_is_another_lease() {
        let with_uid = |uid: &str| {
            let mut lease = lease("1", "other", Some(15));
            lease.metadata.uid = Some(uid.to_owned());
            Some(lease)
        };
        assert_eq!(decided(&[(0, with_uid("a")), (10, with_uid("b"))], 15, false), "wait until 25");
    }
}
