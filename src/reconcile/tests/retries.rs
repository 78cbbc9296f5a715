//! What failures cost: calls, lists and writes.

use std::sync::Arc;
use std::time::Duration;

use super::service::{Fault, TaskBehavior, error, id, refusing, seconds};
use super::simulation::Simulation;
use crate::crd::{ConditionStatus, DesiredState, condition_types, find_condition, reasons};
use crate::fdi::{Action, Batch, Cause, Class};
use crate::reconcile::desired::{Desired, Snapshot, resolve};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::outcome::{CompletedCall, Outcomes};
use crate::reconcile::selection::Selections;
use crate::reconcile::timings::Timings;

fn refuse(sim: &mut Simulation, tasks: usize, code: &str, permanent: bool) {
    for n in 1..=tasks {
        sim.service.behaviors.insert(id(n), refusing(code, permanent));
    }
}

#[test]
fn tasks_that_are_refused_one_by_one_are_tried_again_together() {
    for _ in 0..20 {
        let mut sim = Simulation::new(27);
        refuse(&mut sim, 27, "FDI.3026", false);
        sim.group("a", DesiredState::Running, 1..=27);
        sim.run_for(seconds(110));
        assert_eq!(sim.status("a").tasks.unwrap().failed, 27);
        assert_eq!(sim.service.calls.len(), 15, "three calls for each of five attempts");
        assert!(sim.service.lists <= 10, "{} lists", sim.service.lists);
        assert!(sim.writes <= 2 + 6, "{} writes", sim.writes);
    }
}

#[test]
fn the_slow_retry_of_three_hundred_tasks_costs_thirty_calls_also_after_a_restart() {
    let mut sim = Simulation::new(300);
    refuse(&mut sim, 300, "FDI.3083", true);
    sim.group("a", DesiredState::Running, 1..=300);
    sim.run_for(seconds(60));
    for restart in [false, true] {
        if restart {
            sim.restart();
        }
        let (calls, lists) = (sim.service.calls.len(), sim.service.lists);
        sim.run_for(seconds(661));
        // Of 300 failures the status stores a hundred; the others are tried at once after a
        // restart.
        let most = if restart { 30 + 20 } else { 30 };
        let (calls, lists) = (sim.service.calls.len() - calls, sim.service.lists - lists);
        assert!((30..=most).contains(&calls), "{calls} calls, restart: {restart}");
        assert!(lists <= 20, "{lists} lists, restart: {restart}");
    }
}

#[test]
fn an_outage_of_calls_alone_changes_the_status_once() {
    let mut sim = Simulation::new(27);
    sim.group("a", DesiredState::Running, 1..=27);
    for _ in 0..100 {
        let error = error(Class::Unavailable, Cause::Unavailable, "HTTP 500");
        sim.service.batch_faults.push_back(Fault::Fail { error, applied: 0 });
    }
    sim.run_for(seconds(1));
    let writes = sim.writes;
    let mut transitions = 0;
    let mut synced = ConditionStatus::Unknown;
    for _ in 0..1500 {
        sim.run_for(Duration::from_millis(100));
        let status = sim.status("a");
        let now = find_condition(&status.conditions, condition_types::SYNCED).unwrap().status;
        transitions += usize::from(std::mem::replace(&mut synced, now) != now);
    }
    assert_eq!((transitions, synced), (1, ConditionStatus::False));
    // One write more for the instance, and for each task that is named once it was isolated and
    // failed.
    assert!(sim.writes - writes <= 6, "{} writes", sim.writes - writes);
    assert!(sim.service.calls.len() <= 25, "{} calls", sim.service.calls.len());
    sim.service.batch_faults.clear();
    sim.run_for(seconds(120));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn one_task_that_makes_the_service_fail_is_isolated_and_named_and_the_others_go_on() {
    let mut sim = Simulation::new(27);
    let poison = Some(error(Class::Unavailable, Cause::Unavailable, "HTTP 500"));
    sim.service.behaviors.insert(id(4), TaskBehavior { settles_after: Some(Duration::ZERO), refuses: None, poison });
    sim.group("a", DesiredState::Running, 1..=27);
    sim.run_for(seconds(90));
    let tasks = sim.status("a").tasks.unwrap();
    assert_eq!(tasks.ready, 26, "{tasks:?} after {} calls", sim.service.calls.len());
    sim.run_for(seconds(200));
    assert_eq!(sim.reason("a"), reasons::TASKS_FAILED);
    let failures = sim.status("a").failures;
    assert_eq!((failures.len(), failures[0].task_id.as_str(), failures[0].code.as_str()), (1, "task-0004", "HTTP 500"));
    assert!(sim.service.calls.len() <= 30, "{} calls", sim.service.calls.len());
}

fn nothing_desired() -> Desired {
    resolve(Snapshot::default(), &Selections::default())
}

#[test]
fn calls_that_fail_together_are_one_failure() {
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for class in [Class::Throttled, Class::Unavailable, Class::Config] {
        let mut state = InstanceState::new(Arc::new(Timings::default()));
        let call = |n| CompletedCall {
            batch: Batch::new(Action::Start, vec![id(n)]).unwrap(),
            result: Err(error(class, Cause::Unavailable, "X")),
            ended: now,
        };
        let _ = state.record_calls(&nothing_desired(), Outcomes::new((0..10).map(call).collect(), false));
        let failure = state.observation.call_failure().unwrap();
        let wait = failure.retry_at.duration_since(now).as_secs_f64();
        assert!((4.5..=5.5).contains(&wait), "{class:?}: {wait} s");
        assert!(state.observation.list_failure().is_none(), "no list failed");
    }
}

#[test]
fn of_calls_that_fail_together_the_longest_wait_named_counts() {
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    let call = |wait| {
        let mut throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
        throttled.retry_after = Some(seconds(wait));
        CompletedCall { batch: Batch::new(Action::Start, vec![id(1)]).unwrap(), result: Err(throttled), ended: now }
    };
    let _ = state.record_calls(&nothing_desired(), Outcomes::new([3, 40, 7].map(call).into(), false));
    assert!(state.observation.call_failure().unwrap().retry_at.duration_since(now).as_secs() >= 40);
}

#[test]
fn after_throttled_calls_the_list_at_hand_serves() {
    let mut sim = Simulation::new(27);
    sim.group("a", DesiredState::Running, 1..=27);
    for _ in 0..3 {
        let mut throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
        throttled.retry_after = Some(seconds(3));
        sim.service.batch_faults.push_back(Fault::Fail { error: throttled, applied: 0 });
    }
    sim.run_for(seconds(20));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(sim.service.calls.len(), 6);
    assert!(sim.service.lists <= 3, "{} lists", sim.service.lists);
}

#[test]
fn calls_that_do_not_settle_share_their_lists_however_many_there_are() {
    let mut sim = Simulation::new(100);
    for n in 1..=100 {
        sim.service.behaviors.insert(id(n), TaskBehavior { settles_after: None, refuses: None, poison: None });
    }
    for batch in 0..10 {
        sim.group(&format!("g{batch}"), DesiredState::Running, 10 * batch + 1..=10 * batch + 10);
        sim.run_for(Duration::from_millis(1700));
    }
    let before = sim.service.lists;
    sim.run_for(seconds(90));
    assert_eq!(sim.service.calls.len(), 10);
    assert!(sim.service.lists - before <= 45, "{} lists in 90 seconds", sim.service.lists - before);
}
