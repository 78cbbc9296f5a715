//! A simulation for tests of the pure steps: groups, a service, a clock. No Kubernetes, no network,
//! no real time.
//!
//! `Simulation::reconcile` is `reconcile.rs` with the I/O steps replaced by a model of the service;
//! statuses are stored in the objects as the API server would. After every reconcile the invariants
//! of a truthful status are checked.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::service::{Service, id};
use crate::crd::{
    CachedGroup, Condition, ConditionStatus, DeletionPolicy, DesiredState, FINALIZER, FdiInstance, FdiInstanceSpec,
    FdiTaskGroup, FdiTaskGroupSpec, FdiTaskGroupStatus, InstanceRef, REQUESTED_AT, condition_types, find_condition,
};
use crate::fdi::{Action, Attributes, Fingerprint, RunState, SignIn, TaskId, Tasks};
use crate::reconcile::desired::{Desired, FinalizerAction, Snapshot, StoredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::failure::InstanceError;
use crate::reconcile::observation::{Observation, Observed, TaskList};
use crate::reconcile::outcome::{CompletedCall, Outcomes};
use crate::reconcile::plan::{Plan, plan};
use crate::reconcile::schedule::schedule;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::status::report::GroupReport;
use crate::reconcile::status::status;
use crate::reconcile::timings::Timings;
use crate::reconcile::unchanged;
use crate::time::backoff::add;

pub const START: &str = "2026-01-01T00:00:00Z";

fn credential() -> Fingerprint {
    SignIn::Token("token".into()).fingerprint()
}

#[derive(Debug, Clone)]
pub struct Simulation {
    pub now: Timestamp,
    pub groups: Vec<FdiTaskGroup>,
    pub instance: Option<FdiInstance>,
    pub service: Service,
    pub state: InstanceState,
    pub next: Timestamp,
    pub events: Vec<(String, String)>,
    pub writes: usize,
    pub released: Vec<(String, FinalizerRelease)>,
    /// What keeps lists from reaching the service.
    pub problem: Option<InstanceError>,
    /// Happens once, while the next list is in flight.
    pub during_list: Option<fn(&mut Self)>,
    /// Since when no status of any group could be written.
    pub unreported_since: Option<Timestamp>,
    /// Groups existed before this process.
    restarted: bool,
    pub reconciles: usize,
    /// Those that went through all steps.
    pub decided: usize,
    /// Objects as the store of the operator holds them: the same one until it changes.
    stored_instance: RefCell<Vec<Arc<FdiInstance>>>,
    stored_groups: RefCell<Vec<Arc<CachedGroup>>>,
    next_uid: usize,
}

impl Simulation {
    /// An instance with tasks 1 to `tasks`, all stopped.
    pub fn new(tasks: usize) -> Self {
        Self::with(tasks, Timings::default())
    }

    /// The same with other timings.
    pub fn with(tasks: usize, timings: Timings) -> Self {
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
            state: InstanceState::new(Arc::new(timings)),
            next: now,
            events: Vec::new(),
            writes: 0,
            released: Vec::new(),
            problem: None,
            during_list: None,
            unreported_since: None,
            restarted: false,
            reconciles: 0,
            decided: 0,
            stored_instance: RefCell::default(),
            stored_groups: RefCell::default(),
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
        group.status = Some(Arc::default());
        self.next = self.now;
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
        self.next = self.now;
    }

    pub fn request(&mut self, name: &str, token: &str) {
        let group = self.groups.iter_mut().find(|g| g.metadata.name.as_deref() == Some(name)).unwrap();
        group.metadata.annotations.get_or_insert_default().insert(REQUESTED_AT.into(), token.into());
        self.next = self.now;
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
        self.next = self.now;
    }

    /// The process is killed and started again: only what is stored is left.
    pub fn restart(&mut self) {
        self.state = InstanceState::new(Arc::clone(&self.state.timings));
        self.restarted = true;
        self.next = self.now;
    }

    pub fn snapshot(&self) -> Snapshot {
        let group = |group: &FdiTaskGroup| {
            let object = kept(&self.stored_groups.borrow(), &group.clone().into());
            let status = object.status.clone().unwrap_or_default();
            StoredGroup { object, status, unreported_since: self.unreported_since, predates: self.restarted }
        };
        let groups: Vec<StoredGroup> = self.groups.iter().map(group).collect();
        let instance = self.instance.as_ref().map(|instance| kept(&self.stored_instance.borrow(), instance));
        self.stored_groups.replace(groups.iter().map(|group| Arc::clone(&group.object)).collect());
        self.stored_instance.replace(instance.iter().cloned().collect());
        let status = |object: &Arc<FdiInstance>| object.status.clone().unwrap_or_default();
        Snapshot { instance: instance.map(|object| (Arc::clone(&object), status(&object))), groups }
    }

    /// One reconcile at the present moment.
    pub fn reconcile(&mut self) {
        let desired = self.state.resolve(self.snapshot(), self.now);
        let observed = self.observe(desired.attributes());
        // What happens while the list is in flight.
        if let Some(meanwhile) = self.during_list.take() {
            meanwhile(self);
        }
        let mut desired = self.state.resolve(self.snapshot(), self.now);
        self.reconciles += 1;
        let observed = match unchanged::poll(&desired, observed, &mut self.state, self.now) {
            Ok(next) => {
                self.next = next;
                return;
            }
            Err(observed) => *observed,
        };
        self.decided += 1;
        desired = self.state.record_list(desired, observed, self.now);
        let plan = plan(&desired, &self.state, self.now);
        let outcomes = self.execute(&desired, &plan);
        let outcomes = self.state.record_calls(&desired, outcomes);
        let statuses = status(&desired, &self.state, &outcomes, self.now);
        self.next = schedule(&desired, &plan, &outcomes, &statuses, &mut self.state);
        let reports = check(&desired, &self.state.observation, statuses.groups());
        let is_stored = |report: &GroupReport<'_>| {
            let added = report.group.finalizer != FinalizerAction::Add;
            added && report.release.is_none() && report.group.object.status.as_ref() == Some(&report.status)
        };
        let instance = self.instance.as_ref().and_then(|instance| instance.status.as_ref());
        let stored = statuses.groups().iter().all(is_stored)
            && self.unreported_since.is_none()
            && instance == statuses.instance().map(|report| &report.status);
        // As the metrics do.
        for uid in statuses.converged() {
            self.state.ledger.take_convergence_time(uid, self.now);
        }
        unchanged::remember(&desired, (&plan, &outcomes), (&statuses, stored), &mut self.state);
        if let (Some(instance), Some(report)) = (&mut self.instance, statuses.instance())
            && instance.status.as_ref() != Some(&report.status)
        {
            self.writes += 1;
            instance.status = Some(report.status.clone());
        }
        self.save(reports);
    }

    fn observe(&mut self, attributes: Attributes) -> Observed {
        let observation = &self.state.observation;
        let instance = self.instance.as_ref().map(|instance| instance.metadata.uid.clone().unwrap_or_default());
        let list = if self.instance.is_none() {
            Some(Err(InstanceError::InstanceNotFound))
        } else if let Some(problem) = self.problem.clone() {
            Some(Err(problem))
        } else if observation.is_fresh(self.now) && observation.list().is_some_and(|list| list.has(attributes))
            || !observation.may_list(credential(), self.now)
        {
            None
        } else {
            let tasks = self.service.list(self.now);
            Some(tasks.map(|tasks| TaskList::new(self.now, Tasks::new(attributes, tasks))).map_err(InstanceError::Call))
        };
        Observed { instance, credential: Some(credential()), list }
    }

    /// As `execute` does, one call after the other, each taking a millisecond.
    fn execute(&mut self, desired: &Desired, plan: &Plan) -> Outcomes {
        let mut calls = Vec::new();
        for batch in plan.calls() {
            for id in batch.ids() {
                let owner = desired.owner(id).expect("only owned tasks are in calls");
                assert_eq!(owner.run_state.action(), batch.action(), "{id} gets the opposite of what is desired");
                assert!(!owner.holds_calls());
            }
            let began = self.now;
            self.now = add(self.now, Duration::from_millis(1));
            let result = self.service.batch(batch, began);
            let call = CompletedCall { batch: batch.clone(), result, ended: self.now };
            let stop = call.stops_plan();
            calls.push(call);
            if stop {
                break;
            }
        }
        Outcomes::new(calls, false)
    }

    fn save(&mut self, stored: Vec<Stored>) {
        for Stored { uid, status, events, release } in stored {
            let Some(group) = self.groups.iter_mut().find(|g| g.metadata.uid.as_deref() == Some(&uid)) else {
                continue;
            };
            let name = group.metadata.name.clone().unwrap();
            if let Some(why) = release {
                group.metadata.finalizers = None;
                self.released.push((name.clone(), why));
                if group.metadata.deletion_timestamp.is_some() {
                    self.groups.retain(|g| g.metadata.uid.as_deref() != Some(&uid));
                }
                continue;
            }
            if group.spec.deletion_policy == DeletionPolicy::Stop && group.metadata.finalizers.is_none() {
                group.metadata.finalizers = Some(vec![FINALIZER.into()]);
                self.next = self.now;
            }
            if group.status.as_ref() != Some(&status) {
                self.writes += 1;
                group.status = Some(status);
            }
            self.events.extend(events);
        }
    }

    /// Reconciles as they become due, until `span` has gone by.
    pub fn run_for(&mut self, span: Duration) {
        let end = add(self.now, span);
        // Polls, what is tried again, and lists every 8 s for calls that do not settle, of which
        // there are some at a time; more is a loop, whatever happens.
        let most = self.reconciles + 100 + 30 * usize::try_from(span.as_secs() / 60).unwrap();
        while self.next <= end {
            self.now = self.now.max(self.next);
            self.reconcile();
            self.now = add(self.now, Duration::from_millis(1));
            if self.next < self.now {
                self.next = self.now;
            }
            assert!(self.reconciles < most, "too many reconciles by {}: {:#?}", self.now, self.groups);
        }
        self.now = self.now.max(end);
    }

    pub fn status(&self, name: &str) -> FdiTaskGroupStatus {
        let group = self.groups.iter().find(|g| g.metadata.name.as_deref() == Some(name)).unwrap();
        group.status.as_deref().unwrap().clone()
    }

    /// Status and reason of Ready, and the condition beside it.
    pub fn conditions(&self, name: &str) -> (ConditionStatus, String, Option<String>) {
        let status = self.status(name);
        let ready = status.conditions.iter().find(|c| c.type_ == condition_types::READY).expect("a Ready condition");
        let beside = status
            .conditions
            .iter()
            .find(|c| [condition_types::RECONCILING, condition_types::STALLED].contains(&&*c.type_));
        (ready.status, ready.reason.to_string(), beside.map(|c| c.type_.to_string()))
    }

    pub fn reason(&self, name: &str) -> String {
        self.conditions(name).1
    }

    /// IDs called so far, each with its action.
    pub fn called(&self) -> BTreeSet<(Action, TaskId)> {
        self.service.calls.iter().flat_map(|(_, action, ids)| ids.iter().map(move |id| (*action, id.clone()))).collect()
    }
}

