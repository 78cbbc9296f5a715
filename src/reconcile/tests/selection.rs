//! Tasks chosen by name and by selector, over time.

use std::sync::Arc;

use super::restarts::{never_ready_for, slow};
use super::service::{Fault, id, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{
    ConditionStatus, DeletionPolicy, DesiredState, FdiTaskGroupSpec, MaxTasks, TaskSelector, event_reasons,
    failure_codes, reasons,
};
use crate::fdi::{Action, RunState, TaskId};
use crate::reconcile::status::deletion::FinalizerRelease;
use crate::reconcile::timings::Timings;

fn texts(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|&text| text.into()).collect()
}

fn selecting(sim: &mut Simulation, name: &str, state: DesiredState, globs: &[&str]) {
    let selector = TaskSelector { names: texts(globs), ..TaskSelector::default() };
    sim.group(name, state, []).spec.selector = Some(selector.into());
}

fn naming(sim: &mut Simulation, name: &str, state: DesiredState, names: &[&str]) {
    sim.group(name, state, []).spec.task_names = texts(names);
}

fn selector(spec: &mut FdiTaskGroupSpec) -> &mut TaskSelector {
    spec.selector.as_mut().unwrap()
}

fn named(sim: &mut Simulation, n: usize, name: &str) {
    sim.service.names.insert(id(n), name.to_owned());
}

/// Tasks 1 to n with the names orders-1 to orders-n.
fn orders(n: usize) -> Simulation {
    // Lists come at known times.
    let mut sim = Simulation::with(n, Timings { jitter: || 1.0, ..Timings::default() });
    (1..=n).for_each(|n| named(&mut sim, n, &format!("orders-{n}")));
    sim
}

fn started(sim: &Simulation) -> Vec<TaskId> {
    sim.called().into_iter().filter(|(action, _)| *action == Action::Start).map(|(_, id)| id).collect()
}

fn events(sim: &Simulation, reason: &str) -> Vec<String> {
    sim.events.iter().filter(|(event, _)| event == reason).map(|(_, message)| message.clone()).collect()
}

#[test]
fn a_group_starts_what_its_selector_matches_with_the_lists_that_there_are_anyway() {
    let mut sim = orders(25);
    named(&mut sim, 3, "legacy");
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    let status = sim.status("a");
    assert_eq!((status.ready_tasks.as_deref(), status.selection.as_ref().unwrap().matched), (Some("24/24"), 24));
    assert_eq!((sim.service.calls.len(), started(&sim).len()), (3, 24));
    assert!(!started(&sim).contains(&id(3)));
    let mut by_id = Simulation::with(25, Timings { jitter: || 1.0, ..Timings::default() });
    by_id.group("a", DesiredState::Running, (1..=25).filter(|n| *n != 3));
    by_id.run_for(seconds(30));
    assert_eq!((sim.service.lists, sim.writes), (by_id.service.lists, by_id.writes), "as with IDs");
    let chosen = events(&sim, event_reasons::SELECTION_CHANGED);
    assert_eq!(chosen, ["24 tasks chosen: orders-1, orders-2, orders-4, orders-5, orders-6 and 19 more"]);
    let (writes, reconciles) = (sim.writes, sim.reconciles);
    sim.run_for(seconds(600));
    assert_eq!((sim.writes, sim.service.calls.len()), (writes, 3), "nothing changed");
    assert!(sim.reconciles <= reconciles + 11);
}

#[test]
fn a_poll_that_finds_everything_as_it_was_compares_no_selection() {
    let mut sim = orders(25);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(300));
    let (reconciles, decided) = (sim.reconciles, sim.decided);
    sim.run_for(seconds(3600));
    assert!(sim.reconciles - reconciles >= 54, "it polls");
    assert!(sim.decided - decided <= 6, "{} times in an hour", sim.decided - decided);
    named(&mut sim, 3, "archive-3");
    sim.run_for(seconds(130));
    assert_eq!(sim.status("a").selection.unwrap().matched, 24, "and sees another name");
}

