//! The condition table in time: precedence of its rows, and what a change costs in writes.

use super::service::{TaskBehavior, error, id, refusing, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{ConditionStatus, DeletionPolicy, DesiredState, reasons};
use crate::fdi::{Cause, Class, RunState};
use crate::reconcile::observation::failure::InstanceError;

/// Everything is wrong with group `b` at once; then one thing after the other is put right, and
/// each time the next row of the table of `docs/fditaskgroup.md` is what the group says.
#[test]
fn every_row_of_the_table_wins_over_all_that_come_after_it() {
    let mut sim = Simulation::new(5);
    sim.group("a", DesiredState::Running, [1]);
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.service.behaviors.insert(id(3), refusing("FDI.3083", true));
    sim.service.behaviors.insert(id(4), TaskBehavior { settles_after: None, refuses: None, poison: None });
    sim.group("b", DesiredState::Running, 1..=5).spec.deletion_policy = DeletionPolicy::Stop;
    for _ in 0..6 {
        sim.run_for(seconds(66));
        sim.service.tasks.insert(id(2), RunState::Stopped);
    }
    sim.run_for(seconds(66));
    let reconciling = |status, reason: &str| (status, reason.to_owned(), Some("Reconciling".to_owned()));

    // From the bottom of the table upwards: what is added wins over what was there.
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::False, reasons::PROGRESSING));
    let counts = sim.status("b").tasks.unwrap();
    assert_eq!(
        (counts.ready, counts.pending, counts.failed, counts.conflicting),
        (1, 1, 2, 1),
        "a conflict, a contested and a failed task are there too"
    );
    sim.edit("b", |spec| spec.suspend = true);
    sim.reconcile();
    assert_eq!(sim.conditions("b"), (ConditionStatus::False, reasons::SUSPENDED.to_owned(), None));
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.run_for(seconds(240));
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::Unknown, reasons::OBSERVATION_STALE));
    sim.problem = Some(InstanceError::Call(error(Class::Config, Cause::Forbidden, "APIGW.0302")));
    sim.run_for(seconds(700));
    assert_eq!(
        sim.conditions("b"),
        (ConditionStatus::Unknown, reasons::FORBIDDEN.to_owned(), Some("Stalled".to_owned()))
    );
    sim.problem = Some(InstanceError::SecretNotFound("the Secret is gone".into()));
    sim.run_for(seconds(60));
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::Unknown, reasons::SECRET_NOT_FOUND));
    sim.edit("b", |spec| spec.suspend = false);
    sim.delete("b");
    sim.reconcile();
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::False, reasons::DELETING));
}

#[test]
fn the_lower_rows_appear_one_after_the_other_as_causes_go() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, [1]);
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.service.behaviors.insert(id(3), refusing("FDI.3083", true));
    sim.group("b", DesiredState::Running, 1..=3);
    for _ in 0..6 {
        sim.run_for(seconds(66));
        sim.service.tasks.insert(id(2), RunState::Stopped);
    }
    sim.run_for(seconds(66));
    assert_eq!(sim.reason("b"), reasons::TASKS_CONFLICT);
    sim.delete("a");
    sim.run_for(seconds(5));
    assert_eq!(sim.reason("b"), reasons::TASKS_CONTESTED);
    sim.run_for(seconds(11 * 60));
    assert_eq!(sim.reason("b"), reasons::TASKS_FAILED);
    sim.service.behaviors.clear();
    sim.request("b", "cured");
    sim.run_for(seconds(5));
    assert_eq!(sim.conditions("b"), (ConditionStatus::True, reasons::TASKS_IN_DESIRED_STATE.to_owned(), None));
}

#[test]
fn a_change_of_fact_costs_two_status_writes_at_most() {
    let mut sim = Simulation::new(20);
    let writes = |sim: &mut Simulation, span| {
        let before = sim.writes;
        sim.run_for(span);
        sim.writes - before
    };
    sim.group("a", DesiredState::Running, 1..=20);
    // The spec, the outcomes, the observation; and the instance's first look and its count of
    // groups.
    let instance = 2;
    assert!(writes(&mut sim, seconds(30)) <= 2 * 2 + instance);
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    assert!(writes(&mut sim, seconds(30)) <= 2 * 2 + 1);
    sim.service.tasks.insert(id(1), RunState::Running);
    assert!(writes(&mut sim, seconds(90)) <= 2 * 2 + 2);
    sim.service.behaviors.insert(id(1), refusing("FDI.3083", true));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
    assert!(writes(&mut sim, seconds(30)) <= 2 * 3 + 1);
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    assert!(writes(&mut sim, seconds(60 * 60)) <= 2 + 2, "an outage: once on the instance, once on the group");
}

#[test]
fn groups_that_list_more_than_an_instance_can_have_cost_nothing_and_say_so() {
    let mut sim = Simulation::new(5);
    for n in 0..20 {
        sim.group(&format!("g{n:02}"), DesiredState::Running, n * 1000..(n + 1) * 1000);
        sim.now += jiff::SignedDuration::from_secs(1);
    }
    sim.group("one-too-many", DesiredState::Running, [3]);
    sim.run_for(seconds(10));
    assert_eq!(
        sim.conditions("one-too-many"),
        (ConditionStatus::False, reasons::TOO_MANY_TASKS.to_owned(), Some("Stalled".to_owned()))
    );
    let counts = sim.status("one-too-many").tasks.unwrap();
    assert_eq!((counts.total, counts.failed, counts.pending), (1, 1, 0));
    assert_eq!(sim.reason("g00"), reasons::PROGRESSING, "older groups go on");
    // Room made is used.
    sim.edit("g19", |spec| spec.task_ids.truncate(10));
    sim.run_for(seconds(10));
    assert_eq!(sim.reason("one-too-many"), reasons::PROGRESSING);
}
