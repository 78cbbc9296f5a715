use futures::FutureExt;

use super::*;

fn refusal() -> CallError {
    CallError::new(Class::SignIn, Cause::SignInRefused, "APIGW.0301", "Refused.")
}

/// The only target of a credential.
fn circuit() -> Circuit {
    Arc::new(CircuitBreaker::default()).circuit("target")
}

/// Admits and refuses; `None` while the circuit is open.
async fn refuse(circuit: &Circuit) -> Option<()> {
    let admission = circuit.admit().await.ok()?;
    admission.refused(&mut refusal());
    Some(())
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_returns_the_refusal_at_once_and_when_to_retry() {
    let circuit = circuit();
    refuse(&circuit).await.unwrap();
    let error = circuit.admit().now_or_never().unwrap().err().unwrap();
    assert_eq!((error.class, error.code.as_str()), (Class::SignIn, "APIGW.0301"));
    let wait = error.retry_after.unwrap();
    assert!((Duration::from_secs(5)..=Duration::from_millis(5500)).contains(&wait), "{wait:?}");
    tokio::time::advance(wait).await;
    assert!(circuit.admit().now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unproven_credential_is_probed_by_one_and_a_proven_one_used_freely() {
    let circuit = circuit();
    let first = circuit.admit().await.unwrap();
    let mut second = Box::pin(circuit.admit());
    assert!(second.as_mut().now_or_never().is_none(), "the first has no verdict yet");
    first.accepted();
    let _second = second.await.unwrap();
    let _third = circuit.admit().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_probe_that_is_refused_send_nothing() {
    let circuit = circuit();
    let first = circuit.admit().await.unwrap();
    let mut second = Box::pin(circuit.admit());
    assert!(second.as_mut().now_or_never().is_none());
    first.refused(&mut refusal());
    assert!(second.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn probes_that_hang_let_others_start_up_to_the_bound() {
    let circuit = circuit();
    let _hangs = circuit.admit().await.unwrap();
    let begun = Instant::now();
    let _second = circuit.admit().await.unwrap();
    assert!(begun.elapsed() >= PATIENCE);
    let _third = circuit.admit().await.unwrap();
    let begun = Instant::now();
    let error = circuit.admit().await.err().unwrap();
    assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "SignInPending"), "all three might be refused");
    assert!(begun.elapsed() <= ADMISSION_TIMEOUT, "nobody waits longer than this");
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_a_verdict_lets_the_next_one_start() {
    let circuit = circuit();
    drop(circuit.admit().await.unwrap());
    assert!(circuit.admit().now_or_never().unwrap().is_ok());
    assert_eq!(circuit.breaker.state.lock().probes, 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_success_does_not_outweigh_a_newer_refusal() {
    let circuit = circuit();
    circuit.admit().await.unwrap().accepted();
    let slow = circuit.admit().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    refuse(&circuit).await.unwrap();
    slow.accepted();
    assert!(circuit.admit().await.is_err());
}

async fn accept(circuit: &Circuit) -> Result<(), CallError> {
    circuit.admit().await?.accepted();
    Ok(())
}

/// The circuits of some instances that share a credential.
fn circuits<const N: usize>(targets: [&str; N]) -> [Circuit; N] {
    let breaker = Arc::new(CircuitBreaker::default());
    targets.map(|target| breaker.circuit(target))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_one_instance_does_not_take_a_proven_credential_from_another() {
    let [ours, refusing] = circuits(["ours", "refusing"]);
    accept(&ours).await.unwrap();
    let start = Instant::now();
    let mut refusals = 0;
    while start.elapsed() < Duration::from_hours(1) {
        refusals += usize::from(refuse(&refusing).await.is_some());
        assert!(ours.admit().now_or_never().is_some_and(|admitted| admitted.is_ok()), "{:?}", start.elapsed());
        tokio::time::advance(Duration::from_secs(1)).await;
        accept(&ours).await.unwrap();
    }
    assert!((6..=40).contains(&refusals), "{refusals}: at most three in five minutes");
}

#[tokio::test(start_paused = true)]
async fn many_instances_with_reasons_of_their_own_do_not_take_it_away_either() {
    let [ours, a, b, c, d] = circuits(["ours", "a", "b", "c", "d"]);
    accept(&ours).await.unwrap();
    for seconds in 0..3600 {
        for refusing in [&a, &b, &c, &d] {
            refuse(refusing).await;
        }
        if seconds % 30 == 0 {
            accept(&ours).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_credential_is_refused_three_times_however_many_instances_used_it() {
    let targets: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let breaker = Arc::new(CircuitBreaker::default());
    let all: Vec<Circuit> = targets.iter().map(|target| breaker.circuit(target)).collect();
    for circuit in &all {
        accept(circuit).await.unwrap();
    }
    let mut sent = 0;
    for _ in 0..240 {
        for circuit in &all {
            sent += usize::from(refuse(circuit).await.is_some());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(sent, REFUSALS_MAX);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_in_flight_together_are_refused_once() {
    let [ours, refusing] = circuits(["ours", "refusing"]);
    accept(&ours).await.unwrap();
    let mut together = Vec::new();
    for _ in 0..10 {
        together.push(refusing.admit().await.unwrap());
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    for admission in together {
        admission.refused(&mut refusal());
    }
    assert!(ours.admit().now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_requests_go_one_at_a_time_until_one_is_accepted() {
    let [a, b, c] = circuits(["a", "b", "c"]);
    for circuit in [&a, &b, &c] {
        accept(circuit).await.unwrap();
    }
    refuse(&a).await.unwrap();
    let probe = b.admit().await.unwrap();
    let mut waits = Box::pin(c.admit());
    assert!(waits.as_mut().now_or_never().is_none());
    probe.accepted();
    waits.await.unwrap();
    assert!(a.admit().await.is_err(), "the circuit of the one that was refused stays open");
}

#[tokio::test(start_paused = true)]
async fn probes_take_turns_in_the_order_in_which_they_came() {
    let [a, b, c] = circuits(["a", "b", "c"]);
    let first = a.admit().await.unwrap();
    let (mut second, mut third) = (Box::pin(b.admit()), Box::pin(c.admit()));
    assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
    drop(first);
    assert!(third.as_mut().now_or_never().is_none(), "it came last");
    let _second = second.as_mut().now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_waits_as_long_as_the_service_asks_for() {
    let circuit = circuit();
    let mut error = CallError { retry_after: Some(Duration::from_mins(1)), ..refusal() };
    circuit.admit().await.unwrap().refused(&mut error);
    assert_eq!(error.retry_after, Some(Duration::from_mins(1)));
}
