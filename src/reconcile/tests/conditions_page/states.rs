//! The states, and how each is reached.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::crd::{Auth, DeletionPolicy, DesiredState, InstanceKey, MaxTasks, SecretAuth, TaskSelector, reasons};
use crate::fdi::tests::examples::{answered, not_allowed, too_large, untrusted};
use crate::fdi::{CallError, LastRun, Operation, RunState};
use crate::reconcile::observation::failure::InstanceError;
use crate::reconcile::observe::secret;
use crate::reconcile::tests::service::{Fault, TaskBehavior, id, seconds};
use crate::reconcile::tests::simulation::Simulation;

/// One row of the page.
pub struct State {
    pub reason: &'static str,
    pub situation: &'static str,
    /// The group of the row is `b`.
    pub reach: Box<dyn Fn() -> Simulation>,
}

fn state(reason: &'static str, situation: &'static str, reach: impl Fn() -> Simulation + 'static) -> State {
    State { reason, situation, reach: Box::new(reach) }
}

/// A group of five tasks to run, just applied.
fn applied() -> Simulation {
    let mut sim = Simulation::new(5);
    sim.group("b", DesiredState::Running, 1..=5);
    sim
}

/// The same with a selector, by names.
fn selecting(glob: &str) -> Simulation {
    with(applied(), |sim| {
        sim.edit("b", |spec| {
            spec.task_ids.clear();
            spec.selector = Some(TaskSelector { names: vec![glob.into()], ..TaskSelector::default() }.into());
        });
    })
}

/// The same, after a while.
fn settled() -> Simulation {
    after(applied(), 30)
}

fn after(mut sim: Simulation, n: u64) -> Simulation {
    sim.run_for(seconds(n));
    sim
}

fn with(mut sim: Simulation, change: impl FnOnce(&mut Simulation)) -> Simulation {
    change(&mut sim);
    sim.next = sim.now;
    sim
}

/// Lists fail for so long.
fn failing(error: &InstanceError, n: u64) -> Simulation {
    after(with(settled(), |sim| sim.problem = Some(error.clone())), n)
}

/// Calls fail, and lists succeed.
fn calls_failing(error: &CallError, n: u64) -> Simulation {
    let fault = Fault::Fail { error: error.clone(), applied: 0 };
    after(with(applied(), |sim| sim.service.batch_faults.extend(vec![fault; 1000])), n)
}

/// A task that reacts in this way.
fn behaving(n: usize, settles_after: Option<u64>, refusal: Option<CallError>) -> Simulation {
    let mut sim = applied();
    let settles_after = settles_after.map(seconds);
    let behavior = TaskBehavior { settles_after, refuses: None, poison: refusal };
    sim.service.behaviors.insert(id(n), behavior);
    sim
}

fn no_plan() -> CallError {
    let words = "One or more scheduled tasks are not configured with scheduled plans";
    answered(Operation::Start, 404, "FDI.3083", words)
}

fn unavailable() -> InstanceError {
    InstanceError::Call(answered(Operation::List, 503, "", ""))
}

fn throttled(operation: Operation) -> CallError {
    answered(operation, 429, "APIGW.0308", "The throttling threshold has been reached")
}

fn refused() -> CallError {
    answered(Operation::Start, 400, "ROMA.13000", "The instance is frozen")
}

fn secret_invalid() -> InstanceError {
    let auth = Auth { access_key: Some(SecretAuth::default()), ..Auth::default() };
    let data = [("accessKey".to_owned(), ByteString(b"AKIDEXAMPLE".to_vec()))].into();
    secret::sign_in(&auth, "roma-credentials", Secret { data: Some(data), ..Secret::default() }).unwrap_err()
}

fn unreadable() -> InstanceError {
    let status = kube::core::Status::failure("forbidden", "Forbidden").with_code(403);
    InstanceError::SecretUnreadable(secret::unreadable("roma-credentials", &kube::Error::Api(status.boxed())))
}

fn duplicate(namespace: &str) -> InstanceError {
    let key = |namespace: &str, name: &str| InstanceKey { namespace: namespace.into(), name: name.into() };
    InstanceError::duplicate(&key("orders", "roma"), &key(namespace, "roma-of-billing"))
}

