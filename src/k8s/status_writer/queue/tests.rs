//! The queue against a model of the API server: slow, refusing, conflicting, and with objects that
//! are recreated.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::crd::FdiTaskGroupStatus;
use crate::k8s::status_writer::in_flight::{LARGE, NAMESPACE_BYTES};
use crate::k8s::status_writer::update::{Kind, Object};
use crate::metrics::{InstanceMetrics, Metrics};

const OBJECTS: usize = 6;
const SMALL: usize = 4 << 10;

static METRICS: LazyLock<Arc<InstanceMetrics>> = LazyLock::new(|| Metrics::new().instance("orders", "roma").into());

fn at(milliseconds: u64) -> Timestamp {
    add(Timestamp::UNIX_EPOCH, Duration::from_millis(milliseconds))
}

/// A status that carries a number, which grows with every status of an object.
fn status(number: i64) -> Status {
    Status::Group(Arc::new(FdiTaskGroupStatus { observed_generation: number, ..Default::default() }))
}

fn number(status: &Status) -> i64 {
    match status {
        Status::Group(status) => status.observed_generation,
        Status::Instance(status) => status.observed_generation,
    }
}

fn object(uid: &str, version: u64) -> Object {
    let (namespace, name, uid) = ("orders".to_owned(), uid.to_owned(), uid.into());
    Object { kind: Kind::Group, namespace, name, uid, version, bytes: SMALL }
}

fn update(uid: &str, version: u64, stored: i64, wanted: i64) -> Update {
    Update {
        object: object(uid, version),
        status: Some(status(wanted)),
        is_stored: stored == wanted,
        events: Vec::new(),
        finalizers: None,
        progress_only: false,
        urgent: false,
        metrics: Arc::clone(&METRICS),
        span: tracing::Span::none(),
    }
}

fn wanted(update: &Update) -> i64 {
    number(update.status.as_ref().unwrap())
}

#[test]
fn the_newest_status_replaces_one_that_is_still_queued() {
    let mut queue = Queue::default();
    queue.publish(update("a", 1, 0, 1), at(0));
    queue.publish(update("a", 1, 0, 2), at(1));
    assert_eq!(wanted(&queue.next(at(2)).unwrap()), 2);
    assert!(queue.next(at(2)).is_none());
}

#[test]
fn a_status_published_during_a_write_of_the_same_object_follows_it() {
    let mut queue = Queue::default();
    queue.publish(update("a", 1, 0, 1), at(0));
    queue.next(at(0)).unwrap();
    queue.publish(update("a", 1, 0, 2), at(1));
    assert!(queue.next(at(2)).is_none(), "one write in flight for each object");
    assert!(queue.complete(&object("a", 1), Outcome::Written(2), at(3)));
    assert_eq!(wanted(&queue.next(at(3)).unwrap()), 2);
}

#[test]
fn nothing_is_written_when_the_status_goes_back_to_what_is_stored() {
    let mut queue = Queue::default();
    queue.publish(update("a", 1, 0, 1), at(0));
    queue.publish(update("a", 1, 0, 0), at(1));
    assert!(queue.next(at(1)).is_none());
    assert!(queue.is_drained() && queue.entries.is_empty());
}

#[test]
fn a_status_that_goes_back_after_it_was_written_is_written_again() {
    let mut queue = Queue::default();
    queue.publish(update("a", 1, 0, 1), at(0));
    queue.next(at(0)).unwrap();
    queue.complete(&object("a", 1), Outcome::Written(2), at(1));
    assert_eq!(queue.overlay("a", 1).as_ref().map(number), Some(1), "the store has not shown the write yet");
    queue.publish(update("a", 1, 0, 0), at(2));
    assert_eq!(wanted(&queue.next(at(2)).unwrap()), 0);
}

#[test]
fn progress_is_held_back_for_a_verdict_but_not_for_longer_than_the_hold() {
    let progress = |number| Update { progress_only: true, ..update("a", 1, 0, number) };
    let mut queue = Queue::default();
    queue.publish(progress(1), at(0));
    assert!(queue.next(at(299)).is_none());
    assert_eq!(queue.next_eligible(at(299)), Some(at(300)));
    queue.publish(update("a", 1, 0, 2), at(299));
    assert_eq!(wanted(&queue.next(at(299)).unwrap()), 2, "the verdict goes at once");
    queue.complete(&object("a", 1), Outcome::Written(2), at(299));
    queue.publish(progress(3), at(1000));
    queue.publish(progress(4), at(1299));
    assert_eq!(wanted(&queue.next(at(1300)).unwrap()), 4, "further progress does not prolong the hold");
}

