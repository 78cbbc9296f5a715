use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::fdi::auth::circuit_breaker::CircuitBreaker;
use crate::fdi::error::Cause;

/// A cache and circuit of their own.
struct Cache(TokenCache, Circuit);

impl Cache {
    async fn token<F: Future<Output = Result<Token, CallError>>>(
        &self,
        request: impl FnOnce() -> F,
    ) -> Result<CachedToken, CallError> {
        self.0.token(&self.1, request).await
    }
}

fn cache() -> Cache {
    Cache(TokenCache::default(), Arc::new(CircuitBreaker::default()).circuit("iam"))
}

fn response(token: &str, body: &str) -> HttpResponse {
    let mut response = HttpResponse { status: 201, body: body.as_bytes().to_vec(), ..HttpResponse::default() };
    response.headers.insert(SUBJECT_TOKEN, token.parse().unwrap());
    response
}

fn token(value: &str, seconds: u64) -> Token {
    let body = format!(
        r#"{{"token":{{"issued_at":"2020-01-01T00:00:00.000000Z","expires_at":"2020-01-01T{:02}:{:02}:{:02}.000000Z"}}}}"#,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    token_in(&response(value, &body)).unwrap()
}

fn value(cached: &CachedToken) -> &str {
    cached.token.value.expose_secret()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let cache = cache();
    let first = cache.token(|| async { Ok(token("one", 7200)) }).await.unwrap();
    assert!(first.newly_issued);
    tokio::time::advance(Duration::from_secs(7200 - 301)).await;
    let kept = cache.token(|| async { Ok(token("two", 7200)) }).await.unwrap();
    assert_eq!((value(&kept), kept.newly_issued), ("one", false));
    tokio::time::advance(Duration::from_secs(2)).await;
    let renewed = cache.token(|| async { Ok(token("two", 7200)) }).await.unwrap();
    assert_eq!((value(&renewed), renewed.newly_issued), ("two", true));
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_request_and_its_failure() {
    let cache = cache();
    let requests = AtomicUsize::new(0);
    let request = || async {
        requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(CallError::unavailable("Timeout", "No answer."))
    };
    let results = futures::future::join_all((0..50).map(|_| cache.token(request))).await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn while_iam_is_unavailable_the_valid_token_is_used_until_its_end() {
    let cache = cache();
    let unavailable = || async { Err(CallError::unavailable("Timeout", "No answer.")) };
    cache.token(|| async { Ok(token("one", 7200)) }).await.unwrap();
    tokio::time::advance(Duration::from_secs(7000)).await;
    assert_eq!(value(&cache.token(unavailable).await.unwrap()), "one");
    let requests = AtomicUsize::new(0);
    let counted = || {
        requests.fetch_add(1, Ordering::Relaxed);
        unavailable()
    };
    cache.token(counted).await.unwrap();
    assert_eq!(requests.load(Ordering::Relaxed), 0, "IAM gets no second request at once");
    tokio::time::advance(Duration::from_secs(201)).await;
    assert!(cache.token(unavailable).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refused_password_opens_the_circuit() {
    let cache = cache();
    let refuse = || async { Err(CallError::new(Class::SignIn, Cause::SignInRefused, "401", "Wrong password.")) };
    assert!(cache.token(refuse).await.is_err());
    let requests = AtomicUsize::new(0);
    let error = cache.token(|| async {
        requests.fetch_add(1, Ordering::Relaxed);
        Ok(token("one", 60))
    });
    let error = error.await.err().unwrap();
    assert_eq!((error.message.as_str(), requests.load(Ordering::Relaxed)), ("Wrong password.", 0));
    assert!(error.retry_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn only_the_token_that_was_refused_is_forgotten() {
    let cache = cache();
    let old = cache.token(|| async { Ok(token("one", 60)) }).await.unwrap().token;
    cache.0.forget(&old);
    tokio::time::advance(Duration::from_millis(1)).await;
    cache.token(|| async { Ok(token("two", 60)) }).await.unwrap();
    cache.0.forget(&old);
    assert_eq!(value(&cache.token(|| async { Ok(token("three", 60)) }).await.unwrap()), "two");
}

#[test]
fn the_life_of_a_token_comes_from_iams_own_times_and_is_bounded() {
    let life = |issued: Option<&str>, expires: Option<&str>| {
        let times = Times { issued_at: issued.map(Into::into), expires_at: expires.map(Into::into) };
        life(&times, "2026-01-01T00:00:00Z".parse().unwrap()).as_secs()
    };
    assert_eq!(life(Some("2020-01-04T09:05:22.701000Z"), Some("2020-01-05T09:05:22.701000Z")), 86_400);
    assert_eq!(life(None, Some("2026-01-01T00:10:00Z")), 600);
    assert_eq!(life(Some("2020-01-04T00:00:00Z"), Some("2019-01-04T00:00:00Z")), 1);
    assert_eq!(life(Some("2020-01-04T00:00:00Z"), Some("9999-01-04T00:00:00Z")), 86_400);
    assert_eq!(life(None, Some("tomorrow")), 3600);
    assert_eq!(life(None, None), 3600);
}

#[test]
fn the_request_is_scoped_to_the_project_by_id() {
    let body = String::from_utf8(request_body("d", "u", &"p\"w".into(), "id")).unwrap();
    assert_eq!(
        body,
        r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"d"},"name":"u","password":"p\"w"}}},"scope":{"project":{"id":"id"}}}}"#
    );
}

#[test]
fn a_response_without_a_token_has_none() {
    assert!(token_in(&HttpResponse::default()).is_none());
    assert!(token_in(&response("t", "<html>")).is_some(), "the body only says when the token ends");
}