/// Everything that keeps an instance from serving until somebody acts.
fn rejections() -> Vec<(&'static str, &'static str, InstanceError)> {
    let call = |status, code, words| InstanceError::Call(answered(Operation::List, status, code, words));
    vec![
        (
            reasons::SPEC_INVALID,
            "the stored FdiInstance has another form",
            InstanceError::undecodable("spec.auth: missing field"),
        ),
        (reasons::DUPLICATE_INSTANCE, "another FdiInstance of the namespace serves", duplicate("orders")),
        (reasons::DUPLICATE_INSTANCE, "one of another namespace serves", duplicate("billing")),
        (reasons::ENDPOINT_NOT_ALLOWED, "the endpoint is not allowed", InstanceError::Call(not_allowed())),
        (
            reasons::SIGN_IN_REFUSED,
            "the key or user is refused",
            call(401, "APIGW.0301", "Incorrect IAM authentication information: verify signature failed"),
        ),
        (reasons::FORBIDDEN, "the user may not do it", call(403, "APIGW.0302", "The IAM user is not authorized")),
        (
            reasons::REQUEST_REJECTED,
            "the request itself is rejected",
            call(404, "APIGW.0101", "The API does not exist"),
        ),
        (reasons::LIST_TOO_LARGE, "the instance has too many tasks", InstanceError::Call(too_large())),
        (reasons::TLS_FAILED, "TLS fails", InstanceError::Call(untrusted())),
    ]
}

/// What passes by itself, perhaps.
fn outages() -> Vec<(&'static str, &'static str, InstanceError)> {
    vec![
        (reasons::SECRET_UNREADABLE, "the API server refuses the Secret", unreadable()),
        (reasons::THROTTLED, "too many requests", InstanceError::Call(throttled(Operation::List))),
        (reasons::UNAVAILABLE, "the service fails", unavailable()),
        (reasons::UNAVAILABLE, "the service is slow", InstanceError::TimedOut),
    ]
}

fn missing() -> Vec<(&'static str, &'static str, InstanceError)> {
    vec![
        (reasons::SECRET_NOT_FOUND, "no such Secret", InstanceError::secret_not_found("roma-credentials")),
        (reasons::SECRET_INVALID, "the Secret lacks a key, or a value cannot be right", secret_invalid()),
    ]
}

/// The list in flight is of an instance that has been replaced since.
fn not_listed() -> Simulation {
    let mut sim = applied();
    sim.during_list = Some(|sim| sim.instance.as_mut().unwrap().metadata.uid = Some("another".into()));
    sim.reconcile();
    sim
}

/// Ready of a group.
pub fn groups() -> Vec<State> {
    let mut states = being_deleted();
    states.extend(broken_groups());
    states.extend(unobserved());
    states.extend(suspended());
    states.extend(progressing());
    states.extend(verdicts());
    states
}

fn deleted(sim: Simulation, policy: DeletionPolicy, finalizer: Option<&str>) -> Simulation {
    let mut sim = after(with(sim, |sim| sim.edit("b", |spec| spec.deletion_policy = policy)), 30);
    sim.groups[0].metadata.finalizers =
        finalizer.map(|name| vec![name.to_owned()]).or(sim.groups[0].metadata.finalizers.take());
    sim.delete("b");
    sim
}

fn being_deleted() -> Vec<State> {
    vec![
        state(reasons::DELETING, "being deleted with `deletionPolicy: Stop`", || {
            after(deleted(behaving(3, Some(60), None), DeletionPolicy::Stop, None), 5)
        }),
        state(reasons::DELETING, "the same, and lists fail", || {
            let mut sim = deleted(settled(), DeletionPolicy::Stop, None);
            sim.problem = Some(unavailable());
            after(sim, 5)
        }),
        state(reasons::DELETING, "being deleted, and held by somebody else's finalizer", || {
            after(deleted(settled(), DeletionPolicy::Orphan, Some("example.com/backup")), 5)
        }),
    ]
}

