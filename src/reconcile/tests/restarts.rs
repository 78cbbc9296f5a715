//! What a restart must not forget: calls that may still act against what is desired now.

use std::time::Duration;

use super::service::{Fault, TaskBehavior, error, id, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{ConditionStatus, DesiredState, event_reasons, reasons};
use crate::fdi::{Cause, Class, RunState};
use crate::time::backoff::add;

pub fn slow(sim: &mut Simulation, tasks: usize, settles_after: Duration) {
    for n in 1..=tasks {
        let settles_after = Some(settles_after);
        sim.service.behaviors.insert(id(n), TaskBehavior { settles_after, refuses: None, poison: None });
    }
}

fn stop(sim: &mut Simulation) {
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
}

/// Runs for so long; the group must not be Ready at any moment.
pub fn never_ready_for(sim: &mut Simulation, name: &str, span: Duration) {
    for _ in 0..span.as_secs() {
        sim.run_for(seconds(1));
        assert_ne!(sim.conditions(name).0, ConditionStatus::True, "at {}: {:?}", sim.now, sim.service.tasks);
    }
}

#[test]
fn a_start_that_still_acts_keeps_an_edited_group_from_being_ready_after_a_restart() {
    let mut sim = Simulation::new(10);
    slow(&mut sim, 10, seconds(45));
    sim.group("a", DesiredState::Running, 1..=10);
    sim.run_for(seconds(2));
    stop(&mut sim);
    sim.run_for(seconds(1));
    assert!(sim.status("a").opposing_call_time.is_some(), "{:?}", sim.status("a"));
    sim.restart();
    never_ready_for(&mut sim, "a", seconds(41));
    sim.service.behaviors.clear();
    sim.run_for(seconds(20));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the tasks that started are stopped again");
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
    assert_eq!(sim.status("a").opposing_call_time, None);
}

#[test]
fn a_start_that_still_acts_is_assumed_when_the_edit_came_while_the_operator_was_down() {
    let mut sim = Simulation::new(10);
    slow(&mut sim, 10, seconds(45));
    sim.group("a", DesiredState::Running, 1..=10);
    sim.run_for(seconds(1));
    stop(&mut sim);
    sim.restart();
    never_ready_for(&mut sim, "a", seconds(43));
}

#[test]
fn an_edit_while_the_operator_was_down_that_wants_the_same_state_costs_no_settle_window() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, 1..=2);
    sim.run_for(seconds(30));
    sim.edit("a", |spec| spec.task_ids.push(id(3).as_str().into()));
    sim.restart();
    sim.run_for(seconds(2));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_group_that_was_never_seen_before_costs_no_settle_window_however_often_it_was_edited() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, 1..=3);
    for _ in 0..3 {
        sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
        stop(&mut sim);
    }
    sim.run_for(seconds(1));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_restart_in_mid_convergence_waits_for_nothing() {
    let mut sim = Simulation::new(30);
    sim.group("a", DesiredState::Running, 1..=30);
    sim.service.batch_faults.push_back(unavailable());
    sim.run_for(Duration::from_millis(50));
    sim.restart();
    sim.run_for(seconds(1));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_call_that_the_service_answered_with_an_error_holds_up_an_edit_for_one_list_only() {
    for class in [Class::Split, Class::Config, Class::Throttled, Class::SignIn] {
        let mut sim = Simulation::new(3);
        let error = error(class, Cause::RequestRejected, "FDI.3026");
        sim.service.batch_faults.push_back(Fault::Fail { error, applied: 0 });
        sim.group("a", DesiredState::Running, 1..=3);
        sim.run_for(Duration::from_millis(40));
        assert!(!sim.service.calls.is_empty());
        stop(&mut sim);
        sim.run_for(seconds(15));
        assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "{class:?}");
    }
}

