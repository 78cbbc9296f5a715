//! The pure steps by themselves, for benches: one instance whose tasks are all as desired and
//! reported, so that nothing is to be done.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::crd::{
    CachedGroup, DesiredState, FdiInstance, FdiInstanceSpec, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupSpec,
    InstanceRef, TaskSelector,
};
use crate::fdi::{LastRun, RunState, SampleList, Task, TaskId, Tasks};
use crate::reconcile::desired::{Desired, Snapshot, StoredGroup, resolve};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::{Observed, TaskList};
use crate::reconcile::outcome::Outcomes;
use crate::reconcile::plan::plan;
use crate::reconcile::schedule::schedule;
use crate::reconcile::status::status;
use crate::reconcile::timings::Timings;
use crate::reconcile::unchanged;
use crate::time::backoff::add;

/// How each group chooses its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    ById,
    ByName,
    BySelector,
}

/// One instance between two reconciles.
#[derive(Debug)]
pub struct PureSteps {
    snapshot: Snapshot,
    desired: Desired,
    state: InstanceState,
    tasks: Tasks,
    list: SampleList,
    now: Timestamp,
}

impl PureSteps {
    /// So many groups with so many tasks each.
    pub fn settled(groups: usize, tasks: usize, chosen: Chosen) -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let spec = FdiInstanceSpec { poll_interval_seconds: 60, ..FdiInstanceSpec::default() };
        let mut instance = FdiInstance::new("roma", spec);
        instance.metadata.generation = Some(1);
        let snapshot = Snapshot {
            instance: Some((Arc::new(instance), FdiInstanceStatus::default())),
            groups: (0..groups).map(|number| group(number, tasks, chosen)).collect(),
        };
        let mut state = InstanceState::new(Arc::new(Timings::default()));
        let desired = state.resolve(snapshot.clone(), now);
        let tasks: Vec<Task> =
            (0..groups).flat_map(|group| (0..tasks).filter_map(move |task| running(group, task))).collect();
        let mut list = SampleList::of(&tasks);
        let tasks = list.read(None);
        let mut steps = Self { snapshot, desired, state, tasks, list, now };
        steps.reconcile_after_list();
        steps.store_statuses();
        steps.reconcile_after_list();
        steps
    }

    /// As if the statuses of the last reconcile had been written and delivered.
    fn store_statuses(&mut self) {
        // With what the first list chose.
        self.resolve();
        let statuses = status(&self.desired, &self.state, &Outcomes::default(), self.now);
        let written: Vec<_> = statuses.groups().iter().map(|report| report.status.clone()).collect();
        let instance = statuses.instance().map(|report| report.status.clone());
        // Both are sorted by name.
        for (group, status) in self.snapshot.groups.iter_mut().zip(written) {
            let mut object = CachedGroup::clone(&group.object);
            object.status = Some(Arc::clone(&status));
            (group.object, group.status) = (Arc::new(object), status);
        }
        if let Some(((_, stored), status)) = self.snapshot.instance.as_mut().zip(instance) {
            *stored = status;
        }
        self.resolve();
    }

    /// The part of step 2 that is no I/O.
    pub fn read_list(&mut self) {
        black_box(self.list.read(None));
    }

    /// The same of a list that is as it was.
    pub fn read_same_list(&mut self) {
        black_box(self.list.read(self.state.observation.list().map(TaskList::tasks)));
    }

    /// Step 1.
    pub fn resolve(&mut self) {
        self.desired = resolve(self.snapshot.clone(), &self.state.selections);
    }

    /// Step 3.
    pub fn plan(&mut self) {
        black_box(plan(&self.desired, &self.state, self.now));
    }

    /// Step 5.
    pub fn status(&mut self) {
        black_box(status(&self.desired, &self.state, &Outcomes::default(), self.now));
    }

    /// A poll that finds everything as it was.
    pub fn poll(&mut self) {
        let list = self.list();
        self.reconcile(Some(list));
    }

    /// All pure steps after a list, as if something had changed.
    pub fn reconcile_after_list(&mut self) {
        self.state.idle = None;
        let list = self.list();
        self.reconcile(Some(list));
    }

    /// All pure steps while the last list still serves.
    pub fn reconcile_without_list(&mut self) {
        self.state.idle = None;
        self.reconcile(None);
    }

    fn list(&self) -> TaskList {
        TaskList::new(add(self.now, Duration::from_secs(60)), self.tasks.clone())
    }

    fn reconcile(&mut self, list: Option<TaskList>) {
        let mut desired = self.state.resolve(self.snapshot.clone(), self.now);
        self.now = list.as_ref().map_or(self.now, |list| list.requested_at);
        if let Some(newer) = desired.newer(self.snapshot.clone()) {
            desired = self.state.sync(newer, self.now);
        }
        let observed = Observed { instance: Some(String::new()), credential: None, list: list.map(Ok) };
        let observed = match unchanged::poll(&desired, observed, &mut self.state, self.now) {
            Ok(next) => {
                black_box(next);
                return;
            }
            Err(observed) => *observed,
        };
        desired = self.state.record_list(desired, observed, self.now);
        let plan = plan(&desired, &self.state, self.now);
        let outcomes = self.state.record_calls(&desired, Outcomes::default());
        let statuses = status(&desired, &self.state, &outcomes, self.now);
        black_box(schedule(&desired, &plan, &outcomes, &statuses, &mut self.state));
        for uid in statuses.converged() {
            self.state.ledger.take_convergence_time(uid, self.now);
        }
        unchanged::remember(&desired, (&plan, &outcomes), (&statuses, true), &mut self.state);
    }
}

fn group(number: usize, tasks: usize, chosen: Chosen) -> StoredGroup {
    let name = format!("group-{number:06}");
    let instance_ref = InstanceRef { name: "roma".to_owned() };
    let mut spec = FdiTaskGroupSpec { instance_ref, desired_state: DesiredState::Running, ..Default::default() };
    match chosen {
        Chosen::ById => spec.task_ids = (0..tasks).map(|task| task_id(number, task).into()).collect(),
        Chosen::ByName => spec.task_names = (0..tasks).map(|task| task_name(number, task).into()).collect(),
        Chosen::BySelector => {
            spec.selector =
                Some(TaskSelector { names: vec![format!("{number}-*").into()], ..Default::default() }.into());
        }
    }
    let mut object = FdiTaskGroup::new(&name, spec);
    object.metadata.uid = Some(format!("00000000-0000-0000-0000-{number:012}"));
    object.metadata.generation = Some(1);
    object.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let object = Arc::new(object.into());
    StoredGroup { object, status: Arc::default(), unreported_since: None, predates: false }
}

fn task_id(group: usize, task: usize) -> String {
    format!("{group:016x}{task:016x}")
}

fn task_name(group: usize, task: usize) -> String {
    format!("{group}-{task}")
}

fn running(group: usize, task: usize) -> Option<Task> {
    Some(Task {
        name: task_name(group, task).into(),
        id: TaskId::new(task_id(group, task)).ok()?,
        state: Some(RunState::Running),
        last_run: LastRun::Success,
        type_: None,
        attributes: None,
    })
}
