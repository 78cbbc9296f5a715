//! Signs in with an IAM user's password: a token scoped to the project, cached and renewed before
//! it ends.

use std::time::Duration;

use http::header::HeaderName;
use jiff::Timestamp;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::fdi::auth::circuit_breaker::Circuit;
use crate::fdi::error::{CallError, Class};
use crate::fdi::transport::HttpResponse;

const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// A token is renewed this long before its end, or in the last tenth of its life if that is
/// shorter.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// How long a token is valid if IAM does not say.
const ASSUMED_LIFE: Duration = Duration::from_hours(1);
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// After a failed renewal the valid token is used for this long before the next request to IAM.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Path and query of the request for a token. `nocatalog` leaves out the list of all services.
pub const TOKENS: (&str, &str) = ("/v3/auth/tokens", "nocatalog=true");

/// The token of one user for one project.
#[derive(Debug, Default)]
pub struct TokenCache {
    state: Mutex<State>,
    /// Held while IAM is asked.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// The latest failed request, shared with all who waited for it.
    failure: Option<(Instant, CallError)>,
}

/// A token that is valid until `ends`.
#[derive(Debug, Clone)]
pub struct Token {
    pub value: SecretString,
    /// Distinguishes one token from the next.
    obtained: Instant,
    renew: Instant,
    ends: Instant,
}

/// A token, and whether IAM issued it just now.
#[derive(Debug)]
pub struct CachedToken {
    pub token: Token,
    pub newly_issued: bool,
}

impl TokenCache {
    /// The valid token, or a new one from `request`, which `circuit` must admit. Concurrent callers
    /// share one request.
    pub async fn token<F>(&self, circuit: &Circuit, request: impl FnOnce() -> F) -> Result<CachedToken, CallError>
    where
        F: Future<Output = Result<Token, CallError>>,
    {
        let asked = Instant::now();
        let renewal = self.renewal.try_lock();
        // One renews the token; the others go on with it while it is valid.
        if let Some(token) = self.valid(renewal.is_err()) {
            return Ok(token);
        }
        let _renewal = match renewal {
            Ok(renewal) => renewal,
            Err(_) => self.renewal.lock().await,
        };
        if let Some(token) = self.valid(false) {
            return Ok(token);
        }
        if let Some((_, error)) = self.state.lock().failure.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        let admission = circuit.admit().await?;
        let issued = request().await;
        let mut state = self.state.lock();
        match issued {
            Ok(token) => {
                admission.issued_token();
                *state = State { token: Some(token.clone()), failure: None };
                Ok(CachedToken { token, newly_issued: true })
            }
            Err(mut error) => {
                let refused = error.class == Class::SignIn;
                if refused {
                    admission.refused(&mut error);
                }
                state.failure = Some((Instant::now(), error.clone()));
                state.valid(true).filter(|_| !refused).ok_or(error)
            }
        }
    }

    fn valid(&self, due: bool) -> Option<CachedToken> {
        self.state.lock().valid(due)
    }

    /// Forgets `token`, which was refused, unless it has been replaced already.
    pub fn forget(&self, token: &Token) {
        let mut state = self.state.lock();
        if state.token.as_ref().is_some_and(|known| known.obtained == token.obtained) {
            state.token = None;
        }
    }
}

impl State {
    /// The token, unless it has ended; one that is due for renewal only if `due` ones will do.
    fn valid(&self, due: bool) -> Option<CachedToken> {
        let now = Instant::now();
        let paused = self.failure.as_ref().is_some_and(|(at, _)| now < *at + PAUSE_AFTER_FAILURE);
        let token = self.token.clone().filter(|token| token.is_valid() && (due || paused || now < token.renew))?;
        Some(CachedToken { token, newly_issued: false })
    }
}

impl Token {
    pub fn is_valid(&self) -> bool {
        Instant::now() < self.ends
    }
}

/// The body that requests a token for the project.
pub fn request_body(domain: &str, user: &str, password: &SecretString, project_id: &str) -> Vec<u8> {
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "domain": {"name": domain}, "name": user, "password": password.expose_secret()
        }}},
        "scope": {"project": {"id": project_id}}
    }})
    .to_string()
    .into_bytes()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenBody {
    token: Times,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Times {
    issued_at: Option<String>,
    expires_at: Option<String>,
}

/// The token in IAM's response; `None` when there is none.
pub fn token_in(response: &HttpResponse) -> Option<Token> {
    let value = response.headers.get(SUBJECT_TOKEN)?.to_str().ok().filter(|value| !value.is_empty())?;
    let body: TokenBody = serde_json::from_slice(&response.body).unwrap_or_default();
    let life = life(&body.token, response.received);
    let obtained = Instant::now();
    Some(Token {
        value: value.into(),
        obtained,
        renew: obtained + life.saturating_sub(RENEW_BEFORE.min(life / 10)),
        ends: obtained + life,
    })
}

/// From IAM's own two times, so that a wrong clock of the operator does not matter.
fn life(times: &Times, received: Timestamp) -> Duration {
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(expires) = time(&times.expires_at) else { return ASSUMED_LIFE };
    let issued = time(&times.issued_at).unwrap_or(received);
    Duration::try_from(expires.duration_since(issued)).unwrap_or_default().clamp(SHORTEST_LIFE, 24 * ASSUMED_LIFE)
}

#[cfg(test)]
mod tests;
