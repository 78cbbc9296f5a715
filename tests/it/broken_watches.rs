//! Watches that expire, break off, say nonsense or nothing at all, each at a chosen moment: the
//! real operator against an API server that plays these tricks. However a watch breaks, an edit
//! made meanwhile is carried out, and nobody is asked in a tight loop.

use std::time::{Duration, Instant};

use fdi_simulator::{InstanceHandle, Options, Simulator};
use serde_json::json;

use crate::harness::fake_api::{Ask, FakeApi, GROUPS, INSTANCES, Served, Spoiled, Trick};
use crate::harness::{INSTANCE, PROJECT, Process, SOON, TOKEN, faults};

const ALONE: &str = "--leader-election=false";
/// More than one page of a list.
const MANY: usize = 60;

pub struct Scene {
    _sim: Simulator,
    pub service: InstanceHandle,
    served: Served,
    pub ids: Vec<String>,
    process: Option<Process>,
}

impl Scene {
    /// So many groups `g00`, `g01` …, each with one task that is to run. No operator yet.
    pub async fn before(groups: usize) -> Self {
        let sim = Simulator::start(Options::default()).await.unwrap();
        sim.set_token(TOKEN, Some(PROJECT), Duration::from_secs(24 * 3600));
        let service = sim.instance(PROJECT, INSTANCE);
        let ids = service.create_tasks(groups);
        let served = Served::start(&sim).await;
        for (n, id) in ids.iter().enumerate() {
            served.api.group(&name(n), "Running", std::slice::from_ref(id));
        }
        Self { _sim: sim, service, served, ids, process: None }
    }

    /// The same with an operator that has done all its work and watches.
    pub async fn set(groups: usize, flags: &[&str]) -> Self {
        let mut scene = Self::before(groups).await;
        scene.operate(flags);
        scene.all_ready().await;
        scene
    }

    pub fn operate(&mut self, flags: &[&str]) {
        let flags = [&[ALONE], flags].concat();
        self.process = Some(Process::with_kubeconfig(&self.served.kubeconfig(), &flags));
    }

    pub fn api(&self) -> &FakeApi {
        &self.served.api
    }

    fn log(&self) -> String {
        self.process.as_ref().unwrap().log()
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let fulfilled = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, fulfilled).await.is_ok(), "not within {SOON:?}: {what}\n{}", self.log());
    }

    pub async fn all_ready(&self) {
        self.until("all ready", || (0..self.ids.len()).all(|n| self.api().is_ready(&name(n)))).await;
        let watched = |kind| self.api().asked(kind, Ask::Watch) > 0;
        self.until("watches", || watched(GROUPS) && watched(INSTANCES)).await;
    }

    /// Asks for a group's task to be stopped.
    pub fn stop(&self, n: usize) {
        self.api().group(&name(n), "Stopped", &self.ids[n..=n]);
    }

    /// Waits until that is done and said; how long it took.
    pub async fn stopped(&self, n: usize) -> Duration {
        let began = Instant::now();
        let done = || !self.service.running().contains(&self.ids[n]) && self.api().is_ready(&name(n));
        self.until("the edit carried out", done).await;
        began.elapsed()
    }

    fn lists(&self) -> usize {
        self.api().asked(GROUPS, Ask::Page(1))
    }

    fn watches(&self) -> usize {
        self.api().asked(GROUPS, Ask::Watch)
    }

    /// How often the service was asked to start or stop this task.
    fn told(&self, n: usize) -> usize {
        self.service.batch_calls().iter().filter(|call| call.ids.iter().any(|id| **id == *self.ids[n])).count()
    }
}

