//! Walks through random edits, console actions and faults on a real API server, as Acto does: after
//! each quiet point everything must be as after a fresh apply of the same manifests.

mod fresh;
mod script;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::crd::DesiredState;
use fdi_operator::testing::{Backoff, Timings};
use fdi_simulator::NewTasks;
use futures::StreamExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::harness::{Gate, GatedOperator, TIMEOUT, TOKEN, TestEnv, fast_timings};
use script::{Behavior, Step, TASKS, Walk, first_name, id, name, walk};

/// So many walks at once.
const CONCURRENCY: usize = 4;
/// Nothing was written for so long: two lists of all tasks fit into it.
const SILENCE: Duration = Duration::from_millis(800);
/// A task that is switched back more often counts as contested, which a fresh apply cannot know.
const DRIFTS_MAX: usize = 4;
/// How long a shorter walk that fails as well is searched for.
const SHRINKING: Duration = Duration::from_mins(3);

/// As the other tests', with retries of failed tasks that a test can wait for.
fn timings() -> Timings {
    Timings {
        slow_retry: Duration::from_secs(3),
        backoff: Backoff { base: Duration::from_millis(100), max: Duration::from_secs(1) },
        deletion_timeout: Duration::from_secs(5),
        ..fast_timings()
    }
}

/// What a walk has cost, and what for.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    quiet_points: usize,
    changes: usize,
    faults: usize,
    calls: usize,
    writes: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.quiet_points += other.quiet_points;
        self.changes += other.changes;
        self.faults += other.faults;
        self.calls += other.calls;
        self.writes += other.writes;
    }
}

struct Walker {
    env: TestEnv,
    gate: Gate,
    operator: Option<GatedOperator>,
    /// How often each task was switched at the console.
    drifts: [usize; TASKS + 1],
    suspended: bool,
    cost: Cost,
    began: Instant,
}

impl Walker {
    async fn new() -> Self {
        let (env, _) = TestEnv::bare(0).await;
        for task in 1..=TASKS {
            make(&env, task);
        }
        let gate = Gate::before(&env, None).await;
        env.secret("roma-credentials", &[("token", TOKEN)]).await;
        let mut walker = Self {
            env,
            gate,
            operator: None,
            drifts: [0; TASKS + 1],
            suspended: false,
            cost: Cost::default(),
            began: Instant::now(),
        };
        walker.apply_instance().await;
        walker.start().await;
        walker
    }

    async fn apply_instance(&self) {
        let spec = json!({"endpoint": self.gate.fdi_url(), "pollIntervalSeconds": 30, "suspend": self.suspended});
        self.env.instance("roma", spec).await;
    }

    async fn start(&mut self) {
        if self.operator.is_none() {
            self.operator =
                Some(GatedOperator::with(&self.env, &self.gate, timings(), &["--leader-election=false"]).await);
        }
    }

    /// The group exists and is not being deleted.
    async fn has(&self, group: usize) -> bool {
        let stored = self.env.groups().get_opt(&group_name(group)).await.unwrap();
        stored.is_some_and(|group| group.metadata.deletion_timestamp.is_none())
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Apply { .. }
            | Step::Choose(..)
            | Step::Flip(_)
            | Step::Suspend(..)
            | Step::StopWhenDeleted(..)
            | Step::Refused(..)
            | Step::Delete(_)
            | Step::SuspendInstance(_) => self.edit(step).await,
            Step::Drift(..) | Step::Rename(..) | Step::NameLike(..) | Step::Remove(_) | Step::Make(_) => {
                self.cost.changes += 1;
                self.act_at_console(step);
            }
            Step::Behave(task, behavior) => {
                self.cost.faults += usize::from(behavior != Behavior::Well);
                let _ = self.env.service.set_manners(&id(task), behavior.manners());
            }
            Step::Trouble(fault, ms) => {
                self.cost.faults += 1;
                let (on, effect) = fault.on();
                self.env.service.fault(on.lasting(Duration::from_millis(ms)), effect);
            }
            Step::Kill(requests) => {
                let Some(operator) = self.operator.take() else { return };
                self.cost.faults += 1;
                let last = self.gate.request_count() + requests;
                let sent = async {
                    while self.gate.request_count() < last {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                };
                let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
                operator.kill().await;
            }
            Step::Start => self.start().await,
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Quiet => self.rest().await,
        }
    }

