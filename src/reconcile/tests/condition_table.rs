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
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::False, reasons::PROGRESSING), "row 6");
    let counts = sim.status("b").tasks.unwrap();
    assert_eq!(
        (counts.ready, counts.pending, counts.failed, counts.conflicting),
        (1, 1, 2, 1),
        "rows 7, 8 and 9 hold too"
    );
    sim.edit("b", |spec| spec.suspend = true);
    sim.reconcile();
    assert_eq!(sim.conditions("b"), (ConditionStatus::False, reasons::SUSPENDED.to_owned(), None), "row 5");
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.run_for(seconds(240));
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::Unknown, reasons::OBSERVATION_STALE), "row 4");
    sim.problem = Some(InstanceError::Call(error(Class::Config, Cause::Forbidden, "APIGW.0302")));
    sim.run_for(seconds(700));
    assert_eq!(
        sim.conditions("b"),
        (ConditionStatus::Unknown, reasons::FORBIDDEN.to_owned(), Some("Stalled".to_owned())),
        "row 3"
    );
    sim.problem = Some(InstanceError::SecretNotFound("the Secret is gone".into()));
    sim.run_for(seconds(60));
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::Unknown, reasons::SECRET_NOT_FOUND), "row 2");
    sim.edit("b", |spec| spec.suspend = false);
    sim.delete("b");
    sim.reconcile();
    assert_eq!(sim.conditions("b"), reconciling(ConditionStatus::False, reasons::DELETING), "row 1");
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
    assert_eq!(sim.reason("b"), reasons::TASKS_CONFLICT, "row 7");
    sim.delete("a");
    sim.run_for(seconds(5));
    assert_eq!(sim.reason("b"), reasons::TASKS_CONTESTED, "row 8");
    sim.run_for(seconds(11 * 60));
    assert_eq!(sim.reason("b"), reasons::TASKS_FAILED, "row 9");
    sim.service.behaviors.clear();
    sim.request("b", "cured");
    sim.run_for(seconds(5));
    assert_eq!(
        sim.conditions("b"),
        (ConditionStatus::True, reasons::TASKS_IN_DESIRED_STATE.to_owned(), None),
        "row 10"
    );
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
