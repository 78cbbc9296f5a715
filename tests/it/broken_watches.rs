//! Watches that expire, break off, send malformed data or nothing at all, each at a chosen moment:
//! the real operator against an API server that injects these faults. However a watch breaks, the
//! operator carries out an edit that was made meanwhile, and it never retries in a tight loop.

use std::time::{Duration, Instant};

use fdi_simulator::{InstanceHandle, Options, Simulator};
use serde_json::json;

use crate::harness::fake_api::{Corruption, FakeApi, FakeApiServer, Fault, GROUPS, INSTANCES, RequestKind};
use crate::harness::{INSTANCE, PROJECT, Process, TIMEOUT, TOKEN, faults};

const ALONE: &str = "--leader-election=false";
/// More than one page of a list.
const MANY: usize = 60;

pub struct Fixture {
    pub sim: Simulator,
    pub service: InstanceHandle,
    server: FakeApiServer,
    pub ids: Vec<String>,
    process: Option<Process>,
}

impl Fixture {
    /// With the groups `g00`, `g01` …, each with one task that is to run. No operator yet.
    pub async fn without_operator(groups: usize) -> Self {
        let sim = Simulator::start(Options::default()).await.unwrap();
        sim.set_token(TOKEN, Some(PROJECT), Duration::from_secs(24 * 3600));
        let service = sim.instance(PROJECT, INSTANCE);
        let ids = service.create_tasks(groups);
        let server = FakeApiServer::start(&sim).await;
        for (n, id) in ids.iter().enumerate() {
            server.api.group(&name(n), "Running", std::slice::from_ref(id));
        }
        Self { sim, service, server, ids, process: None }
    }

    /// The same with an operator that has converged and watches.
    pub async fn running(groups: usize, flags: &[&str]) -> Self {
        let mut fixture = Self::without_operator(groups).await;
        fixture.start_operator(flags);
        fixture.wait_all_ready().await;
        fixture
    }

    pub fn start_operator(&mut self, flags: &[&str]) {
        let flags = [&[ALONE], flags].concat();
        self.process = Some(Process::with_kubeconfig(&self.server.kubeconfig(), &flags));
    }

    pub fn api(&self) -> &FakeApi {
        &self.server.api
    }

    fn log(&self) -> String {
        self.process.as_ref().unwrap().log()
    }

    pub async fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let fulfilled = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(
            tokio::time::timeout(TIMEOUT, fulfilled).await.is_ok(),
            "not within {TIMEOUT:?}: {what}\n{}",
            self.log()
        );
    }

    pub async fn wait_all_ready(&self) {
        self.wait_until("all ready", || (0..self.ids.len()).all(|n| self.api().is_ready(&name(n)))).await;
        let watched = |kind| self.api().request_count(kind, RequestKind::Watch) > 0;
        self.wait_until("watches", || watched(GROUPS) && watched(INSTANCES)).await;
    }

    /// Edits a group to stop its task.
    pub fn stop(&self, n: usize) {
        self.api().group(&name(n), "Stopped", &self.ids[n..=n]);
    }

    /// Waits until the task is stopped and the status reports it. Returns how long that took.
    pub async fn wait_stopped(&self, n: usize) -> Duration {
        let began = Instant::now();
        let done = || !self.service.running().contains(&self.ids[n]) && self.api().is_ready(&name(n));
        self.wait_until("the edit carried out", done).await;
        began.elapsed()
    }

    fn lists(&self) -> usize {
        self.api().request_count(GROUPS, RequestKind::Page(1))
    }

    fn watches(&self) -> usize {
        self.api().request_count(GROUPS, RequestKind::Watch)
    }

    /// How many calls have named this task.
    pub fn calls_for(&self, n: usize) -> usize {
        self.service.batch_calls().iter().filter(|call| call.ids.iter().any(|id| **id == *self.ids[n])).count()
    }
}