/// The object of these that equals this one, or it as a new one.
fn kept<K: Clone + PartialEq>(objects: &[Arc<K>], object: &K) -> Arc<K> {
    let known = objects.iter().find(|known| known.as_ref() == object);
    known.map_or_else(|| Arc::new(object.clone()), Arc::clone)
}

/// What must hold at every moment, whatever happens.
fn check(desired: &Desired, observation: &Observation, reports: &[GroupReport<'_>]) -> Vec<Stored> {
    let mut stored = Vec::new();
    for report in reports {
        let status = &report.status;
        let condition = |type_: &str| find_condition(&status.conditions, type_);
        let counts = status.tasks.unwrap_or_default();
        assert_eq!(counts.total, counts.ready + counts.pending + counts.failed + counts.conflicting);
        assert!(condition(condition_types::RECONCILING).is_none() || condition(condition_types::STALLED).is_none());
        assert!(status.conditions.iter().all(|c| c.observed_generation == status.observed_generation));
        assert!(serde_json::to_vec(status).unwrap().len() <= 96 * 1024);
        let ready = condition(condition_types::READY).is_some_and(Condition::is_true);
        if let (true, Some(list)) = (ready && status.observed_generation == report.group.generation, observation.list())
        {
            for id in &report.group.owned {
                assert_eq!(list.task(id).and_then(|t| t.state), Some(report.group.run_state), "Ready, but {id} is not");
            }
            assert!(report.group.conflicts.is_empty() && report.group.unresolved().is_empty());
            assert!(!report.group.awaits_selection());
        }
        let stopped = report.release == Some(FinalizerRelease::Completed)
            && report.group.finalizer == FinalizerAction::Hold
            && !desired.instance_suspended();
        for id in report.group.owned.iter().filter(|_| stopped) {
            let state = observation.list().unwrap().task(id).and_then(|task| task.state);
            assert_ne!(state, Some(RunState::Running), "the object goes, but {id} runs");
        }
        stored.push(Stored {
            uid: report.group.uid.to_string(),
            status: status.clone(),
            events: report
                .events
                .iter()
                .chain(&report.actions)
                .map(|event| (event.reason.to_owned(), event.message.clone()))
                .collect(),
            release: report.release.clone(),
        });
    }
    stored
}

struct Stored {
    uid: String,
    status: Arc<FdiTaskGroupStatus>,
    events: Vec<(String, String)>,
    release: Option<FinalizerRelease>,
}
