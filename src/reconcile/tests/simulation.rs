//! A small world for tests of the pure steps: groups, a service, a clock. No Kubernetes, no network, no real time.
//!
//! `World::pass` is `pass.rs` with the I/O steps replaced by a model of the service; statuses are "stored" into the objects
//! as the API server would. After every pass the invariants of a truthful status are checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Desired, GroupReport, Outcomes, Plan, Snapshot, acknowledgements, desired, plan, status, wake};
use crate::time::backoff::after;
use crate::crd::{
    ConditionStatus, DeletionPolicy, DesiredState, FINALIZER, FdiInstance, FdiInstanceSpec, FdiTaskGroup,
    FdiTaskGroupSpec, FdiTaskGroupStatus, InstanceRef, REQUESTED_AT, types,
};
use crate::fdi::{Action, Answer, Batch, CallError, Cause, Class, LastRun, Outcome, Refusal, RunState, Task, TaskId};
use crate::reconcile::ledger::Ledger;
use crate::reconcile::LettingGo;
use crate::reconcile::observation::{Problem, Sight, View};
use crate::reconcile::timings::Timings;

pub const START: &str = "2026-01-01T00:00:00Z";

pub fn id(n: usize) -> TaskId {
    TaskId::new(format!("task-{n:04}")).unwrap()
}