fn name(n: usize) -> String {
    format!("g{n:02}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_version_leads_to_a_new_list_whichever_way_the_api_server_reports_it() {
    for (by_status_code, how) in [(false, "an ERROR event"), (true, "status code 410")] {
        let fixture = Fixture::running(2, &[]).await;
        let lists = fixture.lists();
        fixture.api().silence(GROUPS);
        fixture.stop(1);
        fixture.api().compact(by_status_code);
        fixture.api().end(GROUPS);
        let took = fixture.wait_stopped(1).await;
        assert_eq!(fixture.lists(), lists + 1, "{how}");
        assert_eq!((fixture.calls_for(0), fixture.calls_for(1)), (1, 2), "{how}");
        faults::record(
            &format!("the resource version of a watch has expired, reported by {how}"),
            "listed again and carried out the edit made meanwhile",
            took,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_continue_token_expires_starts_again_without_loss_or_repetition() {
    let mut fixture = Fixture::without_operator(MANY).await;
    fixture.api().inject(GROUPS, RequestKind::Page(2), Fault::Reject(410, "Expired"));
    fixture.start_operator(&[]);
    fixture.wait_all_ready().await;
    assert_eq!(fixture.lists(), 2);
    assert_eq!(fixture.service.running().len(), MANY);
    assert!((0..MANY).all(|n| fixture.calls_for(n) == 1), "no task is started twice");

    // The same while objects change between the pages.
    fixture.api().silence(GROUPS);
    fixture.stop(MANY - 1);
    fixture.api().delete(GROUPS, &name(7));
    fixture.api().compact(false);
    fixture.api().inject(GROUPS, RequestKind::Page(2), Fault::Reject(410, "Expired"));
    fixture.api().end(GROUPS);
    let took = fixture.wait_stopped(MANY - 1).await;
    fixture.wait_until("59 groups counted", || fixture.api().reported_groups() == Some(59)).await;
    assert_eq!(fixture.lists(), 4);
    assert!((0..MANY).all(|n| fixture.calls_for(n) == if n == MANY - 1 { 2 } else { 1 }));
    faults::record(
        "the continue token of a list expires between two pages (410)",
        "started the list again; nothing was lost or done twice",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_garbled_or_truncated_is_not_lost() {
    for (how, what) in [(Corruption::Garbled, "is not JSON"), (Corruption::Truncated, "breaks off in the middle")] {
        let fixture = Fixture::running(2, &[]).await;
        fixture.api().corrupt_next(GROUPS, how);
        fixture.stop(1);
        let took = fixture.wait_stopped(1).await;
        faults::record(
            &format!("a line of a watch {what}"),
            "listed again and carried out the edit in that line",
            took,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_as_soon_as_they_start_are_restarted_with_a_growing_back_off() {
    let fixture = Fixture::running(2, &[]).await;
    let (lists, watches) = (fixture.lists(), fixture.watches());
    fixture.api().end_new_watches(Some(GROUPS));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let restarts = fixture.watches() - watches;
    assert!((2..=12).contains(&restarts), "{restarts} watches in 6 s");
    assert_eq!(fixture.lists(), lists, "the version is still valid");
    fixture.stop(1);
    fixture.api().end_new_watches(None);
    let took = fixture.wait_stopped(1).await;
    faults::record(
        "every watch ends as soon as it starts, for 6 s",
        &format!("started {restarts} watches and carried out the edit"),
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_object_does_not_interrupt_the_watch_of_the_others() {
    let fixture = Fixture::running(2, &[]).await;
    let (lists, watches) = (fixture.lists(), fixture.watches());
    fixture.api().put(GROUPS, "odd", json!({"spec": {"taskIds": 7, "desiredState": ["?"]}, "status": "none"}));
    fixture.stop(1);
    fixture.wait_stopped(1).await;
    assert_eq!((fixture.lists(), fixture.watches()), (lists, watches), "the same watch goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_spec_becomes_unreadable_keeps_its_tasks_and_nobody_switches_them() {
    let fixture = Fixture::running(2, &[]).await;
    fixture.api().put(GROUPS, "g00", json!({"spec": {"desiredState": "Paused"}}));
    let invalid = || fixture.api().ready_reason("g00").as_deref() == Some("SpecInvalid");
    fixture.wait_until("SpecInvalid", invalid).await;
    fixture.api().group("younger", "Stopped", &fixture.ids[..1]);
    fixture.wait_until("a conflict", || fixture.api().conflicting("younger") == Some(1)).await;
    // More than one reconcile has ended since.
    fixture.stop(1);
    fixture.wait_stopped(1).await;
    assert_eq!((fixture.calls_for(0), fixture.service.running().len()), (1, 1));
    fixture.api().group("g00", "Stopped", &fixture.ids[..1]);
    fixture.wait_stopped(0).await;
}

/// The operator notices a dead watch within seconds.
const SHORT: &str = "--watch-timeout=2s";

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_dies_silently_resumes_from_its_last_version() {
    let fixture = Fixture::running(2, &[SHORT]).await;
    let lists = fixture.lists();
    fixture.api().silence(GROUPS);
    fixture.stop(1);
    let took = fixture.wait_stopped(1).await;
    assert_eq!(fixture.lists(), lists, "the version is still valid");
    assert!(fixture.log().contains("not even the end of the watch: the connection is dead"), "{}", fixture.log());
    assert!(took < Duration::from_secs(6), "{took:?}");
    faults::record(
        "a watch falls silent and its connection stays open (`--watch-timeout` 2 s, default 60 s)",
        "resumed the watch and carried out the edit made meanwhile",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_gets_no_answer_is_requested_again() {
    let mut fixture = Fixture::without_operator(2).await;
    fixture.api().inject(GROUPS, RequestKind::Page(1), Fault::Hang);
    fixture.start_operator(&[SHORT]);
    let began = Instant::now();
    fixture.wait_all_ready().await;
    let took = began.elapsed();
    assert!(fixture.log().contains("no response within 2s"), "{}", fixture.log());
    faults::record("the first list gets no answer (`--watch-timeout` 2 s, default 60 s)", "requested it again", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_watch_resumes_after_each_timeout_without_a_list_even_if_the_server_lags() {
    let fixture = Fixture::running(2, &[SHORT]).await;
    for ended in [true, false] {
        let (lists, watches) = (fixture.lists(), fixture.watches());
        tokio::time::sleep(Duration::from_secs(9)).await;
        let restarts = fixture.watches() - watches;
        assert!((2..=5).contains(&restarts), "{restarts} watches in 9 s, ended by the server: {ended}");
        assert_eq!(fixture.lists(), lists);
        let metrics = fixture.process.as_ref().unwrap().get("/metrics").await.1;
        let age = r#"fdi_operator_watch_age_seconds{kind="FdiTaskGroup",scope="all"} "#;
        let age: f64 = metrics.lines().find_map(|line| line.strip_prefix(age)).unwrap().parse().unwrap();
        assert!(age < 5.0, "{age} s since the last event of a live watch");

        fixture.api().never_end_watches();
    }
}
