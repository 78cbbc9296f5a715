use futures::FutureExt;

use super::*;

fn refusal() -> CallError {
    CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused.")
}

/// Admits and refuses; `None` while the circuit is open.
async fn refuse(breaker: &Arc<CircuitBreaker>) -> Option<()> {
    let admission = breaker.admit().await.ok()?;
    admission.refused(&mut refusal());
    Some(())
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_returns_the_refusal_at_once_and_when_to_retry() {
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
async fn an_unproven_credential_is_probed_by_one_and_a_proven_one_used_freely() {
    let breaker = Arc::new(CircuitBreaker::default());
    let first = breaker.admit().await.unwrap();
    let mut second = Box::pin(breaker.admit());
    assert!(second.as_mut().now_or_never().is_none(), "the first has no verdict yet");
    first.accepted();
    let _second = second.await.unwrap();
    let _third = breaker.admit().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_probe_that_is_refused_send_nothing() {
    let breaker = Arc::new(CircuitBreaker::default());
    let first = breaker.admit().await.unwrap();
    let mut second = Box::pin(breaker.admit());
    assert!(second.as_mut().now_or_never().is_none());
    first.refused(&mut refusal());
    assert!(second.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn probes_that_hang_let_others_start_up_to_the_bound() {
    let breaker = Arc::new(CircuitBreaker::default());
    let _hangs = breaker.admit().await.unwrap();
    let begun = Instant::now();
    let _second = breaker.admit().await.unwrap();
    assert!(begun.elapsed() >= PATIENCE);
    let _third = breaker.admit().await.unwrap();
    let fourth = tokio::time::timeout(Duration::from_mins(10), breaker.admit()).await;
    assert!(fourth.is_err(), "three probes might all be refused");
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_a_verdict_lets_the_next_one_start() {
    let breaker = Arc::new(CircuitBreaker::default());
    drop(breaker.admit().await.unwrap());
    assert!(breaker.admit().now_or_never().unwrap().is_ok());
    assert_eq!(breaker.state().probes, 0);
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
