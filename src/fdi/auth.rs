//! Signing in, and what is known about each credential, for all instances of the process together.

pub mod access_key;
pub mod circuit_breaker;
pub mod password;
pub mod sign_in;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::fdi::auth::circuit_breaker::CircuitBreaker;
use crate::fdi::auth::password::TokenCache;
use crate::fdi::auth::sign_in::Fingerprint;

/// A credential that was not used for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// Which credential: where it signs in, and the hash of all its data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialKey {
    pub site: String,
    pub fingerprint: Fingerprint,
}

/// One credential: whether the service accepts it, and the tokens that IAM issued for it.
#[derive(Default)]
pub struct Credential {
    pub breaker: Arc<CircuitBreaker>,
    /// By project.
    tokens: Mutex<HashMap<String, Arc<TokenCache>>>,
}

impl Credential {
    /// The token for `project_id`, shared by all who sign in with this credential.
    pub fn token_cache(&self, project_id: &str) -> Arc<TokenCache> {
        Arc::clone(self.tokens.lock().entry(project_id.to_owned()).or_default())
    }
}

/// All credentials of the process.
#[derive(Default)]
pub struct Credentials(Mutex<HashMap<CredentialKey, Arc<Credential>>>);

impl Credentials {
    /// The credential for `key`, shared by all who use the same values at the same site.
    pub fn get(&self, key: CredentialKey) -> Arc<Credential> {
        let mut known = self.0.lock();
        known.retain(|_, credential| Arc::strong_count(credential) > 1 || credential.breaker.idle() < FORGET_AFTER);
        let credential = known.entry(key).or_default();
        credential.breaker.touch();
        Arc::clone(credential)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests;
