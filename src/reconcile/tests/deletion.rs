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
