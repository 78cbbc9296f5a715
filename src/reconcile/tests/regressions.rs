//! The engine under failure, where exact times or the number of passes matter.

use std::time::Duration;

use super::service::{Fault, TaskBehavior, error, id, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{ConditionStatus, DesiredState, FdiInstance, condition_types, event_reasons, reasons};
use crate::fdi::{Cause, Class, RunState};
use crate::reconcile::observation::failure::InstanceError;

fn lost_call() -> Fault {
    Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "Timeout"), applied: 10 }
}

fn poisonous(code: &str) -> TaskBehavior {
    let poison = error(Class::SplitOnce, Cause::BatchRefused, code);
    TaskBehavior { settles_after: Some(Duration::ZERO), refuses: None, poison: Some(poison) }
}

/// Status of the instance's Synced condition.
fn synced(sim: &Simulation) -> ConditionStatus {
    let status = sim.instance.as_ref().unwrap().status.clone().unwrap();
    status.conditions.iter().find(|c| c.type_ == condition_types::SYNCED).unwrap().status
}

#[test]
fn trouble_with_calls_is_over_once_a_list_shows_that_no_call_is_needed() {
    let mut sim = Simulation::new(3);
    sim.service.batch_faults.push_back(lost_call());
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the lost call had been done");
    assert_eq!(sim.service.calls.len(), 1);
    assert_eq!(synced(&sim), ConditionStatus::True);
    // The next failure, hours later, is the first of its kind again.
    sim.run_for(seconds(4 * 3600));
    sim.service
        .batch_faults
        .push_back(Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 502"), applied: 0 });
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(15));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_task_that_was_deleted_while_its_call_settled_does_not_keep_later_trouble_alive() {
    let mut sim = Simulation::new(2);
    sim.service.behaviors.insert(id(1), TaskBehavior { settles_after: None, refuses: None, poison: None });
    sim.group("a", DesiredState::Running, 1..=2);
    sim.run_for(seconds(10));
    sim.service.tasks.remove(&id(1));
    sim.run_for(seconds(600));
    sim.service.tasks.insert(id(2), RunState::Stopped);
    sim.service.batch_faults.push_back(lost_call());
    sim.run_for(seconds(600));
    assert_eq!(sim.status("a").tasks.unwrap().ready, 1, "the lost call had been done");
    assert_eq!(synced(&sim), ConditionStatus::True);
}

#[test]
fn two_poison_tasks_with_an_unknown_code_do_not_block_the_eight_others_for_ever() {
    let mut sim = Simulation::new(10);
    sim.service.behaviors.insert(id(2), poisonous("FDI.4711"));
    sim.service.behaviors.insert(id(9), poisonous("FDI.4711"));
    sim.group("a", DesiredState::Running, 1..=10);
    sim.run_for(seconds(120));
    let tasks = sim.status("a").tasks.unwrap();
    assert_eq!(tasks.ready, 8, "{tasks:?}");
    assert!(sim.service.calls.len() <= 19 + 8, "{} calls", sim.service.calls.len());
}

#[test]
fn a_poison_task_in_the_first_batch_does_not_block_the_other_batches_after_an_instance_wide_cause() {
    let mut sim = Simulation::new(40);
    for n in 1..=40 {
        sim.service.behaviors.insert(id(n), poisonous("FDI.3002"));
    }
    sim.group("a", DesiredState::Running, 1..=40);
    sim.run_for(seconds(60));
    sim.service.behaviors.retain(|task, _| *task == id(1));
    sim.run_for(seconds(1800));
    assert_eq!(sim.status("a").tasks.unwrap().ready, 39);
}

#[test]
fn switching_a_suspended_groups_tasks_by_hand_is_neither_drift_nor_a_contest() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    sim.instance.as_mut().unwrap().spec.suspend = true;
    for n in 0..14 {
        sim.service.tasks.insert(id(1), if n % 2 == 0 { RunState::Stopped } else { RunState::Running });
        sim.run_for(seconds(90));
    }
    sim.service.tasks.insert(id(1), RunState::Stopped);
    sim.run_for(seconds(90));
    assert_eq!(sim.reason("a"), reasons::SUSPENDED);
    sim.instance.as_mut().unwrap().spec.suspend = false;
    sim.next = sim.now;
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert!(!sim.events.iter().any(|(reason, _)| reason == event_reasons::DRIFT_CORRECTED));
}

