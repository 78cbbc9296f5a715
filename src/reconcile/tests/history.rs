//! What the operator did for a group, and why, is in its status, and costs no write of its own.

use super::service::{id, refusing, seconds};
use super::simulation::Simulation;
use crate::crd::{DeletionPolicy, DesiredState, Trigger};
use crate::fdi::RunState;

/// Trigger, starts, stops, failed and generation of each entry.
fn history(sim: &Simulation) -> Vec<(Trigger, i32, i32, i32, i64)> {
    let history = sim.status("a").history;
    assert!(history.is_sorted_by_key(|entry| std::cmp::Reverse(entry.time.0)), "newest first: {history:?}");
    history.iter().map(|entry| (entry.trigger, entry.starts, entry.stops, entry.failed, entry.generation)).collect()
}

#[test]
fn edits_drift_retries_and_the_deletion_are_told_apart() {
    let mut sim = Simulation::new(25);
    sim.group("a", DesiredState::Running, 1..=25).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(90));
    assert_eq!(history(&sim), [(Trigger::Edit, 25, 0, 0, 1)], "three calls for one cause are one entry");
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(90));
    sim.service.behaviors.insert(id(4), refusing("FDI.3020", false));
    sim.service.tasks.insert(id(4), RunState::Running);
    sim.run_for(seconds(240));
    let told = history(&sim);
    assert_eq!(told.last(), Some(&(Trigger::Edit, 25, 0, 0, 1)));
    assert_eq!(told[told.len() - 2..told.len() - 1], [(Trigger::Edit, 0, 25, 0, 2)]);
    assert_eq!(told[told.len() - 3], (Trigger::Drift, 0, 1, 1, 2));
    assert!(matches!(told[0], (Trigger::Retry, 0, stops, failed, 2) if stops >= 1 && stops == failed), "{told:?}");
    sim.service.behaviors.clear();
    sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
    sim.run_for(seconds(90));
    assert_eq!(history(&sim)[0].0, Trigger::Edit);
    for n in 1..=25 {
        sim.service.behaviors.insert(id(n), refusing("FDI.3020", false));
    }
    sim.delete("a");
    sim.run_for(seconds(3));
    assert_eq!(history(&sim)[0], (Trigger::Deletion, 0, 25, 25, 4));
}

#[test]
fn slow_retries_write_no_status_and_the_history_is_bounded_and_survives_a_restart() {
    let mut sim = Simulation::new(3);
    sim.service.behaviors.insert(id(2), refusing("FDI.3083", true));
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(90));
    let (writes, calls) = (sim.writes, sim.service.calls.len());
    sim.run_for(seconds(3600));
    assert!(sim.service.calls.len() > calls + 3);
    assert_eq!(sim.writes, writes, "a call alone is no reason to write");
    sim.service.behaviors.clear();
    for n in 0..20 {
        let wanted = if n % 2 == 0 { DesiredState::Stopped } else { DesiredState::Running };
        sim.edit("a", |spec| spec.desired_state = wanted);
        sim.run_for(seconds(90));
    }
    assert_eq!(history(&sim).len(), 10);
    let before = history(&sim);
    sim.restart();
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(200));
    let after = history(&sim);
    assert_eq!((after[0].2, &after[1..], after.len()), (3, &before[..9], 10));
}
