//! The loop of one candidate: read the Lease, decide, write, sleep.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::permit::LeadershipSender;
use super::record::{LeaseRecord, NextStep};
use crate::k8s::clients::FIELD_MANAGER;
use crate::k8s::error::describe;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

/// Time for releasing the Lease: what remains of the shutdown timeout when in-flight calls used up
/// theirs.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The Lease and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pub name: String,
    /// `None`: the namespace of the Kubernetes client's configuration; in a pod, the pod's.
    pub namespace: Option<String>,
    /// Unique for each process.
    pub identity: String,
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

/// How an election ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElectionResult {
    /// As requested. A Lease that was held is released if the API server could be reached.
    Released,
    /// The leadership is lost and the process must end: another one may act already.
    Lost(Lost),
}

/// Why the leadership was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("the Lease could not be renewed in time ({last_error})")]
    NotRenewed { last_error: String },
    #[error("the Lease was taken by '{holder}'")]
    Taken { holder: String },
}

/// Campaigns until `release` is cancelled or the leadership is lost. Permits are granted through
/// `sender` and end when this returns.
///
/// Cancel `release` only when nothing is in flight any more: the next leader starts at once.
pub async fn elect(
    leases: Api<Lease>,
    params: &Params,
    clock: Clock,
    sender: LeadershipSender,
    release: CancellationToken,
) -> ElectionResult {
    let seed = BuildHasherDefault::<DefaultHasher>::default().hash_one(&params.identity);
    let mut candidate = Candidate {
        leases,
        params,
        clock,
        sender,
        record: LeaseRecord::new(params.identity.clone(), params.lease_duration),
        jitter: StdRng::seed_from_u64(seed),
        must_read: true,
        may_hold: false,
        last_error: None,
    };
    let lost = tokio::select! {
        biased;
        () = release.cancelled() => None,
        lost = candidate.campaign() => Some(lost),
    };
    candidate.sender.end();
    if let Some(lost) = lost {
        return ElectionResult::Lost(lost);
    }
    candidate.release().await;
    ElectionResult::Released
}

struct Candidate<'a> {
    leases: Api<Lease>,
    params: &'a Params,
    clock: Clock,
    sender: LeadershipSender,
    record: LeaseRecord,
    /// Seeded by the identity: differs between processes, repeats in tests.
    jitter: StdRng,
    /// The Lease may have changed since it was read: a write was refused, or its response did not
    /// arrive.
    must_read: bool,
    /// A write was sent, so the Lease may be ours even if no response said so.
    may_hold: bool,
    /// Set while attempts fail: an outage is logged once.
    last_error: Option<String>,
}