fn name(n: usize) -> String {
    format!("g{n:02}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_expired_is_listed_anew_whichever_way_the_api_server_says_so() {
    for (plainly, how) in [(false, "an ERROR event"), (true, "status code 410")] {
        let scene = Scene::set(2, &[]).await;
        let lists = scene.lists();
        scene.api().mute(GROUPS);
        scene.stop(1);
        scene.api().compact(plainly);
        scene.api().end(GROUPS);
        let took = scene.stopped(1).await;
        assert_eq!(scene.lists(), lists + 1, "{how}");
        assert_eq!((scene.told(0), scene.told(1)), (1, 2), "{how}");
        faults::row(
            &format!("the watch's version has expired (410), told by {how}"),
            "listed anew, the edit made meanwhile carried out",
            took,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_continue_token_expires_is_begun_again_and_nothing_is_lost_or_done_twice() {
    let mut scene = Scene::before(MANY).await;
    scene.api().trick(GROUPS, Ask::Page(2), Trick::Refuse(410, "Expired"));
    scene.operate(&[]);
    scene.all_ready().await;
    assert_eq!(scene.lists(), 2);
    assert_eq!(scene.service.running().len(), MANY);
    assert!((0..MANY).all(|n| scene.told(n) == 1), "no task is told twice");

    // The same while much changes between the pages.
    scene.api().mute(GROUPS);
    scene.stop(MANY - 1);
    scene.api().delete(GROUPS, &name(7));
    scene.api().compact(false);
    scene.api().trick(GROUPS, Ask::Page(2), Trick::Refuse(410, "Expired"));
    scene.api().end(GROUPS);
    let took = scene.stopped(MANY - 1).await;
    scene.until("59 groups counted", || scene.api().counted() == Some(59)).await;
    assert_eq!(scene.lists(), 4);
    assert!((0..MANY).all(|n| scene.told(n) == if n == MANY - 1 { 2 } else { 1 }));
    faults::row(
        "the continue token expires between two pages of a list (410)",
        "the list begun again, nothing lost, nothing done twice",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_garbled_or_cut_off_is_not_lost() {
    for (how, told) in [(Spoiled::Garbled, "is no JSON"), (Spoiled::Cut, "breaks off in the middle")] {
        let scene = Scene::set(2, &[]).await;
        scene.api().spoil(GROUPS, how);
        scene.stop(1);
        let took = scene.stopped(1).await;
        faults::row(&format!("a line of the watch {told}"), "begun anew, the edit in that line carried out", took);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_as_soon_as_they_begin_are_asked_for_with_growing_waits() {
    let scene = Scene::set(2, &[]).await;
    let (lists, watches) = (scene.lists(), scene.watches());
    scene.api().keep_ending(Some(GROUPS));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = scene.watches() - watches;
    assert!((2..=12).contains(&asked), "{asked} watches in 6 s");
    assert_eq!(scene.lists(), lists, "the version is still good");
    scene.stop(1);
    scene.api().keep_ending(None);
    let took = scene.stopped(1).await;
    faults::row(
        "every watch is ended as soon as it begins, for 6 s",
        &format!("{asked} watches begun, the edit carried out"),
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_makes_no_sense_stops_the_watch_of_no_other() {
    let scene = Scene::set(2, &[]).await;
    let (lists, watches) = (scene.lists(), scene.watches());
    scene.api().put(GROUPS, "odd", json!({"spec": {"taskIds": 7, "desiredState": ["?"]}, "status": "none"}));
    scene.stop(1);
    scene.stopped(1).await;
    assert_eq!((scene.lists(), scene.watches()), (lists, watches), "the same watch goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_spec_becomes_unreadable_keeps_its_tasks_and_nobody_switches_them() {
    let scene = Scene::set(2, &[]).await;
    scene.api().put(GROUPS, "g00", json!({"spec": {"desiredState": "Paused"}}));
    scene.until("SpecInvalid", || scene.api().ready_reason("g00").as_deref() == Some("SpecInvalid")).await;
    scene.api().group("younger", "Stopped", &scene.ids[..1]);
    scene.until("a conflict", || scene.api().conflicting("younger") == Some(1)).await;
    // More than one reconcile has ended since.
    scene.stop(1);
    scene.stopped(1).await;
    assert_eq!((scene.told(0), scene.service.running().len()), (1, 1));
    scene.api().group("g00", "Stopped", &scene.ids[..1]);
    scene.stopped(0).await;
}

/// So that a dead watch is noticed within seconds here.
const SHORT: &str = "--watch-timeout=2s";

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_dies_silently_is_begun_anew_from_where_it_was() {
    let scene = Scene::set(2, &[SHORT]).await;
    let lists = scene.lists();
    scene.api().mute(GROUPS);
    scene.stop(1);
    let took = scene.stopped(1).await;
    assert_eq!(scene.lists(), lists, "the version is still good");
    assert!(scene.log().contains("not even the end of the watch: the connection is dead"), "{}", scene.log());
    assert!(took < Duration::from_secs(6), "{took:?}");
    faults::row(
        "a watch says nothing any more, its connection stays open (a watch lasts 2 s here, 60 s by default)",
        "begun anew where it was, the edit made meanwhile carried out",
        took,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_never_answered_is_asked_for_again() {
    let mut scene = Scene::before(2).await;
    scene.api().trick(GROUPS, Ask::Page(1), Trick::Silence);
    scene.operate(&[SHORT]);
    let began = Instant::now();
    scene.all_ready().await;
    let took = began.elapsed();
    assert!(scene.log().contains("no response within 2s"), "{}", scene.log());
    faults::row("the first list is never answered (2 s allowed here, 60 s by default)", "asked again", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_watch_goes_on_where_it_was_once_in_its_length_and_is_never_listed_even_if_the_server_does_not_end_it()
{
    let scene = Scene::set(2, &[SHORT]).await;
    for ended in [true, false] {
        let (lists, watches) = (scene.lists(), scene.watches());
        tokio::time::sleep(Duration::from_secs(9)).await;
        let anew = scene.watches() - watches;
        assert!((2..=5).contains(&anew), "{anew} watches in 9 s, ended by the server: {ended}");
        assert_eq!(scene.lists(), lists);
        let metrics = scene.process.as_ref().unwrap().get("/metrics").await.1;
        let age = r#"fdi_operator_watch_age_seconds{kind="FdiTaskGroup",scope="all"} "#;
        let age: f64 = metrics.lines().find_map(|line| line.strip_prefix(age)).unwrap().parse().unwrap();
        assert!(age < 5.0, "{age} s since the last sign of life of a watch that lives");
        scene.api().endless();
    }
}
