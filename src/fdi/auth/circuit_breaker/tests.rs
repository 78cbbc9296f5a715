use futures::FutureExt;

use super::*;
use crate::fdi::auth::SignIn;

fn refusal() -> CallError {
    CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused.")
}

fn key(secret: &str) -> CircuitKey {
    CircuitKey { site: "here".into(), fingerprint: SignIn::Token(secret.into()).fingerprint() }
}

/// Admits and refuses; `None` when open_until.
async fn refuse(breaker: &Arc<CircuitBreaker>) -> Option<()> {
    let admission = breaker.admit().await.ok()?;
    admission.refused(&mut refusal());
    Some(())
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_share_a_wrong_key_send_three_refused_requests_in_five_minutes_together() {
    let breakers = CircuitBreakers::default();
    let start = Instant::now();
    let mut sent = Vec::new();
    while start.elapsed() < Duration::from_hours(1) {
        for _ in 0..100 {
            if refuse(&breakers.get(key("wrong"))).await.is_some() {
                sent.push(Instant::now());
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(sent.len() >= 6, "it is tried again, more and more slowly: {}", sent.len());
    for (index, at) in sent.iter().enumerate() {
        let within = sent[index..].iter().take_while(|later| **later - *at < WINDOW).count();
        assert!(within <= REFUSALS_MAX, "{within} refusals within five minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_barred_credential_answers_at_once_with_the_refusal_and_when_to_ask_again() {
    let breaker = Arc::new(CircuitBreaker::default());
    refuse(&breaker).await.unwrap();
    let error = breaker.admit().now_or_never().unwrap().err().unwrap();
    assert_eq!((error.class, error.code.as_str()), (Class::SignIn, "APIGW.0301"));
    let wait = error.retry_after.unwrap();
    assert!((Duration::from_secs(5)..=Duration::from_millis(5500)).contains(&wait), "{wait:?}");
    tokio::time::advance(wait).await;
    assert!(breaker.admit().now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn changed_secret_data_are_tried_at_once() {
    let breakers = CircuitBreakers::default();
    refuse(&breakers.get(key("old"))).await.unwrap();
    assert!(breakers.get(key("old")).admit().await.is_err());
    assert!(breakers.get(key("new")).admit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unproven_credential_is_tried_by_one_and_a_proven_one_runs_freely() {
    let breaker = Arc::new(CircuitBreaker::default());
    let first = breaker.admit().await.unwrap();
    let mut second = Box::pin(breaker.admit());
    assert!(second.as_mut().now_or_never().is_none(), "waits for the verdict on the first");
    first.accepted();
    let _second = second.await.unwrap();
    let _third = breaker.admit().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_trial_that_is_refused_send_nothing() {
    let breaker = Arc::new(CircuitBreaker::default());
    let first = breaker.admit().await.unwrap();
    let mut second = Box::pin(breaker.admit());
    assert!(second.as_mut().now_or_never().is_none());
    first.refused(&mut refusal());
    assert!(second.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trials_that_hang_let_others_by_up_to_the_bound() {
    let breaker = Arc::new(CircuitBreaker::default());
    let _hangs = breaker.admit().await.unwrap();
    let begun = Instant::now();
    let _second = breaker.admit().await.unwrap();
    assert!(begun.elapsed() >= PATIENCE);
    let _third = breaker.admit().await.unwrap();
    let fourth = tokio::time::timeout(Duration::from_mins(10), breaker.admit()).await;
    assert!(fourth.is_err(), "three trials might all be refused");
}

#[tokio::test(start_paused = true)]
async fn a_trial_without_a_verdict_lets_the_next_one_try() {
    let breaker = Arc::new(CircuitBreaker::default());
    drop(breaker.admit().await.unwrap());
    assert!(breaker.admit().now_or_never().unwrap().is_ok());
    assert_eq!(breaker.state().trials, 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_success_does_not_outweigh_a_newer_refusal() {
    let breaker = Arc::new(CircuitBreaker::default());
    breaker.admit().await.unwrap().accepted();
    let slow = breaker.admit().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    refuse(&breaker).await.unwrap();
    slow.accepted();
    assert!(breaker.admit().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_entry_unused_for_an_hour_is_forgotten_unless_somebody_holds_it() {
    let breakers = CircuitBreakers::default();
    let held = breakers.get(key("held"));
    drop(breakers.get(key("dropped")));
    tokio::time::advance(FORGET_AFTER).await;
    breakers.get(key("other"));
    let known = breakers.known.lock();
    assert!(known.contains_key(&key("held")) && !known.contains_key(&key("dropped")));
    drop(held);
}