#[test]
fn a_task_that_comes_is_started_and_one_that_is_renamed_is_left_alone_after_two_lists() {
    let mut sim = orders(3);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(70));
    sim.service.tasks.insert(id(4), RunState::Stopped);
    named(&mut sim, 4, "orders-4");
    sim.run_for(seconds(60));
    assert_eq!(sim.status("a").ready_tasks.as_deref(), Some("4/4"));
    assert_eq!(
        events(&sim, event_reasons::SELECTION_CHANGED)[1],
        "1 task chosen in addition: orders-4; 4 tasks in all"
    );
    named(&mut sim, 2, "archive-2");
    sim.run_for(seconds(60));
    assert_eq!(sim.status("a").selection.unwrap().matched, 4, "one list may lag behind");
    sim.run_for(seconds(60));
    let status = sim.status("a");
    assert_eq!((status.selection.unwrap().matched, status.ready_tasks.as_deref()), (3, Some("3/3")));
    assert_eq!(events(&sim, event_reasons::SELECTION_CHANGED)[2], "1 task chosen no longer: archive-2; 3 tasks in all");
    sim.service.tasks.insert(id(2), RunState::Stopped);
    let calls = sim.service.calls.len();
    sim.run_for(seconds(300));
    assert_eq!(sim.service.calls.len(), calls, "it is nobody's");
}

#[test]
fn a_name_stands_for_the_task_that_has_it_and_one_made_anew_takes_its_place() {
    let mut sim = orders(2);
    naming(&mut sim, "a", DesiredState::Running, &["orders-1", "orders-2"]);
    sim.run_for(seconds(30));
    assert_eq!(sim.status("a").ready_tasks.as_deref(), Some("2/2"));
    sim.service.tasks.remove(&id(1));
    sim.service.tasks.insert(id(9), RunState::Stopped);
    named(&mut sim, 9, "orders-1");
    sim.run_for(seconds(130));
    let status = sim.status("a");
    assert_eq!(status.ready_tasks.as_deref(), Some("2/2"), "{status:?}");
    assert_eq!(sim.service.tasks[&id(9)], RunState::Running);
}

#[test]
fn a_name_that_no_task_has_is_pending_then_failed_and_is_found_when_the_task_comes() {
    let mut sim = orders(1);
    naming(&mut sim, "a", DesiredState::Running, &["orders-1", "orders-7"]);
    sim.run_for(seconds(30));
    let status = sim.status("a");
    assert_eq!((status.tasks.unwrap().pending, status.pending.len()), (1, 1));
    assert_eq!((status.pending[0].task_id.as_str(), status.pending[0].task_name.as_str()), ("", "orders-7"));
    sim.run_for(seconds(180));
    assert_eq!(sim.conditions("a"), (ConditionStatus::False, reasons::TASKS_FAILED.into(), Some("Stalled".into())));
    let failure = sim.status("a").failures.remove(0);
    assert_eq!((failure.task_id.as_str(), failure.task_name.as_str()), ("", "orders-7"));
    assert_eq!(failure.code, failure_codes::TASK_NOT_FOUND);
    assert!(failure.message.contains("taskNames"), "{}", failure.message);
    let writes = sim.writes;
    sim.run_for(seconds(600));
    assert_eq!(sim.writes, writes, "nothing changed");
    sim.service.tasks.insert(id(7), RunState::Stopped);
    named(&mut sim, 7, "orders-7");
    sim.run_for(seconds(70));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn a_name_that_two_tasks_have_fails_with_both_ids_and_neither_is_called() {
    let mut sim = orders(3);
    named(&mut sim, 2, "orders-1");
    naming(&mut sim, "a", DesiredState::Running, &["orders-1", "orders-3"]);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_FAILED);
    let status = sim.status("a");
    assert_eq!(status.failures[0].code, failure_codes::TASK_NAME_AMBIGUOUS);
    assert!(status.failures[0].message.contains("task-0001, task-0002"), "{}", status.failures[0].message);
    assert_eq!((started(&sim), status.ready_tasks.as_deref()), (vec![id(3)], Some("1/2")));
    // It was unambiguous, and is so no longer: the task it stood for is left alone at once.
    named(&mut sim, 1, "orders-3");
    sim.service.tasks.insert(id(3), RunState::Stopped);
    sim.run_for(seconds(200));
    assert_eq!((sim.service.tasks[&id(3)], sim.status("a").tasks.unwrap().failed), (RunState::Stopped, 1));
}