impl Candidate<'_> {
    /// Returns when the leadership was held and is lost.
    async fn campaign(&mut self) -> Lost {
        loop {
            let began = Instant::now();
            let deadline = self.sender.deadline();
            if self.sender.has_expired() {
                // Also after the process was stopped and resumed: not even a renewal is sent any
                // more.
                let last_error = self.last_error.take().unwrap_or_else(|| "this process was paused".to_owned());
                return Lost::NotRenewed { last_error };
            }
            // A third of the deadline for each attempt leaves time for two reconnects before it.
            let limit = began + self.params.renew_deadline / 3;
            let attempt = timeout_at(deadline.map_or(limit, |deadline| deadline.min(limit)), self.attempt());
            let wake = match attempt.await.unwrap_or_else(|_| Err("no response in time".to_owned())) {
                Ok(wake) => {
                    self.last_error = None;
                    wake
                }
                Err(error) => {
                    self.record.interrupt();
                    if self.last_error.is_none() {
                        warn!(lease = self.params.name, error, "cannot read or write the Lease; retrying");
                    }
                    self.last_error = Some(error);
                    None
                }
            };
            let next = began + self.params.retry_period.mul_f64(1.0 + self.jitter.random_range(0.0..0.25));
            let next = wake.map_or(next, |wake| next.min(wake));
            match deadline.and(self.sender.deadline()) {
                Some(_) if self.record.holder() != self.record.identity => {
                    return Lost::Taken { holder: self.record.holder().to_owned() };
                }
                Some(deadline) => sleep_until(next.min(deadline)).await,
                None => sleep_until(next).await,
            }
        }
    }

    /// One read and at most one write. `Some`: the moment at which the holder's Lease expires.
    async fn attempt(&mut self) -> Result<Option<Instant>, String> {
        if self.must_read || self.sender.deadline().is_none() {
            let before = self.record.holder().to_owned();
            let lease = self.leases.get_opt(&self.params.name).await.map_err(|error| describe(&error))?;
            self.record.observe(lease, Instant::now());
            let holder = self.record.holder();
            if holder != before && !holder.is_empty() && holder != self.record.identity {
                info!(lease = self.params.name, holder, "another process is the leader");
            }
        }
        let sent = Moment::now();
        let step = self.record.decide(sent.monotonic(), self.sender.deadline().is_some());
        if let NextStep::WaitUntil(expires) = step {
            return Ok(Some(expires));
        }
        // Until a response says otherwise: a request that is dropped half-way may still arrive.
        self.must_read = true;
        self.may_hold = true;
        let written = match step {
            NextStep::WaitUntil(_) => return Ok(None),
            NextStep::Create => self.leases.create(&post_params(), &self.created()).await,
            NextStep::TakeOver(lease) => self.replace(self.taken_over(*lease)).await,
            NextStep::Renew(lease) => self.replace(self.renewed(*lease)).await,
        };
        match written {
            Ok(lease) => {
                self.record.observe(Some(lease), Instant::now());
                self.must_read = false;
                let first = self.sender.deadline().is_none();
                if self.sender.renew(sent, self.params.renew_deadline) && first {
                    info!(lease = self.params.name, identity = self.record.identity, "this process is the leader");
                }
                Ok(None)
            }
            // Another candidate was faster: no failure, the next read shows which.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(lease = self.params.name, "lease update conflict; retrying");
                Ok(None)
            }
            Err(error) => Err(describe(&error)),
        }
    }

    async fn replace(&self, lease: Lease) -> kube::Result<Lease> {
        self.leases.replace(&self.params.name, &post_params(), &lease).await
    }

    /// Releases the Lease, if it is or may be ours, so that the next leader starts at once.
    async fn release(&mut self) {
        if !self.may_hold {
            return;
        }
        match timeout(RELEASE_TIMEOUT, self.try_release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(lease = self.params.name, error, "the Lease was not released; it expires by itself");
            }
            Err(_) => warn!(lease = self.params.name, "the Lease was not released in time; it expires by itself"),
        }
    }

    async fn try_release(&mut self) -> Result<(), String> {
        loop {
            // Read first: a renewal that was dropped in flight may have arrived after all.
            let Some(lease) = self.leases.get_opt(&self.params.name).await.map_err(|error| describe(&error))? else {
                return Ok(());
            };
            if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&self.record.identity) {
                return Ok(());
            }
            match self.replace(self.released(lease)).await {
                Ok(_) => {
                    info!(lease = self.params.name, "the Lease is released");
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(describe(&error)),
            }
        }
    }

    fn created(&self) -> Lease {
        let now = MicroTime(self.clock.now());
        Lease {
            metadata: ObjectMeta { name: Some(self.params.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.record.identity.clone()),
                lease_duration_seconds: Some(seconds(self.params.lease_duration)),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.lease_duration_seconds = Some(seconds(self.params.lease_duration));
        spec.renew_time = Some(MicroTime(self.clock.now()));
        lease
    }

    fn taken_over(&self, lease: Lease) -> Lease {
        let mut lease = self.renewed(lease);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.record.identity.clone());
        spec.acquire_time = spec.renew_time.clone();
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        lease
    }

    /// As client-go does: no holder, and a duration of one second for candidates that ignore that.
    fn released(&self, lease: Lease) -> Lease {
        let mut lease = self.renewed(lease);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        lease
    }
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
