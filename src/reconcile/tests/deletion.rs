//! When a group with `deletionPolicy: Stop` may go.

use super::service::{id, refusing, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{DeletionPolicy, DesiredState};
use crate::fdi::RunState;
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::timings::Timings;

fn stopped_group(tasks: usize) -> Simulation {
    let mut sim = Simulation::new(tasks);
    sim.group("a", DesiredState::Stopped, 1..=tasks).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(30));
    sim
}

/// Somebody starts the tasks in the console.
fn start_by_hand(sim: &mut Simulation, tasks: usize) {
    sim.service.tasks.extend((1..=tasks).map(|n| (id(n), RunState::Running)));
}

#[test]
fn the_finalizer_waits_for_a_list_that_was_requested_after_the_deletion() {
    let mut sim = stopped_group(3);
    for _ in 0..5 {
        sim.service.list_faults.push_back(unavailable());
    }
    start_by_hand(&mut sim, 3);
    sim.delete("a");
    sim.run_for(seconds(10));
    assert_eq!(sim.groups.len(), 1, "an old list says nothing about what somebody started since");
    sim.service.list_faults.clear();
    sim.run_for(seconds(30));
    assert!(sim.groups.is_empty());
    assert_eq!(sim.released, [("a".to_owned(), FinalizerRelease::Completed)]);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn a_young_list_from_before_the_deletion_is_not_enough_either() {
    let mut sim = stopped_group(3);
    sim.request("a", "now");
    sim.reconcile();
    start_by_hand(&mut sim, 3);
    sim.delete("a");
    sim.run_for(seconds(10));
    assert!(sim.groups.is_empty());
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped), "{:?}", sim.service.tasks);
}

#[test]
fn one_list_that_leaves_the_tasks_out_does_not_end_a_deletion() {
    let mut sim = stopped_group(2);
    start_by_hand(&mut sim, 2);
    let tasks = std::mem::take(&mut sim.service.tasks);
    sim.delete("a");
    sim.reconcile();
    assert_eq!(sim.groups.len(), 1);
    sim.service.tasks = tasks;
    sim.run_for(seconds(30));
    assert!(sim.groups.is_empty());
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped), "{:?}", sim.service.tasks);
}

#[test]
fn tasks_that_two_lists_after_the_deletion_do_not_show_need_no_stop() {
    let mut sim = stopped_group(2);
    sim.service.tasks.clear();
    sim.delete("a");
    sim.run_for(seconds(5));
    assert!(sim.groups.is_empty());
    assert!(sim.service.calls.is_empty());
}

#[test]
fn a_deletion_is_given_up_at_its_deadline_while_a_retry_is_due_only_together_with_others() {
    let mut sim = Simulation::with(3, Timings { jitter: || 1.05, ..Timings::default() });
    sim.group("a", DesiredState::Running, 1..=3).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(60));
    for n in 1..=3 {
        sim.service.behaviors.insert(id(n), refusing("FDI.3083", true));
    }
    sim.delete("a");
    let before = sim.reconciles;
    sim.run_for(seconds(605));
    assert!(matches!(sim.released[..], [(_, FinalizerRelease::Abandoned(_))]), "{:?}", sim.released);
    assert!(sim.reconciles - before < 30, "{} reconciles", sim.reconciles - before);
}

#[test]
fn names_without_a_task_do_not_stand_for_tasks_that_are_still_to_be_stopped() {
    let mut sim = Simulation::new(2);
    let group = sim.group("a", DesiredState::Running, 1..=2);
    group.spec.deletion_policy = DeletionPolicy::Stop;
    group.spec.task_names = ["x", "y", "z"].map(Into::into).into();
    sim.run_for(seconds(300));
    sim.service.batch_faults.push_back(unavailable());
    sim.delete("a");
    sim.run_for(seconds(1));
    assert_eq!(sim.groups.len(), 1, "two tasks run, whatever three names stand for");
    let message = sim.status("a").conditions[0].message.clone();
    assert!(message.contains("0 of 2 stopped"), "{message}");
    sim.run_for(seconds(60));
    assert_eq!(sim.released, [("a".to_owned(), FinalizerRelease::Completed)]);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped), "{:?}", sim.service.tasks);
}

#[test]
fn a_task_that_does_not_exist_does_not_hold_a_deletion_beyond_its_deadline() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, 1..=3).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(60));
    sim.service.tasks.remove(&id(1));
    for n in 2..=3 {
        sim.service.behaviors.insert(id(n), refusing("FDI.3083", true));
    }
    sim.delete("a");
    sim.run_for(seconds(605));
    let [(_, FinalizerRelease::Abandoned(why))] = &sim.released[..] else { panic!("{:?}", sim.released) };
    assert!(why.starts_with("2 tasks were not observed stopped"), "{why}");
}