#[test]
fn a_refusal_with_the_code_of_a_race_is_believed_once_for_each_version() {
    let a = object("a", 7);
    let mut queue = Queue::default();
    queue.publish(update("a", 7, 0, 1), at(0));
    queue.next(at(0)).unwrap();
    assert!(queue.complete(&a, Outcome::Stale, at(0)), "the watch may just be behind");
    assert!(queue.next(at(999)).is_none());
    queue.next(at(1000)).unwrap();
    assert!(!queue.complete(&a, Outcome::Stale, at(1000)), "the object is the same: this is a refusal");
    assert_eq!(queue.failing_since("a"), Some(at(1000)));
    let mut attempts = 0;
    for second in 1..600 {
        while queue.next(at(1000 * second)).is_some() {
            attempts += 1;
            queue.complete(&a, Outcome::Stale, at(1000 * second));
        }
    }
    assert!((8..=16).contains(&attempts), "{attempts} attempts in ten minutes");
}

#[test]
fn an_urgent_update_goes_first_but_cannot_starve_the_others() {
    let mut queue = Queue::default();
    queue.publish(update("old", 1, 0, 1), at(0));
    queue.publish(Update { urgent: true, ..update("edited", 1, 0, 1) }, at(10));
    assert_eq!(&*queue.next(at(10)).unwrap().object.uid, "edited");
    queue.publish(Update { urgent: true, ..update("later", 1, 0, 1) }, at(2500));
    assert_eq!(&*queue.next(at(2500)).unwrap().object.uid, "old");
}

fn sized(uid: &str, namespace: &str, bytes: usize) -> Update {
    let update = update(uid, 1, 0, 1);
    Update { object: Object { namespace: namespace.to_owned(), bytes, ..update.object }, ..update }
}

#[test]
fn large_objects_of_a_namespace_are_written_one_after_another_with_pauses_and_those_of_others_meanwhile() {
    let mut queue = Queue::default();
    for n in 0..3 {
        queue.publish(sized(&format!("large-{n}"), "busy", 2 * NAMESPACE_BYTES), at(0));
        queue.publish(sized(&format!("small-{n}"), "quiet", SMALL), at(0));
    }
    let next = |queue: &mut Queue, now| queue.next(at(now)).map(|update| update.object.clone());
    let first = next(&mut queue, 0).unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut queue, 0).unwrap().namespace, "quiet");
    }
    assert!(next(&mut queue, 50).is_none() && !queue.is_drained());
    assert!(queue.complete(&first, Outcome::Written(2), at(50)));
    assert!(next(&mut queue, 249).is_none());
    assert_eq!(queue.next_eligible(at(249)), Some(at(250)));
    let second = next(&mut queue, 250).unwrap();
    assert_eq!(second.namespace, "busy");
    assert!(next(&mut queue, 350).is_none());
    queue.flush(at(350));
    assert!(queue.complete(&second, Outcome::Written(3), at(350)));
    assert_eq!(next(&mut queue, 350).unwrap().namespace, "busy", "no pause at shutdown");
}

#[test]
fn as_many_small_objects_of_a_namespace_are_written_at_once_as_fit() {
    let mut queue = Queue::default();
    for n in 0..100 {
        queue.publish(sized(&format!("{n}"), "orders", SMALL), at(0));
    }
    let in_flight: Vec<_> = std::iter::from_fn(|| queue.next(at(0))).collect();
    assert_eq!(in_flight.len(), NAMESPACE_BYTES / SMALL);
    assert!(queue.complete(&in_flight[0].object, Outcome::Written(2), at(50)));
    assert!(queue.next(at(50)).is_some(), "no pause");
}

