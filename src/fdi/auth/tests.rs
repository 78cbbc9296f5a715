use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::fdi::auth::circuit_breaker::{REFUSALS_MAX, WINDOW};
use crate::fdi::auth::sign_in::SignIn;
use crate::fdi::error::{CallError, Cause, Class};

fn key(secret: &str) -> CredentialKey {
    CredentialKey { site: "here".into(), fingerprint: SignIn::Token(secret.into()).fingerprint() }
}

/// Admits and refuses; `None` while the circuit is open.
async fn refuse(credential: &Credential) -> Option<()> {
    let admission = credential.breaker.admit().await.ok()?;
    admission.refused(&mut CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused."));
    Some(())
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_share_a_wrong_key_send_three_refused_requests_in_five_minutes() {
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
    assert!(sent.len() >= 6, "it is retried, more and more slowly: {}", sent.len());
    for (index, at) in sent.iter().enumerate() {
        let within = sent[index..].iter().take_while(|later| **later - *at < WINDOW).count();
        assert!(within <= REFUSALS_MAX, "{within} refusals within five minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn changed_secret_data_is_tried_at_once() {
    let credentials = Credentials::default();
    refuse(&credentials.get(key("old"))).await.unwrap();
    assert!(credentials.get(key("old")).breaker.admit().await.is_err());
    assert!(credentials.get(key("new")).breaker.admit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_credential_unused_for_an_hour_is_forgotten_unless_somebody_holds_it() {
    let credentials = Credentials::default();
    let held = credentials.get(key("held"));
    drop(credentials.get(key("dropped")));
    tokio::time::advance(FORGET_AFTER).await;
    credentials.get(key("other"));
    let known = credentials.0.lock();
    assert!(known.contains_key(&key("held")) && !known.contains_key(&key("dropped")));
    drop(held);
}
