//! The signed-in client of one instance, kept between reconciles.

use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::RateLimit;
use crate::fdi::{FdiApi, Fingerprint, RequestLimiter};
use crate::reconcile::desired::DesiredInstance;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

/// The client in use, and the limiter that outlives it.
#[derive(Debug, Default)]
pub struct Session {
    signed_in: Option<SignedIn>,
    limiter: Option<(RateLimit, Arc<RequestLimiter>)>,
}

/// A client with the credential that the Secret held when it was last read.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub api: Arc<dyn FdiApi>,
    pub credential: Fingerprint,
    pub read_at: Timestamp,
    pub instance: (String, i64),
}

impl SignedIn {
    /// Whether the Secret is to be read again.
    pub fn is_due(&self, now: Timestamp, timings: &Timings) -> bool {
        now >= add(self.read_at, timings.secret_refresh)
    }
}

/// What a client is good for: one object of one generation.
pub fn revision(instance: &DesiredInstance) -> (String, i64) {
    (instance.object.metadata.uid.clone().unwrap_or_default(), instance.generation)
}

impl Session {
    /// The client to send calls with; none while signing in fails.
    pub fn api(&self) -> Option<&Arc<dyn FdiApi>> {
        self.signed_in.as_ref().map(|signed_in| &signed_in.api)
    }

    /// The client with its credential.
    pub fn signed_in(&self) -> Option<&SignedIn> {
        self.signed_in.as_ref()
    }

    /// The client, if it is for this instance as it is now.
    pub fn for_instance(&self, instance: &DesiredInstance) -> Option<&SignedIn> {
        self.signed_in.as_ref().filter(|signed_in| signed_in.instance == revision(instance))
    }

    pub fn begin(&mut self, signed_in: SignedIn) {
        self.signed_in = Some(signed_in);
    }

    pub fn end(&mut self) {
        self.signed_in = None;
    }

    /// The limiter in force: kept while its limits stay the same, so that a new sign-in does not
    /// refill it.
    pub fn limiter(&mut self, limits: RateLimit) -> Arc<RequestLimiter> {
        match &self.limiter {
            Some((known, limiter)) if *known == limits => Arc::clone(limiter),
            _ => {
                let positive = |n: i32| u32::try_from(n).unwrap_or(1).max(1);
                let limiter = Arc::new(RequestLimiter::new(
                    positive(limits.requests_per_second),
                    positive(limits.max_concurrent_calls),
                ));
                self.limiter = Some((limits, Arc::clone(&limiter)));
                limiter
            }
        }
    }
}
