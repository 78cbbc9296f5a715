//! Sign-in with an IAM user's password: a token scoped to the project, kept in memory and renewed before it ends.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::fdi::auth::circuit_breaker::CircuitBreaker;
use crate::fdi::error::{CallError, Class};
use crate::fdi::transport::HttpResponse;

const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// A token is renewed this long before its end, or in the last tenth of a shorter life.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// What a token is good for when IAM does not say.
const ASSUMED_LIFE: Duration = Duration::from_hours(1);
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// After IAM gave no new token the one at hand is used for this long before IAM is context again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Path and query of the request for a token. The catalogue of all services is not wanted.
pub(crate) const TOKENS: (&str, &str) = ("/v3/auth/tokens", "nocatalog=true");

/// The token of one user for one project.
#[derive(Default)]
pub(crate) struct TokenCache {
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Latest failure to get one, shared with all who were waiting for the same.
    failure: Option<(Instant, CallError)>,
}

/// A token that is good until `ends`.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: SecretString,
    /// When we got it; tells one token from the next.
    obtained: Instant,
    renew: Instant,
    ends: Instant,
}

/// A token, and whether it was obtained for this very request.
pub(crate) struct CachedToken {
    pub(crate) token: Token,
    pub(crate) newly_issued: bool,
}

impl TokenCache {
    /// The token at hand, or a new one from `request`, which is a use of `credential`. Whoever asks while one is being got waits
    /// for that one.
    pub(crate) async fn token<F>(
        &self,
        breaker: &Arc<CircuitBreaker>,
        request: impl FnOnce() -> F,
    ) -> Result<CachedToken, CallError>
    where
        F: Future<Output = Result<Token, CallError>>,
    {
        let context = Instant::now();
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let paused = |state: &State| state.failure.as_ref().is_some_and(|(at, _)| now < *at + PAUSE_AFTER_FAILURE);
        let at_hand = state.token.clone().filter(|token| now < token.ends);
        if let Some(token) = &at_hand
            && (now < token.renew || paused(&state))
        {
            return Ok(CachedToken { token: token.clone(), newly_issued: false });
        }
        if let Some((at, error)) = &state.failure
            && *at > context
        {
            return Err(error.clone());
        }
        let admission = breaker.admit().await?;
        let answer = request().await;
        match answer {
            Ok(token) => {
                // Not yet closed: only FDI says whether it takes the token.
                drop(admission);
                *state = State { token: Some(token.clone()), failure: None };
                Ok(CachedToken { token, newly_issued: true })
            }
            Err(mut error) => {
                let refused = error.class == Class::SignIn;
                if refused {
                    admission.refused(&mut error);
                } else {
                    drop(admission);
                }
                state.failure = Some((Instant::now(), error.clone()));
                match at_hand {
                    Some(token) if !refused => Ok(CachedToken { token, newly_issued: false }),
                    _ => Err(error),
                }
            }
        }
    }

    /// Forgets `token`, which was refused, unless another has taken its location.
    pub(crate) async fn forget(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|known| known.obtained == token.obtained) {
            state.token = None;
        }
    }
}

/// The body that asks IAM for a token for the project.
pub(crate) fn request_body(domain: &str, user: &str, password: &SecretString, project_id: &str) -> Vec<u8> {
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
struct TokenAnswer {
    token: Times,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Times {
    issued_at: Option<String>,
    expires_at: Option<String>,
}

/// The token in IAM's answer; `None` when there is none.
pub(crate) fn token_in(response: &HttpResponse) -> Option<Token> {
    let value = response.headers.get(SUBJECT_TOKEN)?.to_str().ok().filter(|value| !value.is_empty())?;
    let answer: TokenAnswer = serde_json::from_slice(&response.body).unwrap_or_default();
    let life = life(&answer.token, response.received);
    let obtained = Instant::now();
    Some(Token {
        value: value.into(),
        obtained,
        renew: obtained + life.saturating_sub(RENEW_BEFORE.min(life / 10)),
        ends: obtained + life,
    })
}

/// From IAM's own two times, so that a wrong clock on our side does not matter.
fn life(times: &Times, received: Timestamp) -> Duration {
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(expires) = time(&times.expires_at) else { return ASSUMED_LIFE };
    let issued = time(&times.issued_at).unwrap_or(received);
    Duration::try_from(expires.duration_since(issued)).unwrap_or_default().clamp(SHORTEST_LIFE, 24 * ASSUMED_LIFE)
}

#[cfg(test)]
mod tests;
