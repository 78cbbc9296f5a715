//! Tasks that are on and fail their runs are seen, beside Ready, and cost no write while nothing
//! changes.

use super::service::{id, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{Condition, ConditionStatus, DesiredState, condition_types, event_reasons, find_condition, reasons};
use crate::fdi::{LastRun, RunState};

fn runs(sim: &Simulation, name: &str) -> Condition {
    find_condition(&sim.status(name).conditions, condition_types::RUNS_HEALTHY).unwrap().clone()
}

fn verdict(sim: &Simulation, name: &str) -> (ConditionStatus, String) {
    let runs = runs(sim, name);
    (runs.status, runs.reason.into_owned())
}

fn failed(sim: &Simulation, name: &str) -> Vec<String> {
    sim.status(name).failed_runs.iter().map(|run| run.task_id.clone()).collect()
}

fn events(sim: &mut Simulation, reason: &str) -> Vec<String> {
    let all = std::mem::take(&mut sim.events);
    all.into_iter().filter(|(found, _)| found == reason).map(|(_, message)| message).collect()
}

/// A group of running tasks, observed.
fn running(tasks: usize) -> Simulation {
    let mut sim = Simulation::new(tasks);
    sim.group("a", DesiredState::Running, 1..=tasks);
    sim.run_for(seconds(10));
    assert_eq!(verdict(&sim, "a"), (ConditionStatus::True, reasons::RUNS_SUCCEEDING.to_owned()));
    sim
}

#[test]
fn tasks_that_fail_their_runs_are_named_within_one_poll_and_gone_when_cured() {
    let mut sim = running(25);
    for n in [3, 7, 20] {
        sim.service.last_runs.insert(id(n), LastRun::Error);
    }
    sim.run_for(seconds(66));
    assert_eq!(verdict(&sim, "a"), (ConditionStatus::False, reasons::RUNS_FAILED.to_owned()));
    assert!(runs(&sim, "a").message.contains("3 of 25 tasks"), "{}", runs(&sim, "a").message);
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "Ready is about the switch");
    assert_eq!(failed(&sim, "a"), ["task-0003", "task-0007", "task-0020"]);
    assert_eq!(sim.status("a").tasks.unwrap().failing, 3);
    let told = events(&mut sim, event_reasons::RUNS_FAILED);
    assert!(matches!(&told[..], [one] if one.contains("3 tasks") && one.contains("name of task-0007")), "{told:?}");

    let (writes, since) = (sim.writes, sim.status("a").failed_runs[0].since.clone());
    sim.run_for(seconds(700));
    assert_eq!(sim.writes, writes, "over ten polls nothing is written while the set stays the same");

    sim.service.last_runs.insert(id(9), LastRun::Error);
    sim.run_for(seconds(66));
    assert_eq!(failed(&sim, "a"), ["task-0003", "task-0007", "task-0020", "task-0009"], "longest first");
    assert_eq!(sim.status("a").failed_runs[0].since, since);
    assert_eq!(events(&mut sim, event_reasons::RUNS_FAILED).len(), 1);

    sim.service.last_runs.clear();
    sim.run_for(seconds(66));
    assert_eq!(verdict(&sim, "a"), (ConditionStatus::True, reasons::RUNS_SUCCEEDING.to_owned()));
    assert!(failed(&sim, "a").is_empty());
    let told = events(&mut sim, event_reasons::RUNS_RECOVERED);
    assert!(matches!(&told[..], [one] if one.contains("4 tasks")), "{told:?}");
}

