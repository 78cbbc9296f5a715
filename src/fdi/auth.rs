//! Signing in, and what is known about each credential, for all instances of the process together.

pub mod access_key;
pub mod circuit_breaker;
pub mod lockout;
pub mod password;
pub mod sign_in;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fdi::auth::circuit_breaker::CircuitBreaker;
use crate::fdi::auth::lockout::Principal;
use crate::fdi::auth::password::TokenCache;
use crate::fdi::auth::sign_in::{Fingerprint, SignIn};

/// A credential that was not used for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// One credential: whether its targets accept it, and the tokens that IAM issued for it.
#[derive(Debug, Default)]
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
#[derive(Debug, Default)]
pub struct Credentials(Mutex<Inner>);

/// By site and hash.
#[derive(Debug, Default)]
struct Inner {
    credentials: HashMap<(String, Fingerprint), (Arc<Credential>, Instant)>,
    principals: HashMap<(String, Fingerprint), Arc<Principal>>,
}

impl Credentials {
    /// The credential of `sign_in` at `site`, shared by all who use the same values there.
    pub fn get(&self, site: &str, sign_in: &SignIn) -> Arc<Credential> {
        let now = Instant::now();
        let known = &mut *self.0.lock();
        let key = (site.to_owned(), sign_in.fingerprint());
        if let Some((credential, last_used)) = known.credentials.get_mut(&key) {
            *last_used = now;
            return Arc::clone(credential);
        }
        known.credentials.retain(|_, (credential, last_used)| {
            Arc::strong_count(credential) > 1 || last_used.elapsed() < FORGET_AFTER
        });
        known.principals.retain(|_, principal| Arc::strong_count(principal) > 1);
        let principal = sign_in
            .principal()
            .map(|principal| Arc::clone(known.principals.entry((site.to_owned(), principal)).or_default()));
        let breaker = Arc::new(CircuitBreaker::new(principal));
        let credential = Arc::new(Credential { breaker, ..Credential::default() });
        known.credentials.insert(key, (Arc::clone(&credential), now));
        credential
    }
}

#[cfg(test)]
mod tests;