    async fn edit(&mut self, step: Step) {
        match step {
            Step::Apply { group, tasks, running, stop } => {
                let mut spec = json!({"deletionPolicy": if stop { "Stop" } else { "Orphan" }});
                spec.as_object_mut().unwrap().extend(tasks.spec().as_object().unwrap().clone());
                let (name, state) = (group_name(group), if running { "Running" } else { "Stopped" });
                if self.env.groups().get_opt(&name).await.unwrap().is_none() {
                    self.env.group_with(&name, state, &[], spec).await;
                    self.cost.changes += 1;
                } else {
                    spec["desiredState"] = json!(state);
                    self.patch(group, spec).await;
                }
            }
            Step::Choose(group, tasks) => self.patch(group, tasks.spec()).await,
            Step::Flip(group) => {
                let stored = self.env.groups().get_opt(&group_name(group)).await.unwrap();
                let runs = stored.is_some_and(|group| group.spec.desired_state == DesiredState::Running);
                self.patch(group, json!({"desiredState": if runs { "Stopped" } else { "Running" }})).await;
            }
            Step::Suspend(group, on) => self.patch(group, json!({"suspend": on})).await,
            Step::StopWhenDeleted(group, on) => {
                self.patch(group, json!({"deletionPolicy": if on { "Stop" } else { "Orphan" }})).await;
            }
            Step::Refused(group, invalid) if self.has(group).await => {
                let patch = Patch::Merge(json!({"spec": invalid.spec()}));
                let refused = self.env.groups().patch(&group_name(group), &PatchParams::default(), &patch).await;
                assert!(
                    matches!(refused, Err(kube::Error::Api(error)) if error.code == 422),
                    "{invalid:?} is accepted"
                );
            }
            Step::Delete(group) if self.has(group).await => {
                self.env.delete_group(&group_name(group)).await;
                self.cost.changes += 1;
            }
            Step::SuspendInstance(on) => {
                self.suspended = on;
                self.apply_instance().await;
                self.cost.changes += 1;
            }
            _ => {}
        }
    }

    async fn patch(&mut self, group: usize, spec: Value) {
        if self.has(group).await {
            self.env.edit(&group_name(group), spec).await;
            self.cost.changes += 1;
        }
    }

    fn act_at_console(&mut self, step: Step) {
        let service = &self.env.service;
        match step {
            Step::Drift(from, count) => {
                for task in (from..from + count).filter(|task| *task <= TASKS) {
                    let Ok(now) = service.task(&id(task)) else { continue };
                    self.drifts[task] += 1;
                    if self.drifts[task] <= DRIFTS_MAX {
                        service.set_running(&id(task), !now.running).unwrap();
                    }
                }
            }
            Step::Rename(task, letter) => drop(service.rename_task(&id(task), &name(task, letter))),
            Step::NameLike(task, like) => drop(service.rename_task(&id(task), &first_name(like))),
            Step::Remove(task) => drop(service.delete_task(&id(task))),
            Step::Make(task) => make(&self.env, task),
            _ => {}
        }
    }

    /// Trouble ends, and everything comes to rest: as after a fresh apply, at a bounded cost, and
    /// silent.
    async fn rest(&mut self) {
        self.env.sim.clear_faults();
        self.start().await;
        let lists = self.env.service.list_calls().len();
        let settled = async {
            while !self.is_settled(lists).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.gate.silent_for(SILENCE).await;
        };
        let in_time = tokio::time::timeout(TIMEOUT, settled).await.is_ok();
        assert!(in_time, "no silence: {:#?}", self.gate.requests().iter().rev().take(20).collect::<Vec<_>>());
        fresh::compare(&self.env).await;
        self.assert_silent().await;
        self.cost.quiet_points += 1;
        self.cost.calls = self.env.service.batch_calls().len();
        self.cost.writes = self.gate.requests().iter().filter(|request| is_write(request)).count();
        let Cost { changes, faults, calls, writes, .. } = self.cost;
        let retries = usize::try_from(self.began.elapsed().as_millis() / timings().slow_retry.as_millis()).unwrap();
        assert!(calls <= 2 * (changes + 1) + 4 * faults + retries, "too many calls: {:?}", self.cost);
        assert!(writes <= 3 * (changes + faults + 1) + retries, "too many writes: {:?}", self.cost);
    }

    /// At rest the operator sends nothing but lists, and calls for tasks that it cannot start.
    async fn assert_silent(&self) {
        let (requests, calls) = (self.gate.request_count(), self.env.service.batch_calls().len());
        tokio::time::sleep(SILENCE).await;
        let new = self.gate.requests().split_off(requests);
        let writes: Vec<_> = new.iter().filter(|request| is_write(request)).collect();
        assert!(writes.is_empty(), "not silent at rest: {writes:?}");
        let behaves = |id: &Arc<str>| self.env.service.task(id).is_ok_and(|task| task.manners.is_empty());
        for call in &self.env.service.batch_calls()[calls..] {
            assert!(!call.ids.iter().all(behaves), "a call at rest: {call:?}");
        }
    }