pub fn error(class: Class, cause: Cause, code: &str) -> CallError {
    CallError {
        class,
        cause,
        code: code.into(),
        message: format!("{code} happened"),
        request_id: None,
        retry_after: None,
    }
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A request that the service fails without acting.
pub fn unavailable() -> Act {
    Act::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 500"), applied: 0 }
}

/// A task that is refused with this code.
pub fn refusing(code: &str, lasting: bool) -> Manner {
    let refusal = Refusal { code: code.into(), message: format!("{code}: do something"), lasting };
    Manner { settles_after: Some(Duration::ZERO), refuses: Some(Outcome::Refused(refusal)), poison: None }
}

/// How the service treats the next request of a kind; the queue's default is to do as asked.
#[derive(Debug, Clone)]
pub enum Act {
    Do,
    /// The request fails; for a batch, the first `applied` tasks are acted upon all the same.
    Fail {
        error: CallError,
        applied: usize,
    },
    /// The answer leaves these places of the batch out, or refuses them.
    Partly(Vec<(usize, Outcome)>),
}

#[derive(Debug, Clone)]
pub struct Manner {
    pub settles_after: Option<Duration>,
    pub refuses: Option<Outcome>,
    pub poison: Option<CallError>,
}

#[derive(Debug, Clone)]
struct Switching {
    state: RunState,
    at: Timestamp,
}

/// The model of the service.
#[derive(Debug, Default)]
pub struct Service {
    pub tasks: BTreeMap<TaskId, RunState>,
    switching: Vec<(TaskId, Switching)>,
    pub manners: BTreeMap<TaskId, Manner>,
    pub lists: VecDeque<Act>,
    pub batches: VecDeque<Act>,
    /// Every list answers as of this long ago.
    pub lag: Duration,
    history: Vec<(Timestamp, BTreeMap<TaskId, RunState>)>,
    pub calls: Vec<(Timestamp, Action, Vec<TaskId>)>,
    pub looks: usize,
}

impl Service {
    pub fn now_is(&mut self, now: Timestamp) {
        let due: Vec<_> = self.switching.extract_if(.., |(_, switching)| switching.at <= now).collect();
        for (id, switching) in due {
            if let Some(state) = self.tasks.get_mut(&id) {
                *state = switching.state;
            }
        }
        if self.history.last().is_none_or(|(_, tasks)| *tasks != self.tasks) {
            self.history.push((now, self.tasks.clone()));
        }
    }

    fn list(&mut self, now: Timestamp) -> Result<Vec<Task>, CallError> {
        self.now_is(now);
        self.looks += 1;
        if let Some(Act::Fail { error, .. }) = self.lists.pop_front() {
            return Err(error);
        }
        let seen =
            self.history.iter().rev().find(|(at, _)| after(*at, self.lag) <= now).map_or(&self.tasks, |(_, t)| t);
        Ok(seen
            .iter()
            .map(|(id, &state)| Task {
                id: id.clone(),
                name: format!("name of {id}").into(),
                state,
                last_run: LastRun::Success,
            })
            .collect())
    }

    fn batch(&mut self, batch: &Batch, now: Timestamp) -> Result<Answer, CallError> {
        self.calls.push((now, batch.action(), batch.ids().to_vec()));
        let act = self.batches.pop_front().unwrap_or(Act::Do);
        let poison = batch.ids().iter().find_map(|id| self.manners.get(id).and_then(|m| m.poison.clone()));
        if let Some(error) = poison {
            return Err(error);
        }
        let mut outcomes = Vec::new();
        for (place, id) in batch.ids().iter().enumerate() {
            let refused = self.manners.get(id).and_then(|m| m.refuses.clone());
            let told = match &act {
                Act::Partly(places) => places.iter().find(|(p, _)| *p == place).map(|(_, o)| o.clone()),
                _ => None,
            };
            let outcome = if self.tasks.contains_key(id) {
                refused.or(told).unwrap_or(Outcome::Accepted)
            } else {
                Outcome::Unknown
            };
            let acted = match &act {
                Act::Fail { applied, .. } => place < *applied,
                _ => outcome == Outcome::Accepted,
            };
            if acted {
                let delay = self.manners.get(id).map_or(Some(Duration::ZERO), |m| m.settles_after);
                self.switching.retain(|(other, _)| other != id);
                if let Some(delay) = delay {
                    self.switching
                        .push((id.clone(), Switching { state: batch.action().target(), at: after(now, delay) }));
                }
            }
            outcomes.push((id.clone(), outcome));
        }
        self.now_is(now);
        match act {
            Act::Fail { error, .. } => Err(error),
            _ => Ok(Answer { outcomes, request_id: None }),
        }
    }
}

#[derive(Debug)]
pub struct World {
    pub now: Timestamp,
    pub groups: Vec<FdiTaskGroup>,
    pub instance: Option<FdiInstance>,
    pub service: Service,
    pub sight: Sight,
    pub ledger: Ledger,
    pub wake: Timestamp,
    pub notes: Vec<(String, String)>,
    pub writes: usize,
    pub let_go: Vec<(String, LettingGo)>,
    /// What a look finds before it reaches the service.
    pub problem: Option<Problem>,
    next_uid: usize,
}

impl World {
    /// An instance with tasks 1 to `tasks`, all stopped.
    pub fn new(tasks: usize) -> Self {
        let now: Timestamp = START.parse().unwrap();
        let mut instance =
            FdiInstance::new("roma", FdiInstanceSpec { poll_interval_seconds: 60, ..Default::default() });
        instance.metadata.generation = Some(1);
        let tasks = (1..=tasks).map(|n| (id(n), RunState::Stopped)).collect();
        let service = Service { tasks, ..Service::default() };
        Self {
            now,
            groups: Vec::new(),
            instance: Some(instance),
            service,
            sight: Sight::default(),
            ledger: Ledger::new(Timings::default()),
            wake: now,
            notes: Vec::new(),
            writes: 0,
            let_go: Vec::new(),
            problem: None,
            next_uid: 0,
        }
    }

    /// Applies a group, created now.
    pub fn group(
        &mut self,
        name: &str,
        state: DesiredState,
        tasks: impl IntoIterator<Item = usize>,
    ) -> &mut FdiTaskGroup {
        self.next_uid += 1;
        let spec = FdiTaskGroupSpec {
            instance_ref: InstanceRef { name: "roma".into() },
            desired_state: state,
            task_ids: tasks.into_iter().map(|n| id(n).as_str().into()).collect(),
            ..Default::default()
        };
        let mut group = FdiTaskGroup::new(name, spec);
        group.metadata.uid = Some(format!("uid-{}", self.next_uid));
        group.metadata.generation = Some(1);
        group.metadata.creation_timestamp = Some(Time(self.now));
        group.status = Some(FdiTaskGroupStatus::default());
        self.wake = self.now;
        self.groups.push(group);
        self.groups.last_mut().unwrap()
    }

    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut FdiTaskGroupSpec)) {
        let group = self.groups.iter_mut().find(|g| g.metadata.name.as_deref() == Some(name)).unwrap();
        let before = group.spec.clone();
        change(&mut group.spec);
        if group.spec != before {
            *group.metadata.generation.as_mut().unwrap() += 1;
        }
        self.wake = self.now;
    }

    pub fn request(&mut self, name: &str, token: &str) {
        let group = self.groups.iter_mut().find(|g| g.metadata.name.as_deref() == Some(name)).unwrap();
        group.metadata.annotations.get_or_insert_default().insert(REQUESTED_AT.into(), token.into());
        self.wake = self.now;
    }

    pub fn delete(&mut self, name: &str) {
        let now = self.now;
        if let Some(group) = self.groups.iter_mut().find(|g| g.metadata.name.as_deref() == Some(name)) {
            if group.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty()) {
                group.metadata.deletion_timestamp = Some(Time(now));
                *group.metadata.generation.as_mut().unwrap() += 1;
            } else {
                self.groups.retain(|g| g.metadata.name.as_deref() != Some(name));
            }
        }
        self.wake = self.now;
    }

    /// The process is killed and started again: only what is stored is left.
    pub fn restart(&mut self) {
        self.sight = Sight::default();
        self.ledger = Ledger::new(Timings::default());
        self.wake = self.now;
    }

    pub fn snapshot(&self) -> Snapshot {
        let group = |g: &FdiTaskGroup| (Arc::new(g.clone()), g.status.clone().unwrap_or_default());
        Snapshot {
            instance: self.instance.clone().map(|i| (Arc::new(i.clone()), i.status.unwrap_or_default())),
            groups: self.groups.iter().map(group).collect(),
        }
    }

    /// One pass at the present moment.
    pub fn pass(&mut self) {
        let timings = self.ledger.timings().clone();
        let snapshot = self.snapshot();
        let mut desired = desired(snapshot);
        self.sight.greet(&desired, self.now);
        self.ledger.greet(&desired, self.now);
        let edits = check(&self.sight, &acknowledgements(&desired, &self.sight, &self.ledger, self.now));
        let acknowledged = edits.iter().map(|edit| (edit.uid.clone(), edit.status.clone())).collect();
        self.store(edits);
        desired.acknowledge(acknowledged);
        self.look(&timings);
        self.ledger.observe(&desired, self.sight.view(), self.now);
        self.ledger.settle_calls(&desired, &mut self.sight, self.now);
        let plan = plan(&desired, &self.sight, &self.ledger, self.now);
        let outcomes = self.run(&desired, &plan).record(&mut self.ledger, &mut self.sight, &timings);
        let statuses = status(&desired, &self.sight, &outcomes, &self.ledger, self.now);
        self.wake = wake(&desired, &plan, &outcomes, &statuses, &self.sight, &self.ledger, self.now);
        let stored = check(&self.sight, statuses.groups());
        if let (Some(instance), Some((status, _))) = (&mut self.instance, statuses.instance())
            && instance.status.as_ref() != Some(status)
        {
            self.writes += 1;
            instance.status = Some(status.clone());
        }
        self.store(stored);
    }

    fn look(&mut self, timings: &Timings) {
        if self.instance.is_none() {
            self.sight.look_failed(Problem::InstanceNotFound, self.now, timings);
        } else if let Some(problem) = self.problem.clone() {
            self.sight.look_failed(problem, self.now, timings);
        } else if !self.sight.fresh(self.now, timings) && self.sight.look_barred(self.now).is_none() {
            let now = self.now;
            match self.service.list(now) {
                Ok(tasks) => self.sight.saw(View::new(now, tasks)),
                Err(error) => self.sight.look_failed(Problem::Call(error), now, timings),
            }
        }
    }

    /// As `run` does, one call after the other, each taking a millisecond.
    fn run(&mut self, desired: &Desired, plan: &Plan) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for batch in plan.calls() {
            for id in batch.ids() {
                let owner = desired.owner(id).expect("only owned tasks are in calls");
                assert_eq!(owner.wish.action(), batch.action(), "{id} is told the opposite of what is wanted");
                assert!(!owner.suspended && owner.acknowledged());
            }
            let began = self.now;
            self.now = after(self.now, Duration::from_millis(1));
            let result = self.service.batch(batch, began);
            let stop = result.as_ref().is_err_and(|error| error.class != Class::Split);
            outcomes.push(batch.clone(), result, self.now);
            if stop {
                break;
            }
        }
        outcomes
    }

    fn store(&mut self, stored: Vec<Stored>) {
        for Stored { uid, status, notes, letting_go } in stored {
            let Some(group) = self.groups.iter_mut().find(|g| g.metadata.uid.as_deref() == Some(&uid)) else {
                continue;
            };
            let name = group.metadata.name.clone().unwrap();
            if let Some(why) = letting_go {
                group.metadata.finalizers = None;
                self.let_go.push((name.clone(), why));
                if group.metadata.deletion_timestamp.is_some() {
                    self.groups.retain(|g| g.metadata.uid.as_deref() != Some(&uid));
                }
                continue;
            }
            if group.spec.deletion_policy == DeletionPolicy::Stop && group.metadata.finalizers.is_none() {
                group.metadata.finalizers = Some(vec![FINALIZER.into()]);
                self.wake = self.now;
            }
            if group.status.as_ref() != Some(&status) {
                self.writes += 1;
                group.status = Some(status);
            }
            self.notes.extend(notes);
        }
    }

    /// Passes as they become due, until `span` has gone by.
    pub fn pass_for(&mut self, span: Duration) {
        let end = after(self.now, span);
        let mut passes = 0;
        while self.wake <= end {
            self.now = self.now.max(self.wake);
            let began = self.now;
            self.pass();
            self.now = after(self.now, Duration::from_millis(1));
            if self.wake < self.now {
                self.wake = self.now;
            }
            passes = if self.now.duration_since(began).as_millis() < 10 { passes + 1 } else { 0 };
            assert!(passes < 20_000, "the worker spins at {}: {:#?}", self.now, self.groups);
        }
        self.now = self.now.max(end);
    }

    pub fn status(&self, name: &str) -> FdiTaskGroupStatus {
        let group = self.groups.iter().find(|g| g.metadata.name.as_deref() == Some(name)).unwrap();
        group.status.clone().unwrap()
    }

    /// Status and reason of Ready, and the condition beside it.
    pub fn says(&self, name: &str) -> (ConditionStatus, String, Option<String>) {
        let status = self.status(name);
        let ready = status.conditions.iter().find(|c| c.type_ == types::READY).expect("a Ready condition");
        let beside =
            status.conditions.iter().find(|c| [types::RECONCILING, types::STALLED].contains(&c.type_.as_str()));
        (ready.status, ready.reason.clone(), beside.map(|c| c.type_.clone()))
    }

    pub fn reason(&self, name: &str) -> String {
        self.says(name).1
    }

    /// IDs called so far, each with its action.
    pub fn called(&self) -> BTreeSet<(Action, TaskId)> {
        self.service.calls.iter().flat_map(|(_, action, ids)| ids.iter().map(move |id| (*action, id.clone()))).collect()
    }
}

