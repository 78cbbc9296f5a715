//! The loop of one candidate: look, decide, write, wait.

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
use crate::k8s::error::describe;
use crate::time::clock::Clock;

/// Attempts to give the Lease back are over after this: what remains of the shutdown limit when calls took all of theirs.
const RELEASE_LIMIT: Duration = Duration::from_millis(1_500);

/// The Lease and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pub name: String,
    /// `None`: the namespace of the Kubernetes client's configuration, in a pod the pod's.
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
    /// As asked; a Lease that was held has been given back if the API server could be reached.
    Released,
    /// The leadership is lost and the process must end: others may be acting already.
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

/// Takes part in the election until `release` is cancelled or the leadership is lost. Permits are granted through `sender` and are
/// over when this returns.
///
/// Cancel `release` only when nothing is in flight any more: it lets the next leader begin at once.
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
        view: LeaseRecord::new(params.identity.clone(), params.lease_duration),
        jitter: StdRng::seed_from_u64(seed),
        look_first: true,
        wrote: false,
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
    view: LeaseRecord,
    /// Seeded by the identity: differs between processes, repeats in tests.
    jitter: StdRng,
    /// The Lease may have changed since the last look: a write was refused, or its answer did not arrive.
    look_first: bool,
    /// A write was sent at some time, so the Lease may be ours even if no answer said so.
    wrote: bool,
    /// Set while attempts fail, so that an outage is one log line.
    last_error: Option<String>,
}

impl Candidate<'_> {
    /// Returns when the leadership was held and is lost.
    async fn campaign(&mut self) -> Lost {
        loop {
            let began = Instant::now();
            let deadline = self.sender.deadline();
            if deadline.is_some_and(|deadline| began >= deadline) {
                // Also after the process was stopped and resumed: not even a renewal is sent any more.
                let last_error = self.last_error.take().unwrap_or_else(|| "this process was held up".to_owned());
                return Lost::NotRenewed { last_error };
            }
            // A third of the deadline for one attempt: a connection that died is replaced twice before the leader must give up.
            let limit = began + self.params.renew_deadline / 3;
            let attempt = timeout_at(deadline.map_or(limit, |deadline| deadline.min(limit)), self.attempt());
            let wake = match attempt.await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(wake) => {
                    self.last_error = None;
                    wake
                }
                Err(error) => {
                    if self.last_error.is_none() {
                        warn!(lease = self.params.name, error, "the Lease cannot be reached; trying again");
                    }
                    self.last_error = Some(error);
                    None
                }
            };
            let next = began + self.params.retry_period.mul_f64(1.0 + self.jitter.random_range(0.0..0.25));
            let next = wake.map_or(next, |wake| next.min(wake));
            match deadline.and(self.sender.deadline()) {
                Some(_) if self.view.holder() != self.view.identity => {
                    return Lost::Taken { holder: self.view.holder().to_owned() };
                }
                Some(deadline) => sleep_until(next.min(deadline)).await,
                None => sleep_until(next).await,
            }
        }
    }

    /// One look and at most one write. `Some`: the moment at which the holder's time is up.
    async fn attempt(&mut self) -> Result<Option<Instant>, String> {
        if self.look_first || self.sender.deadline().is_none() {
            let before = self.view.holder().to_owned();
            let lease = self.leases.get_opt(&self.params.name).await.map_err(|error| describe(&error))?;
            self.view.observe(lease, Instant::now());
            let holder = self.view.holder();
            if holder != before && !holder.is_empty() && holder != self.view.identity {
                info!(lease = self.params.name, holder, "another process is the leader");
            }
        }
        let sent = Instant::now();
        let step = self.view.decide(sent);
        if let NextStep::WaitUntil(expires) = step {
            return Ok(Some(expires));
        }
        // Until an answer says otherwise: a write that is dropped half-way may still arrive.
        self.look_first = true;
        self.wrote = true;
        let written = match step {
            NextStep::WaitUntil(_) => return Ok(None),
            NextStep::Create => self.leases.create(&PostParams::default(), &self.created()).await,
            NextStep::TakeOver(lease) => self.replace(self.taken_over(*lease)).await,
            NextStep::Renew(lease) => self.replace(self.renewed(*lease)).await,
        };
        match written {
            Ok(lease) => {
                self.view.observe(Some(lease), Instant::now());
                self.look_first = false;
                let first = self.sender.deadline().is_none();
                if self.sender.renew(sent, self.params.renew_deadline) && first {
                    info!(lease = self.params.name, identity = self.view.identity, "this process is the leader");
                }
                Ok(None)
            }
            // Somebody was quicker: no failure, the next look tells who.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(lease = self.params.name, "the Lease changed under us");
                Ok(None)
            }
            Err(error) => Err(describe(&error)),
        }
    }

    async fn replace(&self, lease: Lease) -> kube::Result<Lease> {
        self.leases.replace(&self.params.name, &PostParams::default(), &lease).await
    }

    /// Gives the Lease back, if it is or may be ours, so that the next leader need not wait.
    async fn release(&mut self) {
        if !self.wrote {
            return;
        }
        match timeout(RELEASE_LIMIT, self.try_release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(lease = self.params.name, error, "the Lease was not given back; it runs out by itself");
            }
            Err(_) => warn!(lease = self.params.name, "the Lease was not given back in time; it runs out by itself"),
        }
    }

    async fn try_release(&mut self) -> Result<(), String> {
        loop {
            // Look first: a renewal that was dropped in flight may have arrived after all.
            let Some(lease) = self.leases.get_opt(&self.params.name).await.map_err(|error| describe(&error))? else {
                return Ok(());
            };
            if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&self.view.identity) {
                return Ok(());
            }
            match self.replace(self.released(lease)).await {
                Ok(_) => {
                    info!(lease = self.params.name, "the Lease is given back");
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
                holder_identity: Some(self.view.identity.clone()),
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
        spec.holder_identity = Some(self.view.identity.clone());
        spec.acquire_time = spec.renew_time.clone();
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        lease
    }

    /// As client-go does it: nobody holds it, and even one who does not know that waits for a second only.
    fn released(&self, lease: Lease) -> Lease {
        let mut lease = self.renewed(lease);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        lease
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