    /// The operator has listed twice since, and nothing that was sent or deleted is still to come.
    async fn is_settled(&self, lists: usize) -> bool {
        let groups = self.env.groups().list(&ListParams::default()).await.unwrap();
        self.env.service.list_calls().len() >= lists + 2
            && groups.iter().all(|group| group.metadata.deletion_timestamp.is_none())
            && self.env.service.tasks().iter().all(|task| task.pending.is_none())
    }
}

/// A status, a finalizer.
fn is_write(request: &str) -> bool {
    !request.starts_with("GET ") && request.contains("/fdi.romaconnect.dev/")
}

fn group_name(group: usize) -> String {
    format!("g{group}")
}

fn make(env: &TestEnv, task: usize) {
    env.service.create(&NewTasks { ids: vec![id(task)], names: vec![first_name(task)], ..NewTasks::default() });
}

async fn run(walk: Walk) -> Cost {
    let mut walker = Walker::new().await;
    for step in walk {
        walker.take(step).await;
    }
    walker.rest().await;
    walker.cost
}

/// What is wrong with a walk.
async fn outcome(walk: Walk) -> Result<Cost, String> {
    tokio::spawn(run(walk)).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic.downcast_ref::<String>().map_or_else(|| "a panic".to_owned(), Clone::clone),
        Err(error) => error.to_string(),
    })
}

/// The shortest walk found that fails as well, and what is wrong with it.
async fn shrink(seed: u64, mut fault: String) -> String {
    let mut tree = walk(seed);
    let mut shortest = tree.current();
    let mut simpler = tree.simplify();
    let began = Instant::now();
    while simpler && began.elapsed() < SHRINKING {
        simpler = if let Err(still) = outcome(tree.current()).await {
            (shortest, fault) = (tree.current(), still);
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    format!("walk {seed} fails:\n{}\n{fault}", printed(&shortest))
}

fn printed(walk: &[Step]) -> String {
    walk.iter().fold(String::new(), |text, step| text + &format!("    {step:?},\n"))
}

/// Goes these walks, several at a time.
async fn go(seeds: impl IntoIterator<Item = u64>) {
    let began = Instant::now();
    let walks = seeds.into_iter().map(|seed| async move {
        let began = Instant::now();
        (seed, outcome(walk(seed).current()).await, began.elapsed())
    });
    let mut walks = futures::stream::iter(walks).buffer_unordered(CONCURRENCY);
    let (mut faults, mut count, mut total) = (Vec::new(), 0, Cost::default());
    while let Some((seed, outcome, took)) = walks.next().await {
        count += 1;
        match outcome {
            Ok(cost) => {
                println!("walk {seed}: {cost:?} in {:.1} s", took.as_secs_f64());
                total.add(cost);
            }
            Err(fault) => {
                println!("walk {seed} fails:\n{}\n{fault}", printed(&walk(seed).current()));
                faults.push((seed, fault));
            }
        }
    }
    println!("{count} walks, {total:?}, in {:.0} s: {} fail", began.elapsed().as_secs_f64(), faults.len());
    if let Some((seed, fault)) = faults.into_iter().next() {
        panic!("{}", shrink(seed, fault).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_that_once_failed_end_as_after_a_fresh_apply() {
    use script::Fault::LostAnswers;
    use script::Tasks::Ids;
    let start = Step::Apply { group: 0, tasks: Ids(1, 2), running: true, stop: false };
    // A task that is gone kept the instance from being Synced after a later call was lost.
    let gone = [
        Step::Behave(1, Behavior::Slow(1500)),
        start,
        Step::Wait(600),
        Step::Remove(1),
        Step::Quiet,
        Step::Trouble(LostAnswers, 1000),
        Step::Drift(2, 1),
        Step::Wait(900),
    ];
    if let Err(fault) = outcome(gone.to_vec()).await {
        panic!("{}\n{fault}", printed(&gone));
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// `WALKS_SEED` chooses other walks.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_walk_everything_is_as_after_a_fresh_apply() {
    let first = setting("WALKS_SEED", 300);
    go(first..first + 6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make walks runs it"]
async fn after_any_of_many_walks_everything_is_as_after_a_fresh_apply() {
    let first = setting("WALKS_SEED", 1);
    go(first..first + setting("WALKS", 100)).await;
}
