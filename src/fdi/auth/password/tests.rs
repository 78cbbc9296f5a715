use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::fdi::error::Cause;

/// A sign-in of a credential that nobody else has.
#[derive(Default)]
struct Alone(TokenCache, Arc<CircuitBreaker>);

impl Alone {
    async fn token<F: Future<Output = Result<Token, CallError>>>(
        &self,
        request: impl FnOnce() -> F,
    ) -> Result<CachedToken, CallError> {
        self.0.token(&self.1, request).await
    }
}

fn sign_in() -> Alone {
    Alone::default()
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
    let sign_in = sign_in();
    let first = sign_in.token(|| async { Ok(token("one", 7200)) }).await.unwrap();
    assert!(first.newly_issued);
    tokio::time::advance(Duration::from_secs(7200 - 301)).await;
    let kept = sign_in.token(|| async { Ok(token("two", 7200)) }).await.unwrap();
    assert_eq!((value(&kept), kept.newly_issued), ("one", false));
    tokio::time::advance(Duration::from_secs(2)).await;
    let renewed = sign_in.token(|| async { Ok(token("two", 7200)) }).await.unwrap();
    assert_eq!((value(&renewed), renewed.newly_issued), ("two", true));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_together_cause_one_request_and_share_its_failure() {
    let sign_in = sign_in();
    let context = AtomicUsize::new(0);
    let request = || async {
        context.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(CallError::unavailable("Timeout", "No answer."))
    };
    let results = futures::future::join_all((0..50).map(|_| sign_in.token(request))).await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(context.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn while_iam_is_away_the_token_at_hand_serves_until_its_end() {
    let sign_in = sign_in();
    let away = || async { Err(CallError::unavailable("Timeout", "No answer.")) };
    sign_in.token(|| async { Ok(token("one", 7200)) }).await.unwrap();
    tokio::time::advance(Duration::from_secs(7000)).await;
    assert_eq!(value(&sign_in.token(away).await.unwrap()), "one");
    let context = AtomicUsize::new(0);
    let counted = || {
        context.fetch_add(1, Ordering::Relaxed);
        away()
    };
    sign_in.token(counted).await.unwrap();
    assert_eq!(context.load(Ordering::Relaxed), 0, "IAM is not asked again at once");
    tokio::time::advance(Duration::from_secs(201)).await;
    assert!(sign_in.token(away).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refused_password_bars_the_credential() {
    let sign_in = sign_in();
    let refuse = || async { Err(CallError::new(Class::SignIn, Cause::SignInRefused, "401", "Wrong password.")) };
    assert!(sign_in.token(refuse).await.is_err());
    let context = AtomicUsize::new(0);
    let error = sign_in.token(|| async {
        context.fetch_add(1, Ordering::Relaxed);
        Ok(token("one", 60))
    });
    let error = error.await.err().unwrap();
    assert_eq!((error.message.as_str(), context.load(Ordering::Relaxed)), ("Wrong password.", 0));
    assert!(error.retry_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn only_the_token_that_was_refused_is_forgotten() {
    let sign_in = sign_in();
    let old = sign_in.token(|| async { Ok(token("one", 60)) }).await.unwrap().token;
    sign_in.0.forget(&old).await;
    tokio::time::advance(Duration::from_millis(1)).await;
    sign_in.token(|| async { Ok(token("two", 60)) }).await.unwrap();
    sign_in.0.forget(&old).await;
    assert_eq!(value(&sign_in.token(|| async { Ok(token("three", 60)) }).await.unwrap()), "two");
}

#[test]
fn a_tokens_life_is_that_between_iams_own_times_and_has_bounds() {
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
fn an_answer_without_a_token_is_none() {
    assert!(token_in(&HttpResponse::default()).is_none());
    assert!(token_in(&response("t", "<html>")).is_some(), "the body only says until when");
}