fn broken_groups() -> Vec<State> {
    let mut states = vec![
        state(reasons::SPEC_INVALID, "the stored group has another form", || {
            let broken = |sim: &mut Simulation| {
                sim.edit("b", |spec| spec.decode_error = Some("missing field `desiredState`".into()));
            };
            after(with(settled(), broken), 5)
        }),
        state(reasons::TOO_MANY_TASKS, "older groups list 20,000 tasks", || {
            let mut sim = Simulation::new(5);
            for n in 0..20 {
                sim.group(&format!("a{n:02}"), DesiredState::Running, n * 1000..(n + 1) * 1000);
            }
            sim.now += jiff::SignedDuration::from_secs(1);
            sim.group("b", DesiredState::Running, [3]);
            after(sim, 5)
        }),
        state(reasons::SELECTION_TOO_LARGE, "the selector matches more than `maxTasks`", || {
            let mut sim = selecting("*");
            sim.edit("b", |spec| spec.selector.iter_mut().for_each(|selector| selector.max_tasks = MaxTasks(3)));
            after(sim, 5)
        }),
        state(reasons::NO_TASKS_SELECTED, "the selector matches nothing", || after(selecting("x*"), 30)),
        state(reasons::NO_TASKS_SELECTED, "the same for 2 minutes", || after(selecting("x*"), 150)),
        state(reasons::INSTANCE_NOT_FOUND, "no such FdiInstance", || {
            after(with(applied(), |sim| sim.instance = None), 10)
        }),
    ];
    states.extend(missing().into_iter().map(|(reason, what, error)| state(reason, what, move || failing(&error, 5))));
    let rejected = rejections().into_iter();
    states.extend(rejected.map(|(reason, what, error)| state(reason, what, move || failing(&error, 300))));
    states.push(state(reasons::BATCH_REFUSED, "whole calls are refused for no task of theirs", || {
        calls_failing(&refused(), 900)
    }));
    states
}

fn unobserved() -> Vec<State> {
    let mut states = vec![
        state(reasons::NOT_OBSERVED, "before the first list", not_listed),
        state(reasons::NOT_OBSERVED, "the first list fails", || {
            after(with(applied(), |sim| sim.problem = Some(unavailable())), 5)
        }),
    ];
    let stale = |(_, what, error)| state(reasons::OBSERVATION_STALE, what, move || failing(&error, 600));
    states.extend(outages().into_iter().map(stale));
    states
}

fn suspended() -> Vec<State> {
    let suspend = |sim: Simulation| after(with(sim, |sim| sim.edit("b", |spec| spec.suspend = true)), 66);
    let instance = |sim: Simulation| after(with(sim, |sim| sim.instance.as_mut().unwrap().spec.suspend = true), 66);
    let drift = |sim: &mut Simulation| {
        sim.service.tasks.insert(id(4), RunState::Stopped);
    };
    vec![
        state(reasons::SUSPENDED, "the group is suspended", move || {
            let sim = suspend(settled());
            after(with(sim, drift), 66)
        }),
        state(reasons::SUSPENDED, "its FdiInstance is suspended", move || instance(with(settled(), drift))),
        state(reasons::TASKS_IN_DESIRED_STATE, "suspended, and all tasks in the desired state", move || {
            suspend(settled())
        }),
    ]
}

fn progressing() -> Vec<State> {
    vec![
        state(reasons::PROGRESSING, "a call was accepted", || after(behaving(3, Some(60), None), 10)),
        state(reasons::PROGRESSING, "an earlier call may still act", || {
            let sim = after(behaving(3, Some(60), None), 10);
            after(with(sim, |sim| sim.edit("b", |spec| spec.desired_state = DesiredState::Stopped)), 5)
        }),
        state(reasons::PROGRESSING, "the service refused tasks", || {
            let refusal = answered(Operation::Start, 400, "FDI.3026", "Failed to start the task");
            after(behaving(3, Some(0), Some(refusal)), 10)
        }),
        state(reasons::PROGRESSING, "the service does not list a task", || {
            let mut sim = applied();
            sim.service.tasks.remove(&id(3));
            after(sim, 10)
        }),
        state(reasons::PROGRESSING, "the operator does not know the status of a task", || {
            let mut sim = applied();
            sim.service.unknown.insert(id(3));
            after(sim, 10)
        }),
        state(reasons::PROGRESSING, "an older group owns tasks, for less than 2 minutes", || after(conflicting(), 10)),
        state(reasons::PROGRESSING, "calls fail", || calls_failing(&throttled(Operation::Start), 10)),
    ]
}