#[test]
fn a_list_older_than_a_throttled_call_does_not_show_that_the_call_did_nothing() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Stopped, 1..=3);
    sim.run_for(seconds(30));
    let throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
    sim.service.batch_faults.push_back(Fault::Fail { error: throttled, applied: 3 });
    sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
    sim.run_for(Duration::from_millis(40));
    stop(&mut sim);
    for _ in 0..100 {
        sim.run_for(Duration::from_millis(100));
        let ready = sim.conditions("a").0 == ConditionStatus::True;
        let stopped = sim.service.tasks.values().all(|state| *state == RunState::Stopped);
        assert!(stopped || !ready, "Ready from a list that is older than the call");
    }
    sim.run_for(seconds(10));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

/// The response is lost; the service acts all the same.
fn lost_but_acts(tasks: usize) -> Fault {
    Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "Timeout"), applied: tasks }
}

#[test]
fn a_lost_start_that_no_list_has_shown_yet_holds_up_an_edit_to_the_opposite() {
    let mut sim = Simulation::new(3);
    slow(&mut sim, 3, seconds(45));
    sim.service.batch_faults.extend([lost_but_acts(3)]);
    sim.service.batch_faults.extend(vec![unavailable(); 9]);
    sim.group("a", DesiredState::Running, 1..=3);
    // Several lists have shown that it did nothing so far, and it was repeated.
    sim.run_for(seconds(12));
    stop(&mut sim);
    never_ready_for(&mut sim, "a", seconds(32));
}

#[test]
fn a_lost_start_that_acts_after_an_edit_to_the_opposite_is_not_reported_as_drift() {
    let mut sim = Simulation::new(3);
    slow(&mut sim, 3, seconds(45));
    sim.service.batch_faults.extend([lost_but_acts(3)]);
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(1));
    stop(&mut sim);
    sim.run_for(seconds(200));
    assert_eq!(sim.conditions("a").0, ConditionStatus::True);
    assert!(!sim.events.iter().any(|(reason, _)| reason == event_reasons::DRIFT_CORRECTED), "{:?}", sim.events);
}

#[test]
fn a_refusal_does_not_end_what_an_earlier_lost_call_may_still_do() {
    let mut sim = Simulation::new(3);
    slow(&mut sim, 3, seconds(45));
    let refused = Fault::Fail { error: error(Class::Config, Cause::Forbidden, "APIGW.0302"), applied: 0 };
    sim.service.batch_faults.extend([lost_but_acts(3), refused]);
    sim.group("a", DesiredState::Running, 1..=3);
    while sim.service.calls.len() < 2 {
        sim.run_for(seconds(1));
    }
    stop(&mut sim);
    never_ready_for(&mut sim, "a", seconds(32));
}

#[test]
fn a_start_of_a_predecessor_holds_up_an_edit_that_comes_before_the_first_list() {
    let mut sim = Simulation::new(3);
    slow(&mut sim, 3, seconds(45));
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(1));
    sim.restart();
    sim.service.list_faults.push_back(unavailable());
    sim.reconcile();
    stop(&mut sim);
    never_ready_for(&mut sim, "a", seconds(42));
}

#[test]
fn a_start_of_a_predecessor_holds_up_an_edit_that_comes_before_it_is_repeated() {
    let mut sim = Simulation::new(3);
    slow(&mut sim, 3, seconds(45));
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(1));
    sim.restart();
    let throttled = Fault::Fail { error: error(Class::Throttled, Cause::Throttled, "APIGW.0308"), applied: 0 };
    sim.service.batch_faults.push_back(throttled);
    sim.reconcile();
    stop(&mut sim);
    never_ready_for(&mut sim, "a", seconds(42));
}

#[test]
fn a_stop_for_a_group_that_is_gone_after_a_restart_keeps_the_heir_of_its_task_from_being_ready() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, [1, 2]);
    sim.now = add(sim.now, seconds(1));
    sim.group("b", DesiredState::Running, [2, 3]);
    sim.run_for(seconds(60));
    assert_eq!(sim.status("b").tasks.unwrap().conflicting, 1);
    slow(&mut sim, 3, seconds(45));
    stop(&mut sim);
    sim.run_for(seconds(1));
    sim.delete("a");
    sim.restart();
    never_ready_for(&mut sim, "b", seconds(43));
    sim.service.behaviors.clear();
    sim.run_for(seconds(150));
    assert_eq!(sim.reason("b"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(sim.service.tasks[&id(2)], RunState::Running);
}
