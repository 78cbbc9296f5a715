//! Nobody has to guess which of the tasks is pending, or not as desired while nothing is sent.

use std::time::Duration;

use super::service::{Fault, TaskBehavior, error, id, refusing, seconds};
use super::simulation::Simulation;
use crate::crd::{DesiredState, pending_reasons, reasons};
use crate::fdi::{Cause, Class, RunState};

/// ID, action and reason of the pending tasks.
fn pending(sim: &Simulation) -> Vec<(String, String, String)> {
    let status = sim.status("a");
    assert_eq!(status.pending.is_empty(), status.tasks.unwrap_or_default().pending == 0, "{status:?}");
    status.pending.into_iter().map(|task| (task.task_id, task.action, task.reason)).collect()
}

fn deviating(sim: &Simulation) -> Vec<(String, String)> {
    sim.status("a").deviating.into_iter().map(|task| (task.task_id, task.action)).collect()
}

#[test]
fn the_task_that_does_not_settle_is_named_with_its_action_and_since_when() {
    let mut sim = Simulation::new(12);
    let slow = TaskBehavior { settles_after: Some(seconds(90)), refuses: None, poison: None };
    sim.service.behaviors.insert(id(5), slow);
    sim.group("a", DesiredState::Running, 1..=12);
    sim.run_for(seconds(20));
    let settling = ("task-0005".to_owned(), "start".to_owned(), pending_reasons::SETTLING.to_owned());
    let pending_then = vec![settling];
    assert_eq!(pending(&sim), pending_then);
    let (since, writes) = (sim.status("a").pending[0].since.clone(), sim.writes);
    sim.run_for(seconds(60));
    assert_eq!((pending(&sim), &sim.status("a").pending[0].since), (pending_then, &since));
    assert_eq!(sim.writes, writes, "nothing changed");
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(pending(&sim), []);
}

#[test]
fn every_reason_why_a_task_is_pending_has_its_word() {
    let mut sim = Simulation::new(4);
    sim.service.behaviors.insert(id(1), refusing("FDI.3026", false));
    sim.group("a", DesiredState::Running, [1, 9]);
    sim.run_for(seconds(3));
    let word = |task: &str, reason: &str| (task.to_owned(), "start".to_owned(), reason.to_owned());
    assert_eq!(
        pending(&sim),
        [word("task-0001", pending_reasons::RETRY_DUE), word("task-0009", pending_reasons::NOT_LISTED)]
    );
    let mut sim = Simulation::new(1);
    let slow = TaskBehavior { settles_after: Some(seconds(90)), refuses: None, poison: None };
    sim.service.behaviors.insert(id(1), slow);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(1));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(1));
    let stop = |reason: &str| ("task-0001".to_owned(), "stop".to_owned(), reason.to_owned());
    assert_eq!(pending(&sim), [stop(pending_reasons::OPPOSING_CALL)]);
}

#[test]
fn while_calls_cannot_be_sent_the_tasks_that_need_one_are_named_at_most_twenty() {
    let mut sim = Simulation::new(30);
    let forbidden = error(Class::Config, Cause::Forbidden, "APIGW.0302");
    sim.service.batch_faults.extend(vec![Fault::Fail { error: forbidden, applied: 0 }; 100]);
    sim.group("a", DesiredState::Running, 1..=30);
    sim.run_for(seconds(30));
    assert_eq!(pending(&sim).len(), 20);
    assert!(pending(&sim).iter().all(|(_, _, reason)| reason == pending_reasons::CALL_DUE), "{:?}", pending(&sim));
    let (since, writes) = (sim.status("a").pending[7].since.clone(), sim.writes);
    sim.restart();
    sim.run_for(Duration::from_millis(500));
    assert_eq!(sim.status("a").pending[7].since, since, "it survives a restart");
    assert!(sim.writes <= writes + 2);
}

#[test]
fn a_suspended_group_names_what_is_not_as_desired() {
    let mut sim = Simulation::new(12);
    sim.group("a", DesiredState::Running, 1..=12);
    sim.run_for(seconds(10));
    sim.edit("a", |spec| spec.suspend = true);
    sim.run_for(seconds(66));
    assert_eq!(deviating(&sim), []);
    sim.service.tasks.insert(id(4), RunState::Stopped);
    sim.run_for(seconds(66));
    assert_eq!(deviating(&sim), [("task-0004".to_owned(), "start".to_owned())]);
    assert_eq!(sim.status("a").pending, [], "nothing is on its way");
    let (since, writes) = (sim.status("a").deviating[0].since.clone(), sim.writes);
    sim.restart();
    sim.run_for(seconds(700));
    assert_eq!((sim.writes, &sim.status("a").deviating[0].since), (writes, &since));
    sim.edit("a", |spec| spec.suspend = false);
    sim.run_for(seconds(10));
    assert_eq!(deviating(&sim), []);
}
