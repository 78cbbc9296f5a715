//! What is decided after a wait is decided from what is true after it.

use std::time::Duration;

use super::service::{id, seconds};
use super::simulation::Simulation;
use crate::crd::{DesiredState, reasons};
use crate::fdi::RunState;
use crate::reconcile::observation::failure::InstanceError;

#[test]
fn an_edit_that_is_taken_back_while_a_list_is_in_flight_stops_nothing() {
    let mut sim = Simulation::new(9);
    sim.group("a", DesiredState::Running, 1..=9);
    sim.run_for(seconds(30));
    let calls = sim.service.calls.len();
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.during_list = Some(|sim| sim.edit("a", |spec| spec.desired_state = DesiredState::Running));
    sim.run_for(seconds(30));
    assert_eq!(sim.service.calls.len(), calls, "{:?}", sim.service.calls);
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_list_of_an_instance_that_was_replaced_meanwhile_is_not_used() {
    let mut sim = Simulation::new(1);
    sim.service.tasks.insert(id(1), RunState::Running);
    sim.instance.as_mut().unwrap().metadata.uid = Some("first".into());
    sim.group("a", DesiredState::Running, [1]);
    sim.during_list = Some(|sim| sim.instance.as_mut().unwrap().metadata.uid = Some("second".into()));
    sim.problem = None;
    sim.reconcile();
    assert_eq!(sim.reason("a"), reasons::NOT_OBSERVED);
    sim.run_for(seconds(61));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_group_that_is_seen_before_its_instance_does_not_report_that_there_is_none() {
    let mut sim = Simulation::new(1);
    let instance = sim.instance.take();
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(1));
    assert_eq!(sim.reason("a"), reasons::NOT_OBSERVED);
    sim.instance = instance;
    sim.next = sim.now;
    sim.run_for(seconds(1));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    sim.instance = None;
    sim.next = sim.now;
    sim.run_for(Duration::from_millis(10));
    assert_eq!(sim.reason("a"), reasons::INSTANCE_NOT_FOUND, "it was there, so it is gone");
}

#[test]
fn an_instance_that_does_not_exist_is_reported_after_two_seconds() {
    let mut sim = Simulation::new(1);
    sim.instance = None;
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(3));
    assert_eq!(sim.reason("a"), reasons::INSTANCE_NOT_FOUND);
}

#[test]
fn while_no_status_can_be_written_for_minutes_no_further_call_is_sent() {
    let mut sim = Simulation::new(2);
    sim.group("a", DesiredState::Running, 1..=2);
    sim.run_for(seconds(30));
    sim.unreported_since = Some(sim.now);
    sim.run_for(seconds(60));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(5));
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped), "a minute holds nothing up");
    sim.run_for(seconds(300));
    let calls = sim.service.calls.len();
    sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
    sim.run_for(seconds(120));
    assert_eq!(sim.service.calls.len(), calls);
    sim.unreported_since = None;
    sim.run_for(seconds(70));
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Running));
}

#[test]
fn a_reconcile_that_can_do_nothing_is_not_repeated_in_a_loop() {
    let mut sim = Simulation::new(2);
    sim.group("a", DesiredState::Running, 1..=2);
    sim.run_for(seconds(30));
    for problem in [None, Some(InstanceError::SecretNotFound("the Secret is gone".into()))] {
        sim.problem = problem;
        sim.unreported_since = Some("2025-01-01T00:00:00Z".parse().unwrap());
        sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
        let before = sim.reconciles;
        sim.run_for(seconds(60));
        assert!(sim.reconciles - before <= 20, "{} reconciles in a minute", sim.reconciles - before);
    }
}