#[test]
fn an_instance_recreated_under_its_name_is_not_judged_by_the_list_of_its_predecessor() {
    let mut sim = Simulation::new(1);
    sim.instance.as_mut().unwrap().metadata.uid = Some("first".into());
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    assert_eq!(sim.conditions("a").0, ConditionStatus::True);
    let spec = sim.instance.take().unwrap().spec;
    sim.next = sim.now;
    sim.run_for(seconds(5));
    assert_eq!(sim.reason("a"), reasons::INSTANCE_NOT_FOUND);
    let mut second = FdiInstance::new("roma", spec);
    (second.metadata.uid, second.metadata.generation) = (Some("second".into()), Some(1));
    sim.instance = Some(second);
    sim.problem = Some(InstanceError::Call(error(Class::Unavailable, Cause::Unavailable, "HTTP 502")));
    sim.next = sim.now;
    sim.run_for(seconds(20));
    assert_ne!(sim.conditions("a").0, ConditionStatus::True, "the new instance has not been listed");
    sim.problem = None;
    sim.run_for(seconds(60));
    assert_eq!(sim.conditions("a").0, ConditionStatus::True);
}

#[test]
fn a_list_that_is_due_while_the_last_is_still_fresh_makes_no_hot_loop() {
    let mut sim = Simulation::new(1);
    sim.service.behaviors.insert(id(1), TaskBehavior { settles_after: Some(seconds(20)), refuses: None, poison: None });
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(Duration::from_millis(6_500));
    // Woken by something else just before the look at seven seconds is due.
    sim.next = sim.now;
    let mut reconciles = 0;
    let end = sim.now + jiff::SignedDuration::from_secs(3);
    while sim.now < end {
        sim.now = sim.now.max(sim.next);
        sim.reconcile();
        sim.now += jiff::SignedDuration::from_millis(1);
        reconciles += 1;
    }
    assert!(reconciles <= 8, "{reconciles} reconciles in three seconds");
}

#[test]
fn a_service_that_names_the_time_to_come_back_is_not_asked_sooner() {
    for _ in 0..50 {
        let mut sim = Simulation::new(1);
        let mut throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
        throttled.retry_after = Some(seconds(40));
        sim.service.list_faults.push_back(Fault::Fail { error: throttled, applied: 0 });
        sim.group("a", DesiredState::Running, [1]);
        sim.reconcile();
        assert_eq!(sim.service.lists, 1);
        sim.run_for(Duration::from_millis(39_900));
        assert_eq!(sim.service.lists, 1);
    }
}

#[test]
fn lists_that_fail_after_a_lost_call_make_no_hot_loop() {
    let mut sim = Simulation::new(3);
    sim.service.batch_faults.push_back(lost_call());
    sim.service.behaviors.insert(id(1), TaskBehavior { settles_after: None, refuses: None, poison: None });
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(1));
    let outage = Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 502"), applied: 0 };
    // The look at what the lost call did works; the next ones do not, for longer than the wait for
    // calls.
    sim.now += jiff::SignedDuration::from_secs(5);
    sim.service.list_faults.extend(vec![outage; 4]);
    sim.next = sim.now;
    let (mut reconciles, end) = (0, sim.now + jiff::SignedDuration::from_secs(4));
    while sim.now < end {
        sim.now = sim.now.max(sim.next);
        sim.reconcile();
        sim.now += jiff::SignedDuration::from_millis(1);
        reconciles += 1;
    }
    assert!(reconciles <= 8, "{reconciles} reconciles in four seconds");
}

#[test]
fn a_list_that_fails_after_a_throttled_call_is_requested_again() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, 1..=3);
    let mut throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
    throttled.retry_after = Some(seconds(90));
    sim.service.batch_faults.push_back(Fault::Fail { error: throttled, applied: 0 });
    sim.run_for(seconds(1));
    sim.service.list_faults.push_back(unavailable());
    sim.run_for(seconds(120));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert!(sim.reconciles < 20, "{} reconciles", sim.reconciles);
}
