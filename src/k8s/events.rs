//! Kubernetes events about transitions, published in the background: an event may be lost, a
//! reconcile is never delayed by one.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
pub use kube::runtime::events::EventType;
use kube::runtime::events::{Event as Published, Recorder, Reporter};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::fdi::text::{prefix, truncate};
use crate::k8s::error::describe;
use crate::metrics::{EventLoss, Metrics};

/// The reporting controller: the API requires a qualified name.
const CONTROLLER: &str = "fdi.romaconnect.dev/fdi-operator";
/// Longest note that the API server accepts, in bytes.
const NOTE_MAX: usize = 1024;
/// The same of the reporting instance.
const INSTANCE_MAX: usize = 128;
/// Events in the queue, over all namespaces; more are dropped. An outage of the API server must not
/// fill the memory.
const QUEUE_SIZE: usize = 512;
/// Objects whose budget is remembered. The least recently used one is forgotten first.
const OBJECTS_MAX: usize = 1024;
/// Objects whose last events are remembered whole, so that a repetition is counted in them. One
/// takes several kilobytes.
const RECORDERS_MAX: usize = 128;
/// The budget of an object, as in client-go's spam filter: this many at once, then one every
/// [`REFILL`].
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_mins(5);
/// Pause between two events of the process: an instance that fails with all its groups must not
/// load the API server.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// An event is dropped after this.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// A transition.
#[derive(Debug, Clone)]
pub struct Event {
    /// The object that changed, with its uid.
    pub regarding: ObjectReference,
    pub kind: EventType,
    /// `CamelCase`, stable, part of the interface.
    pub reason: &'static str,
    /// What the operator was doing, in `CamelCase`.
    pub action: &'static str,
    /// One or two sentences; truncated to 1024 bytes.
    pub note: String,
}

/// Takes events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventRecorder {
    queue: Arc<Mutex<FairQueue>>,
    /// Wakes the publisher, and tells it by its end that no more events come.
    wake: mpsc::Sender<()>,
    metrics: Metrics,
}

/// Events by namespace, taken in turn, so that no namespace delays or displaces the events of
/// others.
#[derive(Debug, Default)]
struct FairQueue {
    events: HashMap<String, VecDeque<Event>>,
    /// The namespaces that have events, the next one first.
    turns: VecDeque<String>,
    len: usize,
}

impl FairQueue {
    /// Queues the event. In a full queue the namespace with the most events loses its newest one:
    /// this event or the returned one.
    fn push(&mut self, event: Event) -> Option<Event> {
        let namespace = event.regarding.namespace.clone().unwrap_or_default();
        let queue = self.events.entry(namespace.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(namespace);
        }
        queue.push_back(event);
        self.len += 1;
        if self.len <= QUEUE_SIZE {
            return None;
        }
        self.len -= 1;
        let (longest, queue) = self.events.iter_mut().max_by_key(|(_, queue)| queue.len())?;
        let (longest, displaced) = (longest.clone(), queue.pop_back());
        if queue.is_empty() {
            self.events.remove(&longest);
            self.turns.retain(|namespace| *namespace != longest);
        }
        displaced
    }

    /// The oldest event of the namespace whose turn it is.
    fn pop(&mut self) -> Option<Event> {
        let namespace = self.turns.pop_front()?;
        let queue = self.events.get_mut(&namespace)?;
        let event = queue.pop_front();
        if queue.is_empty() {
            self.events.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.len -= 1;
        event
    }
}

impl EventRecorder {
    /// The two ends: one for the workers, one to run as a task.
    pub fn channel(metrics: Metrics) -> (Self, EventPublisher) {
        let (wake, woken) = mpsc::channel(1);
        let queue = Arc::<Mutex<FairQueue>>::default();
        let publisher =
            EventPublisher { queue: Arc::clone(&queue), woken, metrics: metrics.clone(), objects: HashMap::new() };
        (Self { queue, wake, metrics }, publisher)
    }