#[test]
fn at_shutdown_what_is_held_back_is_written_at_once() {
    let mut queue = Queue::default();
    queue.publish(Update { progress_only: true, ..update("a", 1, 0, 1) }, at(0));
    assert!(queue.next(at(1)).is_none());
    queue.flush(at(1));
    assert!(!queue.is_drained());
    queue.next(at(1)).unwrap();
    queue.complete(&object("a", 1), Outcome::Written(2), at(2));
    assert!(queue.is_drained());
}

#[test]
fn our_last_writes_do_not_outrank_an_api_server_that_went_back_in_time() {
    let mut queue = Queue::default();
    queue.publish(update("a", 100, 0, 1), at(0));
    queue.next(at(0)).unwrap();
    queue.complete(&object("a", 1), Outcome::Written(101), at(0));
    queue.forget_versions();
    assert_eq!(queue.overlay("a", 50), None);
}

#[test]
fn a_status_that_comes_back_as_it_was_sent_is_kept_once() {
    let group = |status: &Status| match status {
        Status::Group(status) => Arc::clone(status),
        Status::Instance(_) => unreachable!("a group"),
    };
    let mut queue = Queue::default();
    queue.publish(update("a", 1, 0, 1), at(0));
    let sent = group(queue.next(at(0)).unwrap().status.as_ref().unwrap());
    let shown = FdiTaskGroupStatus::clone(&sent);
    assert!(Arc::ptr_eq(&queue.interned("a", &shown).unwrap(), &sent), "the watch may be first");
    queue.complete(&object("a", 1), Outcome::Written(2), at(1));
    assert!(Arc::ptr_eq(&queue.interned("a", &shown).unwrap(), &sent));
    assert!(Arc::ptr_eq(&group(&queue.overlay("a", 1).unwrap()), &sent));
    assert_eq!(queue.interned("a", &group(&status(2))), None, "somebody else wrote another one");
    assert_eq!(queue.interned("b", &shown), None);
}

#[derive(Debug, Clone)]
enum Step {
    Publish { object: usize, progress_only: bool, urgent: bool },
    Repeat { object: usize },
    Send,
    Complete { which: usize, refuse: bool },
    Conflict { object: usize },
    Recreate { object: usize },
    Watch { object: usize },
    PublishFormer { object: usize },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let object = || 0..OBJECTS;
    prop_oneof![
        6 => (object(), any::<bool>(), any::<bool>())
            .prop_map(|(object, progress_only, urgent)| Step::Publish { object, progress_only, urgent }),
        2 => object().prop_map(|object| Step::Repeat { object }),
        6 => Just(Step::Send),
        6 => (0..8_usize, prop::bool::weighted(0.3)).prop_map(|(which, refuse)| Step::Complete { which, refuse }),
        1 => object().prop_map(|object| Step::Conflict { object }),
        1 => object().prop_map(|object| Step::Recreate { object }),
        1 => object().prop_map(|object| Step::PublishFormer { object }),
        4 => object().prop_map(|object| Step::Watch { object }),
        4 => (0..3000_u64).prop_map(Step::Wait),
    ]
}

/// Small ones, large ones, and ones of which one fits into what may be in flight.
fn bytes(object: usize) -> usize {
    [SMALL, LARGE, NAMESPACE_BYTES][object % 3]
}

/// The API server, what the store shows of it, and what was published last.
struct Model {
    queue: Queue,
    now: u64,
    version: u64,
    next_number: i64,
    /// By object: uid, version and status in the API server.
    stored: Vec<(String, u64, i64)>,
    /// The same as the store shows it.
    shown: Vec<(String, u64, i64)>,
    last_word: Vec<Option<i64>>,
    in_flight: Vec<Arc<Update>>,
    /// The newest number that was ever written, by uid.
    newest: HashMap<String, i64>,
}

impl Model {
    fn new() -> Self {
        let stored: Vec<_> = (0..OBJECTS).map(|n| (format!("{n}-0"), 1, 0)).collect();
        Self {
            queue: Queue::default(),
            now: 0,
            version: 1,
            next_number: 0,
            shown: stored.clone(),
            stored,
            last_word: vec![None; OBJECTS],
            in_flight: Vec::new(),
            newest: HashMap::new(),
        }
    }

