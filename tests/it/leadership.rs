//! Leader election between real processes. Each sends through a line of its own, so who called when is known without asking them.

use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;

use crate::harness::{Process, SOON, Stage, operator_kubeconfig};

/// A Lease a fifth as long as usual, for tests that wait for it to run out.
const SHORT: [&str; 3] = ["--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=500ms"];

/// The shipped rights on the Lease, in the stage's namespace instead of the one that is installed into.
async fn lease_rights(stage: &Stage) {
    let installed: Api<Role> = Api::namespaced(stage.client.clone(), "fdi-system");
    let shipped = installed.get("fdi-operator-lease").await.unwrap();
    let here: Api<Role> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let metadata = ObjectMeta { name: shipped.metadata.name.clone(), ..Default::default() };
    here.create(&PostParams::default(), &Role { metadata, rules: shipped.rules }).await.unwrap();
    let installed: Api<RoleBinding> = Api::namespaced(stage.client.clone(), "fdi-system");
    let shipped = installed.get("fdi-operator-lease").await.unwrap();
    let here: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let metadata = ObjectMeta { name: shipped.metadata.name.clone(), ..Default::default() };
    here.create(&PostParams::default(), &RoleBinding { metadata, ..shipped }).await.unwrap();
}

async fn staged(tasks: usize) -> (Stage, Vec<String>) {
    let (stage, ids) = Stage::new(tasks).await;
    lease_rights(&stage).await;
    stage.group("orders", "Running", &ids).await;
    (stage, ids)
}

async fn replica(stage: &Stage, flags: &[&str]) -> Process {
    let (scope, lease) =
        (format!("--namespaces={}", stage.namespace), format!("--lease-namespace={}", stage.namespace));
    let all: Vec<&str> = [scope.as_str(), lease.as_str()].into_iter().chain(flags.iter().copied()).collect();
    Process::start(&operator_kubeconfig(&stage.namespace).await, &stage.sim.url(), &all).await
}