    /// Never blocks and never fails. What does not fit is dropped and counted.
    pub fn emit(&self, event: Event) {
        let dropped = self.queue.lock().push(event);
        // Full: it is woken already.
        let _ = self.wake.try_send(());
        if let Some(event) = dropped {
            self.metrics.event_dropped(EventLoss::Overflow);
            debug!(reason = event.reason, name = event.regarding.name, "event dropped: the queue is full");
        }
    }
}

/// Publishes what was emitted.
#[derive(Debug)]
pub struct EventPublisher {
    queue: Arc<Mutex<FairQueue>>,
    woken: mpsc::Receiver<()>,
    metrics: Metrics,
    objects: HashMap<String, ObjectBudget>,
}

/// What one object may still publish.
struct ObjectBudget {
    tokens: f64,
    used: Instant,
    /// One for each object, because kube's recorder scans all that it has published for each event.
    recorder: Option<Recorder>,
    /// Hash of the note last published for each reason and action.
    notes: HashMap<(&'static str, &'static str), u64>,
}

impl std::fmt::Debug for ObjectBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectBudget").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl EventPublisher {
    /// Publishes until the last [`EventRecorder`] is gone. `instance` names this process, as in the
    /// Lease.
    pub async fn run(mut self, client: Client, instance: String) {
        let instance = prefix(&instance, INSTANCE_MAX).to_owned();
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(instance) };
        let mut next = Instant::now();
        while let Some(event) = self.next().await {
            let Some(recorder) = self.recorder(&event, || Recorder::new(client.clone(), reporter.clone())) else {
                self.metrics.event_dropped(EventLoss::RateLimited);
                debug!(
                    reason = event.reason,
                    name = event.regarding.name,
                    "event dropped: the object used up its budget"
                );
                continue;
            };
            sleep_until(next).await;
            next = Instant::now() + MIN_INTERVAL;
            let published = Published {
                type_: event.kind,
                reason: event.reason.to_owned(),
                note: Some(truncate(&event.note, NOTE_MAX)),
                action: event.action.to_owned(),
                secondary: None,
            };
            let error = match timeout(PUBLISH_TIMEOUT, recorder.publish(&published, &event.regarding)).await {
                Ok(Ok(())) => {
                    self.metrics.event_published();
                    continue;
                }
                Ok(Err(error)) => describe(&error),
                Err(_) => "no response in time".to_owned(),
            };
            self.metrics.event_dropped(EventLoss::Failed);
            debug!(reason = event.reason, name = event.regarding.name, error, "event not published");
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.queue.lock().pop();
            if event.is_some() {
                return event;
            }
            self.woken.recv().await?;
        }
    }

    /// The recorder for this event, unless its object has used up its budget.
    fn recorder(&mut self, event: &Event, fresh: impl Fn() -> Recorder) -> Option<Recorder> {
        let now = Instant::now();
        let about = &event.regarding;
        let object = about.uid.clone().unwrap_or_else(|| {
            [&about.kind, &about.namespace, &about.name].map(|part| part.as_deref().unwrap_or_default()).join("/")
        });
        if !self.objects.contains_key(&object) && self.objects.len() >= OBJECTS_MAX {
            let oldest = self.objects.iter().min_by_key(|(_, budget)| budget.used).map(|(object, _)| object.clone());
            oldest.and_then(|object| self.objects.remove(&object));
        }
        let budget = self.objects.entry(object).or_insert_with(|| ObjectBudget {
            tokens: BURST,
            used: now,
            recorder: None,
            notes: HashMap::new(),
        });
        let refilled = now.duration_since(budget.used).as_secs_f64() / REFILL.as_secs_f64();
        budget.tokens = (budget.tokens + refilled).min(BURST);
        budget.used = now;
        if budget.tokens < 1.0 {
            return None;
        }
        budget.tokens -= 1.0;
        // kube takes events with the same reason and action for repetitions and keeps the *first*
        // note: a new note needs a recorder that does not know the old one.
        let note = hash(&event.note);
        if budget.notes.insert((event.reason, event.action), note).is_some_and(|before| before != note) {
            budget.recorder = None;
        }
        let recorder = budget.recorder.get_or_insert_with(fresh).clone();
        self.forget_recorders();
        Some(recorder)
    }

    fn forget_recorders(&mut self) {
        let kept = self.objects.values_mut().filter(|budget| budget.recorder.is_some());
        let mut kept: Vec<&mut ObjectBudget> = kept.collect();
        if kept.len() > RECORDERS_MAX
            && let Some(oldest) = kept.iter_mut().min_by_key(|budget| budget.used)
        {
            oldest.recorder = None;
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use tower::BoxError;

    use super::*;

    type Log = Arc<Mutex<Vec<(Method, serde_json::Value)>>>;

    /// An API server that accepts every event (or refuses all) and remembers it.
    fn server(code: u16) -> (Client, Log) {
        let log = Log::default();
        let seen = log.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let seen = seen.clone();
            async move {
                let (head, body) = request.into_parts();
                let body: serde_json::Value = serde_json::from_slice(&body.collect_bytes().await?)?;
                seen.lock().unwrap().push((head.method, body.clone()));
                let answer = Body::from(serde_json::to_vec(&body)?);
                Ok::<_, BoxError>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        (Client::new(service, "default"), log)
    }

    fn event(uid: &str, note: &str) -> Event {
        let regarding = ObjectReference {
            kind: Some("FdiTaskGroup".to_owned()),
            name: Some("nightly-orders".to_owned()),
            namespace: Some("etl".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        Event { regarding, kind: EventType::Warning, reason: "TasksFailed", action: "Start", note: note.to_owned() }
    }

    /// Emits and publishes all; the requests that the server got, and the metrics.
    async fn published(code: u16, events: Vec<Event>) -> (Vec<(Method, serde_json::Value)>, String) {
        let (client, log) = server(code);
        let metrics = Metrics::new();
        let (sender, publisher) = EventRecorder::channel(metrics.clone());
        let running = tokio::spawn(publisher.run(client, "pod_1".to_owned()));
        for event in events {
            sender.emit(event);
        }
        drop(sender);
        running.await.unwrap();
        let log = log.lock().unwrap().clone();
        (log, metrics.openmetrics().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_event_is_counted_on_the_first_and_a_changed_note_is_a_new_event() {
        let notes = ["1 of 10 failed", "1 of 10 failed", "2 of 10 failed"];
        let (log, metrics) = published(200, notes.map(|note| event("a", note)).to_vec()).await;
        let methods: Vec<&str> = log.iter().map(|(method, _)| method.as_str()).collect();
        assert_eq!(methods, ["POST", "PATCH", "POST"]);
        assert_eq!(log[2].1["note"], "2 of 10 failed");
        assert_eq!(log[0].1["reportingController"], CONTROLLER);
        assert!(metrics.contains("fdi_operator_events_published_total 3\n"), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_gets_25_events_at_once_and_leaves_the_budget_of_others_alone() {
        let mut events: Vec<Event> = (0..40).map(|n| event("a", &n.to_string())).collect();
        events.push(event("b", "other"));
        let (log, metrics) = published(200, events).await;
        assert_eq!(log.len(), 26);
        assert_eq!(log[25].1["note"], "other");
        assert!(metrics.contains("fdi_operator_events_dropped_total{reason=\"rate_limited\"} 15\n"), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_refills_with_time() {
        let (client, log) = server(200);
        let (sender, publisher) = EventRecorder::channel(Metrics::new());
        let running = tokio::spawn(publisher.run(client, "pod_1".to_owned()));
        (0..30).for_each(|n| sender.emit(event("a", &n.to_string())));
        tokio::time::sleep(REFILL + Duration::from_secs(5)).await;
        (0..30).for_each(|n| sender.emit(event("a", &n.to_string())));
        drop(sender);
        running.await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 26);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_events_are_counted_and_block_nothing() {
        let (log, metrics) = published(403, vec![event("a", "1"), event("b", "2")]).await;
        assert_eq!(log.len(), 2);
        assert!(metrics.contains("fdi_operator_events_dropped_total{reason=\"failed\"} 2\n"), "{metrics}");
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_instead_of_blocking() {
        let metrics = Metrics::new();
        let (sender, _publisher) = EventRecorder::channel(metrics.clone());
        (0..QUEUE_SIZE + 3).for_each(|_| sender.emit(event("a", "note")));
        assert!(metrics.openmetrics().unwrap().contains("fdi_operator_events_dropped_total{reason=\"overflow\"} 3\n"));
    }

    fn event_in(namespace: &str, note: usize) -> Event {
        let mut event = event(&format!("{namespace}-{note}"), &note.to_string());
        event.regarding.namespace = Some(namespace.to_owned());
        event
    }

    #[test]
    fn namespaces_take_turns_and_keep_their_own_order() {
        let mut queue = FairQueue::default();
        for n in 0..3 {
            assert!(queue.push(event_in("a", n)).is_none());
        }
        assert!(queue.push(event_in("b", 0)).is_none() && queue.push(event_in("c", 0)).is_none());
        let order: Vec<String> =
            std::iter::from_fn(|| queue.pop()).map(|event| event.regarding.uid.unwrap_or_default()).collect();
        assert_eq!(order, ["a-0", "b-0", "c-0", "a-1", "a-2"]);
    }

    #[test]
    fn a_namespace_that_fills_the_queue_displaces_its_own_events_and_no_others() {
        let mut queue = FairQueue::default();
        let dropped = (0..QUEUE_SIZE * 3).filter_map(|n| queue.push(event_in("loud", n))).count();
        assert_eq!(dropped, QUEUE_SIZE * 2);
        for n in 0..10 {
            let displaced = queue.push(event_in("quiet", n)).unwrap();
            assert_eq!(displaced.regarding.namespace.as_deref(), Some("loud"));
        }
        assert_eq!(queue.len, QUEUE_SIZE);
        let left: Vec<Event> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(left.len(), QUEUE_SIZE);
        assert_eq!(left.iter().filter(|event| event.regarding.namespace.as_deref() == Some("quiet")).count(), 10);
        assert!(queue.events.is_empty() && queue.turns.is_empty() && queue.len == 0);
    }

    #[test]
    fn more_namespaces_than_room_leave_no_empty_turn() {
        let mut queue = FairQueue::default();
        let dropped = (0..QUEUE_SIZE + 3).filter_map(|n| queue.push(event_in(&n.to_string(), 0))).count();
        assert_eq!(dropped, 3);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), QUEUE_SIZE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_objects_is_bounded() {
        let (client, _) = server(200);
        let (_, mut publisher) = EventRecorder::channel(Metrics::new());
        for n in 0..OBJECTS_MAX * 2 {
            let fresh = || Recorder::new(client.clone(), CONTROLLER.to_owned().into());
            assert!(publisher.recorder(&event(&n.to_string(), "note"), fresh).is_some());
        }
        assert_eq!(publisher.objects.len(), OBJECTS_MAX);
    }
}
