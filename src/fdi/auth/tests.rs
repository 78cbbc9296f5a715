use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::*;
use crate::fdi::auth::circuit_breaker::REFUSALS_MAX;
use crate::fdi::auth::lockout::WINDOW;
use crate::fdi::error::{CallError, Cause, Class};

const SITE: &str = "here";

fn token(secret: &str) -> SignIn {
    SignIn::Token(secret.into())
}

fn key(secret: &str) -> SignIn {
    SignIn::AccessKey { access_key: "AKIDEXAMPLE".into(), secret_key: secret.into(), security_token: None }
}

/// Admits and refuses; the error while the circuit is open.
async fn refuse(credential: &Credential, target: &str) -> Result<(), CallError> {
    let admission = credential.breaker.circuit(target).admit().await?;
    admission.refused(&mut CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused."));
    Ok(())
}

async fn accept(credential: &Credential, target: &str) -> Result<(), CallError> {
    credential.breaker.circuit(target).admit().await?.accepted();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_share_a_wrong_key_send_three_refused_requests_in_five_minutes() {
    let credentials = Credentials::default();
    let start = Instant::now();
    let mut sent = Vec::new();
    while start.elapsed() < Duration::from_hours(1) {
        for number in 0..100 {
            if refuse(&credentials.get(SITE, &token("wrong")), &number.to_string()).await.is_ok() {
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
    for sign_in in [token, key] {
        let credentials = Credentials::default();
        refuse(&credentials.get(SITE, &sign_in("old")), "i").await.unwrap();
        assert!(credentials.get(SITE, &sign_in("old")).breaker.circuit("i").admit().await.is_err());
        assert!(credentials.get(SITE, &sign_in("new")).breaker.circuit("i").admit().await.is_ok());
    }
}

/// Several Secrets with somebody's access key ID and wrong secret keys, tried whenever the operator
/// allows it, and the right one, which comes later.
#[tokio::test(start_paused = true)]
async fn wrong_values_for_a_key_are_refused_twice_in_five_minutes_and_never_keep_the_right_one_out() {
    let credentials = Credentials::default();
    let start = Instant::now();
    let (mut refusals, mut accepted) = (Vec::new(), None);
    while start.elapsed() < Duration::from_hours(1) {
        for secret in ["wrong-1", "wrong-2", "wrong-3"] {
            if refuse(&credentials.get(SITE, &key(secret)), secret).await.is_ok() {
                refusals.push(Instant::now());
            }
        }
        if start.elapsed() >= Duration::from_mins(10) {
            match (accept(&credentials.get(SITE, &key("right")), "ours").await, accepted) {
                (Ok(()), None) => accepted = Some(start.elapsed()),
                (Ok(()), Some(_)) => {}
                (Err(error), since) => assert!(since.is_none(), "an accepted value is never held back: {error}"),
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(accepted, Some(Duration::from_mins(10)), "it is sent at once");
    assert!(refusals.len() >= 6, "they are retried: {}", refusals.len());
    for (index, at) in refusals.iter().enumerate() {
        let within = refusals[index..].iter().take_while(|later| **later - *at < WINDOW).count();
        assert!(within <= 2, "{within} refusals within five minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_held_back_says_why_and_until_when() {
    let credentials = Credentials::default();
    for secret in ["wrong-1", "wrong-2"] {
        refuse(&credentials.get(SITE, &key(secret)), "theirs").await.unwrap();
    }
    let error = accept(&credentials.get(SITE, &key("right")), "ours").await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::SignIn, "SignInHeldBack"));
    assert!(error.message.contains("other values for this user or access key"), "{}", error.message);
    tokio::time::advance(error.retry_after.unwrap()).await;
    accept(&credentials.get(SITE, &key("right")), "ours").await.unwrap();
    let other = SignIn::AccessKey { access_key: "AKIDOTHER".into(), secret_key: "s".into(), security_token: None };
    assert!(credentials.get(SITE, &other).breaker.circuit("ours").admit().now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn values_that_get_no_response_are_not_called_refused() {
    let credentials = Credentials::default();
    let ours = credentials.get(SITE, &key("ours")).breaker.circuit("ours");
    let theirs = credentials.get(SITE, &key("theirs")).breaker.circuit("theirs");
    let (_first, second) = (ours.admit().await.unwrap(), theirs.admit().await.unwrap());
    let error = ours.admit().await.err().unwrap();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "SignInPending"));
    drop(second);
    assert!(ours.admit().await.is_ok(), "two might be refused");
}

#[tokio::test(start_paused = true)]
async fn a_credential_unused_for_an_hour_is_forgotten_unless_somebody_holds_it() {
    let credentials = Credentials::default();
    let held = credentials.get(SITE, &token("held"));
    drop(credentials.get(SITE, &key("dropped")));
    tokio::time::advance(FORGET_AFTER).await;
    credentials.get(SITE, &token("other"));
    let known = credentials.0.lock();
    let contains = |sign_in: &SignIn| known.credentials.contains_key(&(SITE.to_owned(), sign_in.fingerprint()));
    assert!(contains(&token("held")) && !contains(&key("dropped")));
    assert!(known.principals.is_empty());
    drop(held);
}