/// Waits until the process has sent something after `since`; how long after.
async fn calls_after(process: &Process, since: Instant, within: Duration) -> Duration {
    let called = async {
        loop {
            if let Some(first) = process.calls().into_iter().find(|call| *call > since) {
                return first - since;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(within, called).await;
    waited.unwrap_or_else(|_| panic!("it did not call within {within:?}:\n{}", process.log()))
}

/// A leader that has worked and a warm follower that has not.
async fn pair(stage: &Stage, flags: &[&str]) -> (Process, Process) {
    let leader = replica(stage, flags).await;
    calls_after(&leader, Instant::now(), SOON).await;
    let follower = replica(stage, flags).await;
    follower.ready().await;
    assert!(follower.calls().is_empty(), "a follower calls nobody");
    (leader, follower)
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1}", elapsed.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_within_20_s() {
    let (stage, ids) = staged(3).await;
    let (mut leader, follower) = pair(&stage, &[]).await;
    let killed = Instant::now();
    leader.signal("KILL").await;
    leader.ended(SOON).await;
    let took = calls_after(&follower, killed, Duration::from_secs(40)).await;
    println!("| leader killed (SIGKILL) | the follower took the Lease when it had run out | {} |", seconds(took));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_cleanly_is_followed_within_3_s_and_exits_with_0() {
    let (stage, ids) = staged(3).await;
    let (mut leader, follower) = pair(&stage, &[]).await;
    stage.wait_ready("orders").await;
    let asked = Instant::now();
    leader.signal("TERM").await;
    let took = calls_after(&follower, asked, SOON).await;
    println!("| leader asked to end (SIGTERM) | it gave the Lease back; the follower took it | {} |", seconds(took));
    assert_eq!(leader.ended(SOON).await.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(leader.calls().iter().all(|call| *call < asked + took), "the old leader called after the new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_stopped_past_its_lease_and_resumed_sends_nothing_and_ends_with_1() {
    let (stage, ids) = staged(3).await;
    let (mut leader, follower) = pair(&stage, &SHORT).await;
    stage.wait_ready("orders").await;
    let stopped = Instant::now();
    leader.signal("STOP").await;
    let took = calls_after(&follower, stopped, SOON).await;
    // Something to do that the old leader would do too, if it still thought it were one.
    stage.edit("orders", json!({"desiredState": "Stopped"})).await;
    stage.service.wait_until_all(false, &ids, SOON).await.unwrap();
    let before = leader.calls().len();
    stage.edit("orders", json!({"desiredState": "Running"})).await;
    let resumed = Instant::now();
    leader.signal("CONT").await;
    assert_eq!(leader.ended(SOON).await.code(), Some(1), "{}", leader.log());
    println!(
        "| leader stopped (SIGSTOP) past a Lease of 3 s and resumed | the follower took over after {} s; the resumed one sent \
         nothing and ended | {} |",
        seconds(took),
        seconds(resumed.elapsed())
    );
    assert!(leader.log().contains("leadership lost"), "{}", leader.log());
    assert_eq!(leader.calls().len(), before, "the resumed process called:\n{}", leader.log());
    stage.wait_ready("orders").await;
}

/// Three replicas, one killed at random again and again while there is always something to do.
async fn never_two_and_never_long_none(length: Duration) {
    let (stage, ids) = staged(4).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(replica(&stage, &SHORT).await);
    }
    let mut calls: Vec<Vec<Instant>> = Vec::new();
    let newest = |running: &[Process]| running.iter().filter_map(|process| process.calls().pop()).max();
    let (began, mut last_kill, mut next_kill) = (Instant::now(), Instant::now(), None);
    let (mut round, mut kills) = (0, 0);
    while began.elapsed() < length {
        round += 1;
        let wanted = if round % 2 == 0 { "Running" } else { "Stopped" };
        stage.edit("orders", json!({"desiredState": wanted})).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        // One kill at a time: the next one only after somebody has called since the last.
        if next_kill.is_none() && newest(&running).is_some_and(|call| call > last_kill) {
            next_kill = Some(Instant::now() + Duration::from_millis(rand::random_range(200..2500)));
        }
        if next_kill.is_some_and(|due| Instant::now() > due) {
            let leader = (0..3).max_by_key(|n| running[*n].calls().pop()).unwrap();
            let chosen = if rand::random_bool(0.5) { leader } else { rand::random_range(0..3) };
            last_kill = Instant::now();
            running[chosen].signal("KILL").await;
            running[chosen].ended(SOON).await;
            let killed = std::mem::replace(&mut running[chosen], replica(&stage, &SHORT).await);
            calls.push(killed.calls());
            (next_kill, kills) = (None, kills + 1);
        }
    }
    calls.extend(running.iter().map(Process::calls));
    // No process leads twice, so the times from its first to its last call must not overlap those of another.
    let mut terms: Vec<(Instant, Instant)> =
        calls.iter().filter_map(|calls| Some((*calls.first()?, *calls.last()?))).collect();
    terms.sort();
    for pair in terms.windows(2) {
        assert!(pair[0].1 < pair[1].0, "two callers at once for {:?}", pair[0].1 - pair[1].0);
    }
    let mut all: Vec<Instant> = calls.into_iter().flatten().collect();
    all.sort();
    let longest = all.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    println!(
        "| three replicas, {kills} random kills in {} s, Lease of 3 s | {} leaders, never two callers at once | longest time \
         without a caller {} |",
        length.as_secs(),
        terms.len(),
        seconds(longest)
    );
    assert!(kills >= 3 && terms.len() >= 2, "{kills} kills, {} leaders: nothing was tried", terms.len());
    // A Lease, a retry with its jitter, and the start of the work.
    assert!(longest < Duration::from_secs(7), "nobody called for {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_replicas_and_random_kills_there_are_never_two_callers_and_never_long_none() {
    never_two_and_never_long_none(Duration::from_secs(25)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes; make soak"]
async fn soak_two_minutes_of_random_kills() {
    never_two_and_never_long_none(Duration::from_secs(120)).await;
}