#[test]
fn all_stopped_except_those_is_two_groups_without_a_conflict() {
    let mut sim = orders(6);
    sim.service.tasks.values_mut().for_each(|state| *state = RunState::Running);
    selecting(&mut sim, "all", DesiredState::Stopped, &["*"]);
    sim.run_for(seconds(1));
    naming(&mut sim, "those", DesiredState::Running, &["orders-2", "orders-5"]);
    sim.run_for(seconds(120));
    for name in ["all", "those"] {
        assert_eq!(sim.reason(name), reasons::TASKS_IN_DESIRED_STATE, "{name}: {:?}", sim.status(name));
    }
    let selection = sim.status("all").selection.unwrap();
    assert_eq!((selection.matched, selection.overridden), (6, 2));
    let running: Vec<_> = sim.service.tasks.iter().filter(|(_, state)| **state == RunState::Running).collect();
    assert_eq!(running.len(), 2);
    let message = sim.status("all").conditions[0].message.clone();
    assert!(message.contains("2 selected tasks belong to other groups"), "{message}");
}

#[test]
fn a_selector_that_matches_too_much_stops_at_nothing_but_says_so() {
    let mut sim = orders(12);
    selecting(&mut sim, "a", DesiredState::Running, &["*"]);
    sim.edit("a", |spec| selector(spec).max_tasks = MaxTasks(10));
    sim.run_for(seconds(60));
    let stalled = (ConditionStatus::False, reasons::SELECTION_TOO_LARGE.to_owned(), Some("Stalled".to_owned()));
    assert_eq!((sim.conditions("a"), sim.service.calls.len()), (stalled, 0));
    assert_eq!(sim.status("a").selection.unwrap().matched, 12);
    sim.edit("a", |spec| selector(spec).max_tasks = MaxTasks(12));
    sim.run_for(seconds(5));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the list at hand serves");
}

#[test]
fn a_selector_that_matches_nothing_waits_two_minutes_and_then_needs_somebody() {
    let mut sim = orders(2);
    selecting(&mut sim, "a", DesiredState::Running, &["x*"]);
    sim.run_for(seconds(60));
    let row = |beside: &str| (ConditionStatus::False, reasons::NO_TASKS_SELECTED.to_owned(), Some(beside.to_owned()));
    assert_eq!(sim.conditions("a"), row("Reconciling"));
    sim.run_for(seconds(70));
    assert_eq!(sim.conditions("a"), row("Stalled"));
    let writes = sim.writes;
    sim.restart();
    sim.run_for(seconds(600));
    assert_eq!((sim.conditions("a"), sim.writes), (row("Stalled"), writes), "a restart changes nothing");
    named(&mut sim, 1, "x1");
    sim.run_for(seconds(70));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn failed_lists_change_no_selection() {
    let mut sim = orders(4);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(30));
    (0..6).for_each(|_| sim.service.list_faults.push_back(unavailable()));
    sim.run_for(seconds(100));
    assert_eq!(sim.status("a").selection.unwrap().matched, 4);
    assert_eq!(events(&sim, event_reasons::SELECTION_CHANGED).len(), 1);
}

#[test]
fn a_first_list_after_a_restart_that_shows_less_makes_nothing_ready() {
    let mut sim = orders(5);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    sim.restart();
    let hidden = sim.service.tasks.remove(&id(2)).unwrap();
    sim.service.history.clear();
    sim.reconcile();
    assert_eq!(sim.reason("a"), reasons::PROGRESSING, "{:?}", sim.status("a"));
    assert_eq!(sim.status("a").selection.unwrap().matched, 5, "as reported before");
    sim.service.tasks.insert(id(2), hidden);
    sim.run_for(seconds(30));
    let status = sim.status("a");
    assert_eq!((status.ready_tasks.as_deref(), status.selection.unwrap().matched), (Some("5/5"), 5));
    assert_eq!(events(&sim, event_reasons::SELECTION_CHANGED).len(), 1, "nothing changed");
}

