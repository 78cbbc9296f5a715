//! The instance of the lives, and what must hold in it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;

use super::step::{Call, List, Step, prepare};
use crate::crd::{ConditionStatus, DeletionPolicy, DesiredState, FdiTaskGroup, TaskSelector, reasons};
use crate::fdi::{RunState, TaskId};
use crate::reconcile::tests::service::{id, seconds};
use crate::reconcile::tests::simulation::Simulation;
use crate::reconcile::timings::Timings;
use crate::time::backoff::add;

pub const TASKS: usize = 3;
/// The task that the second group selects, unless somebody renames it.
const SELECTED: &str = "*-0003";
/// How long a call that acts late takes, and how far a list lags behind.
pub const LATE: Duration = seconds(15);

/// How many reconciles 25 minutes take at most: a poll each minute, and what settles or fails.
const RECONCILES_MAX: usize = 120;

/// The state of the whole, and tasks that somebody else switched since the last list.
#[derive(Debug, Clone)]
pub struct World {
    sim: Simulation,
    drifted: bool,
    /// Since the last list.
    renamed: bool,
    /// Until when no list lags behind. The operator takes a call that was answered with 4xx for one
    /// that is over: where such a call acted all the same, the next list must show it.
    lists_current_until: Timestamp,
}

impl World {
    pub fn new() -> Self {
        let mut sim = Simulation::with(TASKS, Timings { jitter: || 1.0, ..Timings::default() });
        sim.group("a", DesiredState::Running, [1, 2]).spec.deletion_policy = DeletionPolicy::Stop;
        sim.now = add(sim.now, seconds(1));
        let selector = TaskSelector { names: vec![SELECTED.into()], ..TaskSelector::default() };
        sim.group("b", DesiredState::Running, [2]).spec.selector = Some(Box::new(selector));
        Self { lists_current_until: sim.now, sim, drifted: false, renamed: false }
    }

    /// The world after a step; `None` where the step makes no difference to another one.
    pub fn after(&self, step: Step) -> Option<Self> {
        let mut next = self.clone();
        let sim = &mut next.sim;
        let exists = |sim: &Simulation, name: &str| {
            sim.groups.iter().any(|group| {
                group.metadata.name.as_deref() == Some(name) && group.metadata.deletion_timestamp.is_none()
            })
        };
        match step {
            Step::Reconcile(call, list) => next.reconcile(call, list)?,
            Step::Crash(call) => {
                let (groups, instance) = (sim.groups.clone(), sim.instance.clone());
                let calls = sim.service.calls.len();
                next.reconcile(call, List::Works)?;
                if next.sim.service.calls.len() == calls {
                    return None;
                }
                (next.sim.groups, next.sim.instance) = (groups, instance);
                (next.drifted, next.renamed) = (self.drifted, self.renamed);
                next.sim.restart();
            }
            Step::Flip(name) if exists(sim, name) => flip(sim, name),
            Step::FlipDuringList if exists(sim, "a") => {
                sim.during_list = Some(|sim| flip(sim, "a"));
                let lists = sim.service.lists;
                next.reconcile(Call::Works, List::Works)?;
                if next.sim.service.lists == lists {
                    return None;
                }
            }
            Step::Delete(name) if exists(sim, name) => sim.delete(name),
            Step::Drift => {
                sim.service.advance(sim.now);
                let task = sim.service.tasks.get_mut(&id(2))?;
                *task = opposite(*task);
                next.drifted = true;
            }
            Step::Rename => {
                if sim.service.names.remove(&id(3)).is_none() {
                    sim.service.names.insert(id(3), "renamed".to_owned());
                }
                next.renamed = true;
            }
            Step::Restart => sim.restart(),
            Step::RestartLate => {
                sim.now = add(sim.now, seconds(300));
                sim.restart();
            }
            _ => return None,
        }
        Some(next)
    }

    /// The next reconcile that is due. `None` where no call is sent, or nothing listed, that could
    /// go wrong in this way.
    fn reconcile(&mut self, call: Call, list: List) -> Option<()> {
        let sim = &mut self.sim;
        sim.now = sim.now.max(sim.next);
        if list == List::Lags && sim.now < self.lists_current_until {
            return None;
        }
        let (calls, lists) = (sim.service.calls.len(), sim.service.lists);
        prepare(sim, call, list);
        sim.reconcile();
        let service = &mut sim.service;
        service.behaviors.clear();
        service.batch_faults.clear();
        service.list_faults.clear();
        service.lag = Duration::ZERO;
        sim.now = add(sim.now, Duration::from_millis(1));
        let (called, listed) = (sim.service.calls.len() > calls, sim.service.lists > lists);
        if call == Call::ThrottledAndDone {
            self.lists_current_until = add(sim.now, LATE);
        }
        let current = listed && list == List::Works;
        self.drifted &= !current;
        self.renamed &= !current;
        ((called || call == Call::Works) && (listed || list == List::Works)).then_some(())
    }

