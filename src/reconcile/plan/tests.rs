//! What every plan must be, whatever desired and observed states.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::crd::{
    DesiredState, FdiInstance, FdiInstanceSpec, FdiInstanceStatus, FdiTaskGroup, FdiTaskGroupSpec, InstanceRef,
};
use crate::fdi::{Attributes, LastRun, RunState, Task, Tasks};
use crate::reconcile::desired::{Snapshot, StoredGroup, resolve};
use crate::reconcile::observation::{Observed, TaskList};
use crate::reconcile::selection::Selections;
use crate::reconcile::timings::Timings;

const TASKS: usize = 60;

#[derive(Debug, Clone)]
struct Group {
    tasks: Vec<usize>,
    running: bool,
    suspended: bool,
}

fn group() -> impl Strategy<Value = Group> {
    (prop::collection::vec(0..TASKS, 1..25), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(tasks, running, suspended)| Group { tasks, running, suspended })
}

/// Observed state per task: absent, stopped, running.
fn observed() -> impl Strategy<Value = Vec<Option<bool>>> {
    prop::collection::vec(prop_oneof![1 => Just(None), 4 => Just(Some(false)), 4 => Just(Some(true))], TASKS)
}

fn id(n: usize) -> TaskId {
    TaskId::new(format!("t{n:03}")).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Groups that were acknowledged long ago, so that no batch is held back.
fn desired_of(groups: &[Group]) -> Desired {
    let groups = groups.iter().enumerate().map(|(n, group)| {
        let state = if group.running { DesiredState::Running } else { DesiredState::Stopped };
        let spec = FdiTaskGroupSpec {
            instance_ref: InstanceRef { name: "roma".into() },
            desired_state: state,
            task_ids: group.tasks.iter().map(|&n| id(n).as_str().into()).collect(),
            suspend: group.suspended,
            ..FdiTaskGroupSpec::default()
        };
        let mut object = FdiTaskGroup::new(&format!("g{n}"), spec);
        object.metadata.uid = Some(format!("uid-{n}"));
        object.metadata.generation = Some(1);
        let status = crate::crd::FdiTaskGroupStatus { observed_generation: 1, ..Default::default() }.into();
        StoredGroup { object: Arc::new(object.into()), status, unreported_since: None, predates: false }
    });
    let instance = (Arc::new(FdiInstance::new("roma", FdiInstanceSpec::default())), FdiInstanceStatus::default());
    resolve(Snapshot { instance: Some(instance), groups: groups.collect() }, &Selections::default())
}

fn listed(states: &[Option<bool>]) -> Vec<Task> {
    let task = |(n, state): (usize, &Option<bool>)| {
        let state = if (*state)? { RunState::Running } else { RunState::Stopped };
        Some(Task {
            id: id(n),
            name: "".into(),
            state: Some(state),
            last_run: LastRun::Unknown,
            type_: None,
            attributes: None,
        })
    };
    states.iter().enumerate().filter_map(task).collect()
}

fn observed_now(tasks: Vec<Task>) -> Observed {
    Observed {
        instance: Some(String::new()),
        credential: None,
        list: Some(Ok(TaskList::new(now(), Tasks::new(Attributes::Omit, tasks)))),
    }
}

fn planned(desired: &Desired, tasks: Vec<Task>) -> Plan {
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    let desired = state.sync(desired.clone(), now());
    let desired = state.record_list(desired, observed_now(tasks), now());
    plan(&desired, &state, now())
}

proptest! {
    #[test]
    fn a_plan_names_exactly_the_tasks_that_need_a_call_once_each_in_the_fewest_batches(
        groups in prop::collection::vec(group(), 0..8), states in observed()
    ) {
        let desired = desired_of(&groups);
        let plan = planned(&desired, listed(&states));
        let mut called = BTreeMap::new();
        for call in plan.calls() {
            prop_assert!((1..=10).contains(&call.ids().len()));
            for id in call.ids() {
                prop_assert_eq!(called.insert(id.clone(), call.action()), None, "{} is named twice", id);
            }
        }
        let mut needed = BTreeMap::new();
        for (group, id) in desired.owned().filter(|(group, _)| !group.suspended) {
            let n: usize = id.as_str()[1..].parse().unwrap();
            if states[n].is_some_and(|running| running != (group.run_state == RunState::Running)) {
                needed.insert(id.clone(), group.run_state.action());
            }
        }
        let count = |action| needed.values().filter(|&&a| a == action).count();
        let fewest = count(Action::Start).div_ceil(10) + count(Action::Stop).div_ceil(10);
        prop_assert_eq!(plan.calls().len(), fewest);
        prop_assert_eq!(called, needed);
        prop_assert_eq!(plan.linger_until(), None);
    }

    #[test]
    fn when_a_plan_has_been_carried_out_nothing_is_left_to_do(
        groups in prop::collection::vec(group(), 0..8), mut states in observed()
    ) {
        let desired = desired_of(&groups);
        for call in planned(&desired, listed(&states)).calls() {
            for id in call.ids() {
                states[id.as_str()[1..].parse::<usize>().unwrap()] = Some(call.action() == Action::Start);
            }
        }
        prop_assert_eq!(planned(&desired, listed(&states)).calls().len(), 0);
    }

    #[test]
    fn the_order_of_lists_and_observations_makes_no_difference(
        groups in prop::collection::vec(group(), 0..8), states in observed()
    ) {
        let backwards: Vec<Group> =
            groups.iter().map(|g| Group { tasks: g.tasks.iter().rev().copied().collect(), ..g.clone() }).collect();
        let mut tasks = listed(&states);
        let plan = planned(&desired_of(&groups), tasks.clone());
        tasks.reverse();
        prop_assert_eq!(planned(&desired_of(&backwards), tasks), plan);
    }

    #[test]
    fn stops_come_before_starts_and_ids_are_in_order_but_for_every_third_call(
        groups in prop::collection::vec(group(), 0..8), states in observed()
    ) {
        let plan = planned(&desired_of(&groups), listed(&states));
        let usual: Vec<_> = plan.calls().iter().enumerate().filter(|(n, _)| n % 3 != 2).map(|(_, call)| call).collect();
        let keys: Vec<_> = usual.iter().map(|call| (call.action(), call.ids()[0].clone())).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        prop_assert_eq!(keys, sorted);
    }
}

#[test]
fn every_third_call_goes_to_what_has_waited_longest() {
    // Eleven tasks that drifted a while ago, then a flood of edits.
    let mut groups = vec![Group { tasks: vec![59], running: true, suspended: false }];
    groups.push(Group { tasks: (0..50).collect(), running: true, suspended: false });
    let old = desired_of(&groups[..1]);
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    let old = state.sync(old, now());
    let _ = state.record_list(old, observed_now(listed(&[Some(false); TASKS])), now());
    let later = add(now(), std::time::Duration::from_secs(1));
    let both = state.sync(desired_of(&groups), later);
    let both = state.record_list(both, Observed { instance: Some(String::new()), ..Observed::default() }, later);
    let plan = plan(&both, &state, later);
    let position = plan.calls().iter().position(|call| call.ids().contains(&id(59)));
    assert!(position.is_some_and(|position| position <= 2), "{position:?}");
    let all: BTreeSet<_> = plan.calls().iter().flat_map(Batch::ids).collect();
    assert_eq!(all.len(), 51);
}