#[test]
fn attempts_and_opposing_calls_of_selected_tasks_survive_a_restart() {
    let mut sim = orders(3);
    slow(&mut sim, 3, seconds(45));
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(2));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.run_for(seconds(1));
    assert!(sim.status("a").opposing_call_time.is_some(), "{:?}", sim.status("a"));
    sim.restart();
    // Lists fail at first, so it is not known for a while which tasks these are.
    (0..3).for_each(|_| sim.service.list_faults.push_back(unavailable()));
    never_ready_for(&mut sim, "a", seconds(41));
    sim.run_for(seconds(400));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn an_edit_that_flips_a_selection_while_nothing_was_listed_waits_for_the_opposing_call() {
    let mut sim = orders(2);
    slow(&mut sim, 2, seconds(60));
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(2));
    sim.restart();
    (0..2).for_each(|_| sim.service.list_faults.push_back(unavailable()));
    sim.run_for(seconds(1));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    never_ready_for(&mut sim, "a", seconds(55));
    sim.run_for(seconds(400));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn a_deletion_stops_what_the_selector_chooses_also_after_a_restart_without_a_list() {
    let mut sim = orders(4);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.edit("a", |spec| spec.deletion_policy = DeletionPolicy::Stop);
    sim.run_for(seconds(30));
    sim.restart();
    (0..2).for_each(|_| sim.service.list_faults.push_back(unavailable()));
    sim.delete("a");
    sim.reconcile();
    assert_eq!(sim.released, [], "it is not known yet what is to be stopped");
    sim.run_for(seconds(60));
    assert_eq!(sim.released, [("a".to_owned(), FinalizerRelease::Completed)]);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn a_deletion_whose_selector_matches_too_much_is_given_up_at_its_deadline_and_says_why() {
    let mut sim = orders(4);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.edit("a", |spec| spec.deletion_policy = DeletionPolicy::Stop);
    sim.run_for(seconds(30));
    sim.edit("a", |spec| selector(spec).max_tasks = MaxTasks(3));
    sim.delete("a");
    sim.run_for(seconds(60));
    let message = sim.status("a").conditions[0].message.clone();
    assert!(message.contains("spec.selector matches 4 tasks"), "{message}");
    sim.run_for(seconds(700));
    assert!(matches!(sim.released[..], [(_, FinalizerRelease::Abandoned(_))]), "{:?}", sim.released);
}

#[test]
fn a_group_by_tag_asks_for_a_list_with_tags_at_once() {
    let mut sim = orders(4);
    sim.group("ids", DesiredState::Running, 1..=1);
    sim.run_for(seconds(30));
    sim.service.tags.insert(id(3), "nightly".to_owned());
    sim.group("a", DesiredState::Running, []).spec.selector =
        Some(TaskSelector { tags: texts(&["nightly"]), ..TaskSelector::default() }.into());
    sim.run_for(seconds(5));
    assert_eq!((sim.reason("a"), started(&sim)), (reasons::TASKS_IN_DESIRED_STATE.to_owned(), vec![id(1), id(3)]));
}

#[test]
fn a_selected_task_that_somebody_else_switches_is_corrected() {
    let mut sim = orders(4);
    selecting(&mut sim, "a", DesiredState::Running, &["orders-*"]);
    sim.run_for(seconds(30));
    sim.service.batch_faults.push_back(Fault::Do);
    sim.service.tasks.insert(id(2), RunState::Stopped);
    sim.run_for(seconds(70));
    assert_eq!(sim.service.tasks[&id(2)], RunState::Running);
    assert_eq!(events(&sim, event_reasons::DRIFT_CORRECTED).len(), 1);
}