    /// Whether a group is Ready that is wrong, or that something sent before can still make wrong.
    pub fn check(&mut self) -> Result<(), String> {
        let sim = &mut self.sim;
        sim.service.advance(sim.now);
        let mut owned: Vec<TaskId> = Vec::new();
        for group in &sim.groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            let tasks = tasks_of(group, sim.service.names.is_empty());
            let mine: Vec<_> = tasks.iter().filter(|id| !owned.contains(id)).cloned().collect();
            owned.extend(tasks);
            let status = group.status.clone().unwrap_or_default();
            if status.conditions.is_empty()
                || sim.conditions(name).0 != ConditionStatus::True
                || status.observed_generation != group.metadata.generation.unwrap()
            {
                continue;
            }
            let desired = run_state(group.spec.desired_state);
            for task in mine {
                if (self.drifted && task == id(2)) || (self.renamed && task == id(3)) {
                    continue;
                }
                if sim.service.tasks[&task] != desired {
                    return Err(format!("{name} is Ready, but {task} is not {desired:?}"));
                }
                if sim.service.will_become(&task, opposite(desired)) {
                    return Err(format!("{name} is Ready, but a call that was sent will switch {task}"));
                }
            }
        }
        Ok(())
    }

    /// Once nothing goes wrong any more: everything comes to rest as desired, and then silence.
    pub fn check_rest(&self) -> Result<(), String> {
        let mut sim = self.sim.clone();
        let before = sim.reconciles;
        sim.run_for(Duration::from_mins(25));
        if sim.reconciles - before > RECONCILES_MAX {
            return Err(format!("{} reconciles in 25 minutes", sim.reconciles - before));
        }
        let (calls, writes) = (sim.service.calls.len(), sim.writes);
        for group in &sim.groups {
            let name = group.metadata.name.as_deref().unwrap_or_default();
            let (ready, reason, _) = sim.conditions(name);
            if ready != ConditionStatus::True && reason != reasons::TASKS_CONFLICT {
                return Err(format!("{name} does not come to rest: {:#?}", sim.status(name)));
            }
        }
        World { sim: sim.clone(), drifted: false, renamed: false, ..*self }.check()?;
        sim.run_for(Duration::from_mins(12));
        if (sim.service.calls.len(), sim.writes) != (calls, writes) {
            return Err("no silence at rest".to_owned());
        }
        Ok(())
    }

    /// The same for all worlds that differ only in when it is, and in what has been.
    pub fn key(&self) -> u64 {
        let Self { sim, drifted, renamed, lists_current_until } = self;
        let current = lists_current_until.max(&sim.now);
        let wait = sim.next.duration_since(sim.now).max(jiff::SignedDuration::ZERO);
        let history = sim.service.history.iter().filter(|(at, _)| add(*at, LATE) >= sim.now).collect::<Vec<_>>();
        let names = &sim.service.names;
        let service = (&sim.service.tasks, names, &sim.service.switching, &sim.service.listed_until, history);
        let text = format!("{:?} {:?} {service:?} {wait:?} {drifted} {renamed} {current}", sim.groups, sim.state);
        let mut hasher = DefaultHasher::new();
        relative(&text, sim.now).hash(&mut hasher);
        hasher.finish()
    }
}

/// The text with every point in time as its distance from now, at most an hour.
fn relative(text: &str, now: Timestamp) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("2026-01-") {
        result.push_str(&rest[..start]);
        let end = start + rest[start..].find('Z').unwrap() + 1;
        match rest[start..end].parse::<Timestamp>() {
            Ok(time) => result.push_str(&time.duration_since(now).as_millis().max(-3_600_000).to_string()),
            Err(_) => result.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    result + rest
}

/// What the group lists or selects at present.
fn tasks_of(group: &FdiTaskGroup, selectable: bool) -> Vec<TaskId> {
    let listed = group.spec.task_ids.iter().map(|task| TaskId::new(&**task).unwrap());
    listed.chain((selectable && group.spec.selector.is_some()).then(|| id(3))).collect()
}

fn run_state(state: DesiredState) -> RunState {
    match state {
        DesiredState::Running => RunState::Running,
        DesiredState::Stopped => RunState::Stopped,
    }
}

fn opposite(state: RunState) -> RunState {
    if state == RunState::Running { RunState::Stopped } else { RunState::Running }
}

fn flip(sim: &mut Simulation, name: &str) {
    sim.edit(name, |spec| {
        spec.desired_state = match spec.desired_state {
            DesiredState::Running => DesiredState::Stopped,
            DesiredState::Stopped => DesiredState::Running,
        };
    });
}
