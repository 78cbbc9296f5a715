//! Several real processes, of which only one may call. The oracle is the simulator's log: each
//! process signs in for itself, so the token of a call identifies the process that sent it.

use std::time::{Duration, Instant};

use fdi_simulator::{Effect, Entry, Identity, Operation, Trigger};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rand::Rng as _;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{Process, TestEnv, faults, shared};

/// A Lease so short that a test can wait for its end.
pub const SHORT_LEASE: [&str; 3] = ["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=500ms"];
/// With the default durations a take-over happens within this.
pub const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Edits a group several times a second, so that there is always a call to send.
pub fn edit_continuously(env: &TestEnv) -> JoinHandle<()> {
    let groups: Api<fdi_operator::crd::FdiTaskGroup> = Api::namespaced(env.client.clone(), &env.namespace);
    tokio::spawn(async move {
        for state in ["Stopped", "Running"].iter().cycle() {
            let patch = Patch::Merge(json!({"spec": {"desiredState": state}}));
            let _ = groups.patch("orders", &PatchParams::default(), &patch).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    })
}

/// The requests to FDI in order of arrival.
pub fn calls(log: &[Entry]) -> Vec<&Entry> {
    log.iter().filter(|entry| matches!(entry.operation, Operation::Batch | Operation::List)).collect()
}

/// The processes that called, in order of taking over. Fails when one called again after another
/// had started.
pub fn callers(log: &[Entry]) -> Vec<Identity> {
    let mut callers: Vec<Identity> = Vec::new();
    for entry in calls(log) {
        if callers.last() == Some(&entry.identity) {
            continue;
        }
        assert!(!callers.contains(&entry.identity), "two callers at once: the former one sent call {}", entry.seq);
        callers.push(entry.identity.clone());
    }
    callers
}

/// Waits until that many processes have called one after the other. Returns how long that took.
pub async fn wait_callers(env: &TestEnv, count: usize, within: Duration) -> Duration {
    let began = Instant::now();
    let waited = env.sim.wait_for(within, |view| (callers(view.log()).len() >= count).then_some(())).await;
    assert!(waited.is_ok(), "no caller number {count} within {within:?}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_defaults_another_takes_over_at_once_after_a_clean_end_and_in_20_s_after_a_kill() {
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    env.group("orders", "Running", &ids).await;
    let mut first = Process::start(&env, &[]);
    first.wait_leading().await;
    let edits = edit_continuously(&env);
    let second = Process::start(&env, &[]);
    second.wait_ready().await;
    wait_callers(&env, 1, TAKEOVER_TIMEOUT).await;

    first.signal(Signal::TERM);
    let took = wait_callers(&env, 2, TAKEOVER_TIMEOUT).await;
    assert!(took < Duration::from_secs(3), "{took:?} after a clean end");
    assert!(first.ended(Duration::from_secs(6)).await.0.success(), "{}", first.log());
    faults::record(
        "the leader gets SIGTERM",
        "it finished its calls in flight and released the Lease; the follower called",
        took,
    );

    let third = Process::start(&env, &[]);
    third.wait_ready().await;
    second.signal(Signal::KILL);
    let took = wait_callers(&env, 3, TAKEOVER_TIMEOUT).await;
    faults::record("the leader is killed (SIGKILL)", "the Lease expired and the follower called", took);
    edits.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_suspended_past_its_lease_sends_nothing_when_resumed_and_exits() {
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    env.group("orders", "Running", &ids).await;
    let mut suspended = Process::start(&env, &SHORT_LEASE);
    suspended.wait_leading().await;
    let edits = edit_continuously(&env);
    let other = Process::start(&env, &SHORT_LEASE);
    other.wait_ready().await;
    wait_callers(&env, 1, TAKEOVER_TIMEOUT).await;
    suspended.signal(Signal::STOP);
    let took = wait_callers(&env, 2, TAKEOVER_TIMEOUT).await;
    faults::record("the leader hangs (SIGSTOP, Lease of 4 s)", "the Lease expired and the follower called", took);
    let at_resume = env.sim.last_seq();
    suspended.signal(Signal::CONT);
    let (status, took) = suspended.ended(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(1), "{}", suspended.log());
    assert!(suspended.log().contains("leadership lost"), "{}", suspended.log());
    faults::record(
        "a leader that hung resumes after its Lease expired (SIGCONT)",
        "it sent nothing and exited with code 1",
        took,
    );
    // The other goes on calling, and sent everything since.
    env.sim
        .wait_for(TAKEOVER_TIMEOUT, |view| (calls(view.log()).last()?.seq > at_resume + 10).then_some(()))
        .await
        .unwrap();
    env.sim.with_log(|log| {
        let callers = callers(log);
        assert_eq!(callers.len(), 2);
        assert!(calls(log).iter().filter(|call| call.seq > at_resume).all(|call| call.identity == callers[1]));
    });
    edits.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_suspended_in_the_middle_of_a_reconcile_does_not_go_on_with_it() {
    for round in 0..3 {
        let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
        env.group("orders", "Running", &ids).await;
        let mut suspended = Process::start(&env, &SHORT_LEASE);
        suspended.wait_leading().await;
        env.wait_ready("orders").await;
        let other = Process::start(&env, &SHORT_LEASE);
        other.wait_ready().await;
        // The suspended process is in the middle of step 2 (which a list under two seconds old
        // would skip): it waits for a token, to request the list again.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        env.sim.fault(Trigger::on(Operation::Token).times(1), Effect::Delay { before_ms: 700, after_ms: 0 });
        let before = env.sim.last_seq();
        env.sim.revoke_all_tokens();
        env.edit("orders", json!({"desiredState": "Stopped"})).await;
        let sign_in = |log: &[Entry]| log.iter().any(|entry| entry.seq > before && entry.operation == Operation::Token);
        env.wait_log("a sign-in", sign_in).await;
        suspended.signal(Signal::STOP);
        let at_suspension = env.sim.last_seq();
        env.wait_ready("orders").await;
        let successor = env.sim.with_log(|log| calls(log).last().unwrap().identity.clone());
        suspended.signal(Signal::CONT);
        let (status, _) = suspended.ended(Duration::from_secs(5)).await;
        assert_eq!(status.code(), Some(1), "{}", suspended.log());
        env.sim.with_log(|log| {
            let since = calls(log).into_iter().filter(|call| call.seq > at_suspension);
            let strange: Vec<_> = since.filter(|call| call.identity != successor).collect();
            assert!(strange.is_empty(), "round {round}: it went on with the response from before: {strange:#?}");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_with_random_kills_never_call_at_once() {
    kills(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes; make soak runs it"]
async fn three_replicas_with_random_kills_for_two_minutes_never_call_at_once() {
    kills(Duration::from_mins(2)).await;
}

/// The number of the replica that holds the Lease.
async fn leader(env: &TestEnv) -> Option<usize> {
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), &env.namespace);
    let holder = leases.get_opt("fdi-operator").await.unwrap()?.spec?.holder_identity?;
    holder.split('_').next()?.parse().ok()
}

/// Kills, ends, or suspends and resumes one of three replicas again and again.
async fn kills(duration: Duration) {
    let (env, ids) = TestEnv::for_replicas(shared().await, 1).await;
    env.group("orders", "Running", &ids).await;
    let start =
        |which: usize| Process::start(&env, &[&SHORT_LEASE[..], &[&format!("--lease-identity={which}")]].concat());
    let mut replicas: Vec<Process> = (0..3).map(start).collect();
    wait_callers(&env, 1, TAKEOVER_TIMEOUT).await;
    let edits = edit_continuously(&env);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(500..3000))).await;
        let (mut which, how) = (rand::rng().random_range(0..3), rand::rng().random_range(0..3));
        // Mostly the leader, because the others matter less.
        if rand::rng().random_bool(0.8) {
            which = leader(&env).await.unwrap_or(which);
        }
        let replica = &mut replicas[which];
        if !replica.has_ended() {
            match how {
                0 => replica.signal(Signal::KILL),
                1 => replica.signal(Signal::TERM),
                _ => {
                    replica.signal(Signal::STOP);
                    tokio::time::sleep(Duration::from_millis(rand::rng().random_range(500..5000))).await;
                    replica.signal(Signal::CONT);
                }
            }
        }
        for (which, replica) in replicas.iter_mut().enumerate() {
            if replica.has_ended() {
                *replica = start(which);
                rounds += 1;
            }
        }
        // One fault at a time: the next comes only once a process calls, so that each silence is
        // one take-over at most.
        let seen = env.sim.last_seq();
        let called =
            env.sim.wait_for(TAKEOVER_TIMEOUT, |view| (calls(view.log()).last()?.seq > seen).then_some(())).await;
        assert!(called.is_ok(), "nobody calls any more");
    }
    edits.abort();
    let (callers, longest, count) = env.sim.with_log(|log| {
        let calls = calls(log);
        let gaps = calls.windows(2).map(|pair| pair[1].arrived_at - pair[0].arrived_at);
        (callers(log).len(), gaps.max().unwrap_or_default(), calls.len())
    });
    faults::record(
        &format!(
            "three replicas, a random one killed, ended or suspended again and again for {} s (Lease of 4 s)",
            duration.as_secs()
        ),
        &format!(
            "{rounds} restarts, {callers} leaders, {count} calls, never two callers at once; the longest silence took"
        ),
        Duration::from_millis(longest.try_into().unwrap()),
    );
    assert!(callers >= 2 && count > 20, "nothing was put to the test: {callers} leaders, {count} calls");
    // One take-over: a Lease that was just renewed lasts its whole 4 s, a candidate reads it one
    // retry period later, and the first list follows.
    assert!(longest < 7_000, "{longest} ms without a caller");
}
