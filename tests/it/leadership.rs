//! Several real processes, one of which may call. The oracle is the simulator's log: each process
//! signs in for itself, so the token of a call tells who made it.

use std::time::{Duration, Instant};

use fdi_simulator::{Effect, Entry, Identity, Operation, Trigger};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rand::Rng as _;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{Process, Stage, faults, shared};

/// A Lease so short that its end can be waited for.
pub const QUICK: [&str; 3] = ["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=500ms"];
/// The default figures promise a take-over within this.
pub const TAKE_OVER: Duration = Duration::from_secs(20);

/// Changes a group's mind several times a second, so that there is always something to call for.
pub fn restless(stage: &Stage) -> JoinHandle<()> {
    let groups: Api<fdi_operator::crd::FdiTaskGroup> = Api::namespaced(stage.client.clone(), &stage.namespace);
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

/// Who called, in order of taking over. Fails when somebody called again after another had begun.
pub fn callers(log: &[Entry]) -> Vec<Identity> {
    let mut callers: Vec<Identity> = Vec::new();
    for entry in calls(log) {
        if callers.last() == Some(&entry.identity) {
            continue;
        }
        assert!(!callers.contains(&entry.identity), "two callers at once, call {} is of the former one", entry.seq);
        callers.push(entry.identity.clone());
    }
    callers
}

/// Waits until so many processes have called one after the other; how long that took.
pub async fn wait_callers(stage: &Stage, count: usize, within: Duration) -> Duration {
    let began = Instant::now();
    let waited = stage.sim.wait_for(within, |view| (callers(view.log()).len() >= count).then_some(())).await;
    assert!(waited.is_ok(), "no caller number {count} within {within:?}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_default_figures_another_takes_over_at_once_after_a_clean_end_and_in_twenty_seconds_after_a_kill() {
    let (stage, ids) = Stage::contested(shared().await, 1).await;
    stage.group("orders", "Running", &ids).await;
    let mut first = Process::start(&stage, &[]);
    first.wait_leading().await;
    let restless = restless(&stage);
    let second = Process::start(&stage, &[]);
    second.wait_ready().await;
    wait_callers(&stage, 1, TAKE_OVER).await;

    first.signal(Signal::TERM);
    let took = wait_callers(&stage, 2, TAKE_OVER).await;
    assert!(took < Duration::from_secs(3), "{took:?} after a clean end");
    assert!(first.ended(Duration::from_secs(6)).await.0.success(), "{}", first.log());
    faults::row(
        "the leader is asked to end (SIGTERM)",
        "calls in flight ended, Lease given back, the follower calls",
        took,
    );

    let third = Process::start(&stage, &[]);
    third.wait_ready().await;
    second.signal(Signal::KILL);
    let took = wait_callers(&stage, 3, TAKE_OVER).await;
    faults::row("the leader is killed (SIGKILL)", "its Lease ran out, the follower calls", took);
    restless.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_past_its_lease_sends_nothing_when_it_wakes_and_ends() {
    let (stage, ids) = Stage::contested(shared().await, 1).await;
    stage.group("orders", "Running", &ids).await;
    let mut sleeper = Process::start(&stage, &QUICK);
    sleeper.wait_leading().await;
    let restless = restless(&stage);
    let other = Process::start(&stage, &QUICK);
    other.wait_ready().await;
    wait_callers(&stage, 1, TAKE_OVER).await;
    sleeper.signal(Signal::STOP);
    let took = wait_callers(&stage, 2, TAKE_OVER).await;
    faults::row("the leader hangs (SIGSTOP), Lease of 4 s", "its Lease ran out, the follower calls", took);
    let at_wake = stage.sim.last_seq();
    sleeper.signal(Signal::CONT);
    let (status, took) = sleeper.ended(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(1), "{}", sleeper.log());
    assert!(sleeper.log().contains("leadership lost"), "{}", sleeper.log());
    faults::row("that leader wakes up again (SIGCONT)", "it sent nothing and ended with code 1", took);
    // The other goes on calling, and everything since the wake is its own.
    stage.sim.wait_for(TAKE_OVER, |view| (calls(view.log()).last()?.seq > at_wake + 10).then_some(())).await.unwrap();
    stage.sim.with_log(|log| {
        let callers = callers(log);
        assert_eq!(callers.len(), 2);
        assert!(calls(log).iter().filter(|call| call.seq > at_wake).all(|call| call.identity == callers[1]));
    });
    restless.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_in_the_middle_of_a_pass_does_not_go_on_with_it() {
    for round in 0..3 {
        let (stage, ids) = Stage::contested(shared().await, 1).await;
        stage.group("orders", "Running", &ids).await;
        let mut sleeper = Process::start(&stage, &QUICK);
        sleeper.wait_leading().await;
        stage.wait_ready("orders").await;
        let other = Process::start(&stage, &QUICK);
        other.wait_ready().await;
        // The sleeper is in the middle of a look (a list under two seconds old would make one
        // unnecessary): it waits for a token with which to ask for the list again.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        stage.sim.fault(Trigger::on(Operation::Token).times(1), Effect::Delay { before_ms: 700, after_ms: 0 });
        let before = stage.sim.last_seq();
        stage.sim.revoke_all_tokens();
        stage.edit("orders", json!({"desiredState": "Stopped"})).await;
        let asked = |log: &[Entry]| log.iter().any(|entry| entry.seq > before && entry.operation == Operation::Token);
        stage.wait_log("a sign-in", asked).await;
        sleeper.signal(Signal::STOP);
        let asleep = stage.sim.last_seq();
        stage.wait_ready("orders").await;
        let successor = stage.sim.with_log(|log| calls(log).last().unwrap().identity.clone());
        sleeper.signal(Signal::CONT);
        let (status, _) = sleeper.ended(Duration::from_secs(5)).await;
        assert_eq!(status.code(), Some(1), "{}", sleeper.log());
        stage.sim.with_log(|log| {
            let since = calls(log).into_iter().filter(|call| call.seq > asleep);
            let strange: Vec<_> = since.filter(|call| call.identity != successor).collect();
            assert!(strange.is_empty(), "round {round}: the answer it slept through made it go on: {strange:#?}");
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
async fn leader(stage: &Stage) -> Option<usize> {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let holder = leases.get_opt("fdi-operator").await.unwrap()?.spec?.holder_identity?;
    holder.split('_').next()?.parse().ok()
}

/// Kills, ends, or freezes and wakes one of three replicas again and again.
async fn kills(lasting: Duration) {
    let (stage, ids) = Stage::contested(shared().await, 1).await;
    stage.group("orders", "Running", &ids).await;
    let start = |which: usize| Process::start(&stage, &[&QUICK[..], &[&format!("--lease-identity={which}")]].concat());
    let mut replicas: Vec<Process> = (0..3).map(start).collect();
    wait_callers(&stage, 1, TAKE_OVER).await;
    let restless = restless(&stage);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < lasting {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(500..3000))).await;
        let (mut which, how) = (rand::rng().random_range(0..3), rand::rng().random_range(0..3));
        // Mostly the leader: the others matter less.
        if rand::rng().random_bool(0.8) {
            which = leader(&stage).await.unwrap_or(which);
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
        // One blow at a time: the next only when somebody calls, so that each silence is one
        // take-over at most.
        let seen = stage.sim.last_seq();
        let called = stage.sim.wait_for(TAKE_OVER, |view| (calls(view.log()).last()?.seq > seen).then_some(())).await;
        assert!(called.is_ok(), "nobody calls any more");
    }
    restless.abort();
    let (callers, longest, count) = stage.sim.with_log(|log| {
        let calls = calls(log);
        let gaps = calls.windows(2).map(|pair| pair[1].arrived_at - pair[0].arrived_at);
        (callers(log).len(), gaps.max().unwrap_or_default(), calls.len())
    });
    faults::row(
        &format!(
            "three replicas, one at random killed, ended or frozen again and again for {} s, Lease of 4 s",
            lasting.as_secs()
        ),
        &format!(
            "{rounds} restarts, {callers} leaders, {count} calls, never two callers at once; the longest silence:"
        ),
        Duration::from_millis(longest.try_into().unwrap()),
    );
    assert!(callers >= 2 && count > 20, "nothing was put to the test: {callers} leaders, {count} calls");
    // One take-over: a Lease just renewed runs its whole length of 4 s, is looked at a retry period
    // later, and the first look at the service follows.
    assert!(longest < 7_000, "{longest} ms without a caller");
}