    fn publish(&mut self, object: usize, number: i64, progress_only: bool, urgent: bool) {
        let (uid, version, shown) = self.shown[object].clone();
        self.last_word[object] = Some(number);
        let mut update = Update { progress_only, urgent, ..update(&uid, version, shown, number) };
        update.object.bytes = bytes(object);
        self.queue.publish(update, at(self.now));
    }

    fn send(&mut self) {
        if let Some(update) = self.queue.next(at(self.now)) {
            if self.shown.iter().all(|(uid, ..)| **uid != *update.object.uid) {
                self.queue.complete(&update.object, Outcome::Gone, at(self.now));
                return;
            }
            assert!(
                self.in_flight.iter().all(|other| other.object.uid != update.object.uid),
                "two writes in flight for one object"
            );
            self.in_flight.push(update);
            let bytes: usize = self.in_flight.iter().map(|update| update.object.bytes).sum();
            assert!(bytes <= NAMESPACE_BYTES || self.in_flight.len() == 1, "{bytes} bytes in flight");
        }
    }

    fn complete(&mut self, which: usize, refuse: bool) {
        if self.in_flight.is_empty() {
            return;
        }
        let update = self.in_flight.swap_remove(which % self.in_flight.len());
        let uid = update.object.uid.to_string();
        let outcome = match self.stored.iter_mut().find(|(stored, ..)| *stored == uid) {
            _ if refuse => Outcome::Failed,
            None => Outcome::Stale,
            Some((_, version, status)) => {
                self.version += 1;
                *version = self.version;
                *status = wanted(&update);
                let newest = self.newest.entry(uid).or_insert(i64::MIN);
                assert!(*status >= *newest, "an older status was written after a newer one");
                *newest = *status;
                Outcome::Written(self.version)
            }
        };
        self.queue.complete(&update.object, outcome, at(self.now));
    }

    /// The watch shows the present object; the reconcile that it triggers publishes the last word
    /// anew.
    fn watch(&mut self, object: usize) {
        let former = std::mem::replace(&mut self.shown[object], self.stored[object].clone());
        if former.0 != self.shown[object].0 {
            self.queue.forget(&former.0);
        }
        let (uid, version, _) = self.shown[object].clone();
        self.queue.overlay(&uid, version);
        if let Some(word) = self.last_word[object] {
            self.publish(object, word, false, false);
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish { object, progress_only, urgent } => {
                self.next_number += 1;
                self.publish(object, self.next_number, progress_only, urgent);
            }
            // A reconcile that finds nothing new.
            Step::Repeat { object } => {
                if let Some(word) = self.last_word[object] {
                    self.publish(object, word, false, false);
                }
            }
            Step::Send => self.send(),
            Step::Complete { which, refuse } => self.complete(which, refuse),
            // Somebody else writes the object.
            Step::Conflict { object } => {
                self.version += 1;
                self.stored[object].1 = self.version;
            }
            Step::Recreate { object } => {
                self.version += 1;
                self.stored[object] = (format!("{object}-{}", self.version), self.version, 0);
            }
            Step::Watch { object } => self.watch(object),
            // A reconcile ends that began before the object was recreated.
            Step::PublishFormer { object } => {
                self.next_number += 1;
                let mut update = update(&format!("{object}-0"), 1, 0, self.next_number);
                if self.shown[object].0 != *update.object.uid {
                    update.object.bytes = bytes(object);
                    self.queue.publish(update, at(self.now));
                }
            }
            Step::Wait(milliseconds) => self.now += milliseconds,
        }
    }

    /// The API server answers everything, and the watch shows everything, until there is nothing
    /// left to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now += 1000;
            (0..OBJECTS).for_each(|object| self.watch(object));
            for _ in 0..OBJECTS {
                self.send();
                self.complete(0, false);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_stored_at_rest_is_the_last_word_and_no_older_word_follows_a_newer(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(&step);
        }
        model.settle();
        for object in 0..OBJECTS {
            if let Some(word) = model.last_word[object] {
                prop_assert_eq!(model.stored[object].2, word, "object {}", object);
            }
        }
        prop_assert!(model.queue.is_drained());
        (0..OBJECTS).for_each(|object| model.watch(object));
        prop_assert!(model.queue.entries.is_empty(), "nothing is kept of objects at rest");
    }
}