fn conflicting() -> Simulation {
    let mut sim = Simulation::new(5);
    sim.group("a", DesiredState::Running, [1, 2]);
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.group("b", DesiredState::Running, 1..=5);
    sim
}

fn contested() -> Simulation {
    let mut sim = settled();
    for _ in 0..8 {
        sim.service.tasks.insert(id(2), RunState::Stopped);
        sim.run_for(seconds(66));
    }
    sim
}

fn verdicts() -> Vec<State> {
    vec![
        state(reasons::TASKS_CONFLICT, "an older group owns tasks", || after(conflicting(), 300)),
        state(reasons::TASKS_CONTESTED, "somebody switches tasks back", contested),
        state(reasons::TASKS_FAILED, "tasks failed", || after(behaving(3, Some(0), Some(no_plan())), 60)),
        state(reasons::TASKS_FAILED, "tasks are not there", || {
            let mut sim = applied();
            sim.service.tasks.remove(&id(3));
            after(sim, 300)
        }),
        state(reasons::TASKS_IN_DESIRED_STATE, "every task in the desired state", settled),
    ]
}

/// How the runs go.
pub fn runs() -> Vec<State> {
    let all = |run: LastRun| with(applied(), |sim| sim.service.last_runs.extend((1..=5).map(|n| (id(n), run))));
    vec![
        state(reasons::RUNS_SUCCEEDING, "runs succeed", settled),
        state(reasons::RUNS_FAILED, "runs fail", move || {
            let failed = |sim: &mut Simulation| sim.service.last_runs.extend([1, 3].map(|n| (id(n), LastRun::Error)));
            after(with(settled(), failed), 66)
        }),
        state(reasons::NO_RUNS_YET, "no run yet", move || after(all(LastRun::Unstarted), 30)),
        state(reasons::NO_RUNS_YET, "no task is on", || {
            after(with(settled(), |sim| sim.edit("b", |spec| spec.desired_state = DesiredState::Stopped)), 30)
        }),
        state(reasons::NOT_OBSERVED, "before the first list", not_listed),
        state(reasons::OBSERVATION_STALE, "Ready is Unknown, with its reason", || failing(&unavailable(), 600)),
    ]
}

/// Whether the last exchange that a group needed succeeded.
pub fn synced() -> Vec<State> {
    vec![
        state(reasons::SYNCED, "it succeeded", settled),
        state(reasons::NOT_OBSERVED, "there was none yet", not_listed),
        state(reasons::UNAVAILABLE, "lists fail", || failing(&unavailable(), 600)),
        state(reasons::THROTTLED, "calls fail", || calls_failing(&throttled(Operation::Start), 10)),
    ]
}

/// Ready of the instance.
pub fn instances() -> Vec<State> {
    let mut states = vec![
        state(reasons::SIGNED_IN, "signed in and listed", settled),
        state(reasons::SIGNED_IN, "suspended", || {
            after(with(settled(), |sim| sim.instance.as_mut().unwrap().spec.suspend = true), 66)
        }),
        state(reasons::NOT_OBSERVED, "before the first list", not_listed),
    ];
    let failing_at_once = missing().into_iter().chain(outages());
    states.extend(failing_at_once.map(|(reason, what, error)| state(reason, what, move || failing(&error, 5))));
    let rejected = rejections().into_iter();
    states.extend(rejected.map(|(reason, what, error)| state(reason, what, move || failing(&error, 300))));
    states
}

/// Calls may fail while lists succeed.
pub fn instance_synced() -> Vec<State> {
    vec![
        state(reasons::SYNCED, "it succeeded", settled),
        state(reasons::THROTTLED, "calls are throttled", || calls_failing(&throttled(Operation::Start), 10)),
        state(reasons::BATCH_REFUSED, "whole calls are refused", || calls_failing(&refused(), 900)),
    ]
}