#[test]
fn a_scheduled_task_that_fails_each_run_stays_failed_while_the_next_run_goes_on() {
    let mut sim = running(2);
    sim.service.scheduled.insert(id(1));
    for n in [1, 2] {
        sim.service.last_runs.insert(id(n), LastRun::Error);
    }
    sim.run_for(seconds(66));
    let writes = sim.writes;
    for run in [LastRun::Waiting, LastRun::Running, LastRun::Error, LastRun::Unknown, LastRun::Running] {
        sim.service.last_runs.insert(id(1), run);
        sim.run_for(seconds(66));
        assert_eq!(failed(&sim, "a"), ["task-0001", "task-0002"], "{run:?}");
    }
    assert_eq!(sim.writes, writes);
    sim.service.last_runs.insert(id(2), LastRun::Running);
    sim.run_for(seconds(66));
    assert_eq!(failed(&sim, "a"), ["task-0001"], "a real-time task that runs does what it should");
    sim.service.last_runs.insert(id(1), LastRun::Success);
    sim.run_for(seconds(66));
    assert!(failed(&sim, "a").is_empty());
}

#[test]
fn since_when_a_task_fails_survives_a_restart_an_edit_and_an_outage() {
    let mut sim = running(3);
    sim.service.last_runs.insert(id(2), LastRun::Error);
    sim.run_for(seconds(66));
    let since = sim.status("a").failed_runs[0].since.clone();
    let check = |sim: &mut Simulation, what: &str| {
        sim.run_for(seconds(70));
        assert_eq!(sim.status("a").failed_runs[0].since, since, "{what}");
        assert_eq!(verdict(sim, "a").1, reasons::RUNS_FAILED, "{what}");
    };
    sim.events.clear();
    sim.restart();
    check(&mut sim, "a restart");
    sim.edit("a", |spec| spec.task_ids.truncate(2));
    sim.restart();
    check(&mut sim, "an edit while the operator was down");
    sim.service.list_faults.extend(vec![unavailable(); 1000]);
    sim.run_for(seconds(300));
    assert_eq!(verdict(&sim, "a"), (ConditionStatus::Unknown, reasons::OBSERVATION_STALE.to_owned()));
    sim.service.list_faults.clear();
    sim.run_for(seconds(600));
    check(&mut sim, "an outage");
    assert!(events(&mut sim, event_reasons::RUNS_FAILED).is_empty(), "it is no news");
}

#[test]
fn a_task_that_is_off_or_has_not_run_yet_fails_nothing() {
    let mut sim = Simulation::new(2);
    for n in 1..=2 {
        sim.service.last_runs.insert(id(n), LastRun::Unstarted);
    }
    sim.group("a", DesiredState::Stopped, [1]);
    sim.group("b", DesiredState::Running, [2]);
    sim.run_for(seconds(10));
    let no_runs = (ConditionStatus::Unknown, reasons::NO_RUNS_YET.to_owned());
    assert_eq!(verdict(&sim, "b"), no_runs);
    sim.service.last_runs.insert(id(1), LastRun::Error);
    sim.service.last_runs.insert(id(2), LastRun::Error);
    sim.run_for(seconds(66));
    assert_eq!((verdict(&sim, "a"), verdict(&sim, "b").1), (no_runs, reasons::RUNS_FAILED.to_owned()));
    sim.events.clear();
    sim.edit("b", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(10));
    assert_eq!(sim.service.tasks[&id(2)], RunState::Stopped);
    assert_eq!(sim.status("b").tasks.unwrap().failing, 0);
    assert!(events(&mut sim, event_reasons::RUNS_RECOVERED).is_empty(), "it was stopped, not cured");
}

#[test]
fn three_hundred_tasks_that_fail_at_once_are_counted_and_the_first_fifty_are_named() {
    let mut sim = running(300);
    for n in 1..=300 {
        sim.service.last_runs.insert(id(n), LastRun::Error);
    }
    sim.run_for(seconds(66));
    let status = sim.status("a");
    assert_eq!((status.tasks.unwrap().failing, status.failed_runs.len()), (300, 50));
    assert_eq!(events(&mut sim, event_reasons::RUNS_FAILED).len(), 1);
    let writes = sim.writes;
    sim.restart();
    sim.run_for(seconds(700));
    assert_eq!(sim.writes, writes);
}
