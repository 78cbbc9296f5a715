#![allow(clippy::unwrap_used)]

use futures::FutureExt;

use super::*;
use crate::fdi::SignIn;

fn refusal() -> CallError {
    CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused.")
}

fn key(secret: &str) -> CredentialKey {
    CredentialKey { site: "here".into(), fingerprint: SignIn::Token(secret.into()).fingerprint() }
}

/// Admits and refuses; `None` when barred.
async fn refuse(credential: &Arc<Credential>) -> Option<()> {
    let admission = credential.admit().await.ok()?;
    admission.refused(&mut refusal());
    Some(())
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_share_a_wrong_key_send_three_refused_requests_in_five_minutes_together() {
    let credentials = Credentials::default();
    let start = Instant::now();
    let mut sent = Vec::new();
    while start.elapsed() < Duration::from_hours(1) {
        for _ in 0..100 {
            if refuse(&credentials.get(key("wrong"))).await.is_some() {
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
    let credential = Arc::new(Credential::default());
    refuse(&credential).await.unwrap();
    let error = credential.admit().now_or_never().unwrap().err().unwrap();
    assert_eq!((error.class, error.code.as_str()), (Class::SignIn, "APIGW.0301"));
    let wait = error.retry_after.unwrap();
    assert!((Duration::from_secs(5)..=Duration::from_millis(5500)).contains(&wait), "{wait:?}");
    tokio::time::advance(wait).await;
    assert!(credential.admit().now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn changed_secret_data_are_tried_at_once() {
    let credentials = Credentials::default();
    refuse(&credentials.get(key("old"))).await.unwrap();
    assert!(credentials.get(key("old")).admit().await.is_err());
    assert!(credentials.get(key("new")).admit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unproven_credential_is_tried_by_one_and_a_proven_one_runs_freely() {
    let credential = Arc::new(Credential::default());
    let first = credential.admit().await.unwrap();
    let mut second = Box::pin(credential.admit());
    assert!(second.as_mut().now_or_never().is_none(), "waits for the verdict on the first");
    first.accepted();
    let _second = second.await.unwrap();
    let _third = credential.admit().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_trial_that_is_refused_send_nothing() {
    let credential = Arc::new(Credential::default());
    let first = credential.admit().await.unwrap();
    let mut second = Box::pin(credential.admit());
    assert!(second.as_mut().now_or_never().is_none());
    first.refused(&mut refusal());
    assert!(second.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trials_that_hang_let_others_by_up_to_the_bound() {
    let credential = Arc::new(Credential::default());
    let _hangs = credential.admit().await.unwrap();
    let begun = Instant::now();
    let _second = credential.admit().await.unwrap();
    assert!(begun.elapsed() >= PATIENCE);
    let _third = credential.admit().await.unwrap();
    let fourth = tokio::time::timeout(Duration::from_mins(10), credential.admit()).await;
    assert!(fourth.is_err(), "three trials might all be refused");
}

#[tokio::test(start_paused = true)]
async fn a_trial_without_a_verdict_lets_the_next_one_try() {
    let credential = Arc::new(Credential::default());
    drop(credential.admit().await.unwrap());
    assert!(credential.admit().now_or_never().unwrap().is_ok());
    assert_eq!(credential.state().trials, 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_success_does_not_outweigh_a_newer_refusal() {
    let credential = Arc::new(Credential::default());
    credential.admit().await.unwrap().accepted();
    let slow = credential.admit().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    refuse(&credential).await.unwrap();
    slow.accepted();
    assert!(credential.admit().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_entry_unused_for_an_hour_is_forgotten_unless_somebody_holds_it() {
    let credentials = Credentials::default();
    let held = credentials.get(key("held"));
    drop(credentials.get(key("dropped")));
    tokio::time::advance(FORGET_AFTER).await;
    credentials.get(key("other"));
    let known = credentials.known.lock().unwrap();
    assert!(known.contains_key(&key("held")) && !known.contains_key(&key("dropped")));
    drop(held);
}