/// What must hold at every moment, whatever happens.
fn check(sight: &Sight, reports: &[GroupReport<'_>]) -> Vec<Stored> {
    let mut stored = Vec::new();
    for report in reports {
        let status = &report.status;
        let condition = |type_: &str| status.conditions.iter().find(|c| c.type_ == type_);
        let counts = status.tasks.unwrap_or_default();
        assert_eq!(counts.total, counts.ready + counts.pending + counts.failed + counts.conflicting);
        assert!(condition(types::RECONCILING).is_none() || condition(types::STALLED).is_none());
        assert!(status.conditions.iter().all(|c| c.observed_generation == status.observed_generation));
        assert!(serde_json::to_vec(status).unwrap().len() <= 96 * 1024);
        let ready = condition(types::READY).is_some_and(|c| c.status == ConditionStatus::True);
        if let (true, Some(view)) = (ready && status.observed_generation == report.group.generation, sight.view()) {
            for id in &report.group.owned {
                assert_eq!(view.task(id).map(|t| t.state), Some(report.group.wish), "Ready, but {id} is not");
            }
            assert!(report.group.conflicting.is_empty());
        }
        stored.push(Stored {
            uid: report.group.uid.clone(),
            status: status.clone(),
            notes: report.notes.iter().map(|n| (n.reason.to_owned(), n.text.clone())).collect(),
            letting_go: report.letting_go.clone(),
        });
    }
    stored
}

struct Stored {
    uid: String,
    status: FdiTaskGroupStatus,
    notes: Vec<(String, String)>,
    letting_go: Option<LettingGo>,
}
