//! The engine over time: convergence, failure, drift, ownership, deletion, restarts.

use std::time::Duration;

use super::service::{Fault, TaskBehavior, error, id, refusing, seconds, unavailable};
use super::simulation::Simulation;
use crate::crd::{ConditionStatus, DeletionPolicy, DesiredState, event_reasons, failure_codes, reasons};
use crate::fdi::{Action, Cause, Class, RunState};
use crate::reconcile::observation::failure::InstanceError;
use crate::reconcile::status::deletion::FinalizerRelease;

fn minutes(n: u64) -> Duration {
    seconds(60 * n)
}

fn poisonous(class: Class, code: &str) -> TaskBehavior {
    TaskBehavior {
        settles_after: Some(Duration::ZERO),
        refuses: None,
        poison: Some(error(class, Cause::BatchRefused, code)),
    }
}

fn ready(reason: &str) -> (ConditionStatus, String, Option<String>) {
    (ConditionStatus::True, reason.into(), None)
}

#[test]
fn twenty_five_tasks_in_two_groups_take_three_calls_and_then_there_is_silence() {
    let mut sim = Simulation::new(25);
    sim.group("a", DesiredState::Running, 1..=13);
    sim.group("b", DesiredState::Running, 14..=25);
    sim.run_for(seconds(3));
    assert_eq!(sim.service.calls.len(), 3);
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(sim.status("b").ready_tasks.as_deref(), Some("12/12"));
    let (writes, lists) = (sim.writes, sim.service.lists);
    sim.run_for(minutes(60));
    assert_eq!((sim.service.calls.len(), sim.writes), (3, writes), "idle: no call, no write");
    assert!((54..=67).contains(&(sim.service.lists - lists)), "{} looks in an hour", sim.service.lists - lists);
}

#[test]
fn a_poll_that_finds_everything_as_it_was_decides_nothing_anew() {
    let mut sim = Simulation::new(25);
    sim.group("a", DesiredState::Running, 1..=13);
    sim.group("b", DesiredState::Running, 14..=25);
    // The history of the calls is kept up to date for a minute.
    sim.run_for(minutes(5));
    let (reconciles, decided) = (sim.reconciles, sim.decided);
    sim.run_for(minutes(60));
    assert!(sim.reconciles - reconciles >= 54, "it polls");
    assert!(sim.decided - decided <= 6, "{} times in an hour", sim.decided - decided);
    sim.service.tasks.insert(id(1), RunState::Stopped);
    sim.run_for(seconds(70));
    assert_eq!(sim.called().len(), 25);
    assert_eq!(sim.service.calls.len(), 4, "and sees a drift with the next poll");
}

#[test]
fn a_new_generation_is_acknowledged_before_its_calls_are_sent() {
    let mut sim = Simulation::new(3);
    sim.group("a", DesiredState::Running, 1..=3);
    sim.reconcile();
    assert_eq!(sim.service.calls.len(), 0);
    assert_eq!(sim.status("a").observed_generation, 1);
    assert_eq!(sim.reason("a"), reasons::PROGRESSING);
    sim.run_for(seconds(1));
    assert_eq!(sim.service.calls.len(), 1);
}

#[test]
fn an_edit_is_called_for_in_the_reconcile_that_sees_it_and_acknowledged_beside() {
    let mut sim = Simulation::new(10);
    sim.group("a", DesiredState::Running, 1..=10);
    sim.run_for(minutes(5));
    let (calls, writes) = (sim.service.calls.len(), sim.writes);
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    sim.request("a", "now");
    sim.reconcile();
    assert_eq!((sim.service.calls.len() - calls, sim.writes - writes), (1, 1), "called, and acknowledged with that");
    assert_eq!((sim.status("a").observed_generation, sim.reason("a")), (2, reasons::PROGRESSING.into()));
    assert_eq!(sim.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
}

#[test]
fn an_edit_while_calls_cannot_be_sent_is_not_reported_as_under_way() {
    let mut sim = Simulation::new(10);
    sim.group("a", DesiredState::Running, 1..=10);
    sim.run_for(minutes(5));
    sim.problem = Some(InstanceError::SecretNotFound("the Secret is gone".into()));
    sim.run_for(minutes(5));
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    let writes = sim.writes;
    sim.reconcile();
    assert_eq!((sim.writes - writes, sim.reason("a")), (1, reasons::SECRET_NOT_FOUND.into()));
}

#[test]
fn groups_applied_one_after_the_other_share_calls() {
    let mut sim = Simulation::new(994);
    for n in 0..142 {
        sim.group(&format!("g{n:03}"), DesiredState::Running, 7 * n + 1..=7 * n + 7);
        sim.run_for(Duration::from_millis(20));
    }
    sim.run_for(seconds(10));
    assert!(sim.service.calls.len() <= 105, "{} calls", sim.service.calls.len());
    assert_eq!(sim.reason("g141"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn an_edit_that_arrives_while_another_is_acknowledged_shares_its_calls() {
    let mut sim = Simulation::new(25);
    sim.group("a", DesiredState::Running, 1..=13);
    sim.reconcile();
    sim.group("b", DesiredState::Running, 14..=25);
    sim.run_for(Duration::from_millis(100));
    assert_eq!(sim.service.calls.len(), 3, "{:?}", sim.service.calls);
}

#[test]
fn a_task_switched_by_somebody_else_is_put_right_once_with_an_event() {
    let mut sim = Simulation::new(2);
    sim.group("a", DesiredState::Running, 1..=2);
    sim.run_for(seconds(10));
    sim.service.tasks.insert(id(1), RunState::Stopped);
    sim.run_for(seconds(80));
    assert_eq!(sim.service.calls.len(), 2);
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(sim.events.iter().filter(|(reason, _)| reason == event_reasons::DRIFT_CORRECTED).count(), 1);
}

#[test]
fn a_task_fought_over_five_times_in_half_an_hour_is_contested_and_left_for_ten_minutes() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    for _ in 0..8 {
        sim.run_for(seconds(70));
        sim.service.tasks.insert(id(1), RunState::Stopped);
    }
    sim.run_for(seconds(70));
    assert_eq!(sim.conditions("a").1, reasons::TASKS_CONTESTED);
    assert_eq!(sim.service.calls.len(), 5, "the first start and four corrections");
    assert_eq!(sim.status("a").failures[0].code, failure_codes::CONTESTED);
    let writes = sim.writes;
    sim.run_for(minutes(3));
    assert_eq!(sim.writes, writes);
    sim.run_for(minutes(9));
    assert_eq!(sim.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the slow correction is left alone now");
}

#[test]
fn a_lasting_refusal_fails_at_once_and_its_slow_retries_write_nothing() {
    let mut sim = Simulation::new(3);
    sim.service.behaviors.insert(id(2), refusing("FDI.3083", true));
    sim.group("a", DesiredState::Running, 1..=3);
    sim.run_for(seconds(10));
    assert_eq!(sim.conditions("a"), (ConditionStatus::False, reasons::TASKS_FAILED.into(), Some("Stalled".into())));
    let failure = sim.status("a").failures[0].clone();
    assert_eq!((failure.task_id.as_str(), failure.code.as_str(), failure.attempts), ("task-0002", "FDI.3083", 1));
    assert_eq!(failure.task_name, "name of task-0002");
    let (writes, calls) = (sim.writes, sim.service.calls.len());
    sim.run_for(minutes(45));
    assert_eq!(sim.writes, writes);
    assert!((4..=5).contains(&(sim.service.calls.len() - calls)), "every ten minutes");
    sim.service.behaviors.clear();
    sim.run_for(minutes(12));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert!(sim.status("a").failures.is_empty());
}

#[test]
fn a_passing_refusal_is_tried_five_times_with_growing_waits_before_it_stalls() {
    let mut sim = Simulation::new(1);
    sim.service.behaviors.insert(id(1), refusing("FDI.3026", false));
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(60));
    assert_eq!(sim.reason("a"), reasons::PROGRESSING);
    assert!(sim.status("a").failures[0].next_attempt_time.is_some());
    sim.run_for(seconds(60));
    assert_eq!(sim.service.calls.len(), 5);
    assert_eq!(sim.reason("a"), reasons::TASKS_FAILED);
    assert_eq!(sim.status("a").failures[0].attempts, 5);
}

#[test]
fn a_request_clears_the_waits_of_its_group_only_and_is_echoed() {
    let mut sim = Simulation::new(2);
    sim.service.behaviors.insert(id(1), refusing("FDI.3083", true));
    sim.service.behaviors.insert(id(2), refusing("FDI.3083", true));
    sim.group("a", DesiredState::Running, [1]);
    sim.group("b", DesiredState::Running, [2]);
    sim.run_for(seconds(30));
    let calls = sim.service.calls.len();
    sim.request("a", "now");
    sim.run_for(seconds(5));
    let new = &sim.service.calls[calls..];
    assert_eq!(new.iter().map(|(_, _, ids)| ids.clone()).collect::<Vec<_>>(), [vec![id(1)]]);
    assert_eq!(sim.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(sim.status("b").last_handled_reconcile_at, None);
}

#[test]
fn a_request_gets_a_list_of_its_own_however_young_the_last_one_is() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    sim.reconcile();
    sim.service.tasks.insert(id(1), RunState::Stopped);
    sim.now += jiff::SignedDuration::from_millis(100);
    sim.request("a", "now");
    sim.reconcile();
    assert_eq!(sim.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(sim.service.calls.len(), 2, "the drift was seen");
}

#[test]
fn a_task_that_never_settles_is_reported_after_two_minutes_and_gets_no_second_call_meanwhile() {
    let mut sim = Simulation::new(1);
    sim.service.behaviors.insert(id(1), TaskBehavior { settles_after: None, refuses: None, poison: None });
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(119));
    assert_eq!((sim.service.calls.len(), sim.reason("a")), (1, reasons::PROGRESSING.into()));
    sim.run_for(seconds(5));
    assert_eq!(sim.status("a").failures[0].code, failure_codes::NOT_SETTLED);
    sim.run_for(minutes(11));
    assert_eq!(sim.reason("a"), reasons::TASKS_FAILED);
}

#[test]
fn a_lost_stop_then_a_flip_back_is_not_ready_before_the_settle_window_has_passed() {
    let mut sim = Simulation::new(1);
    sim.service.tasks.insert(id(1), RunState::Running);
    sim.group("a", DesiredState::Stopped, [1]);
    sim.service.batch_faults.push_back(unavailable());
    sim.reconcile();
    sim.now += jiff::SignedDuration::from_millis(50);
    sim.reconcile();
    assert_eq!(sim.service.calls.len(), 1, "the stop was sent and its answer lost");
    sim.edit("a", |spec| spec.desired_state = DesiredState::Running);
    sim.run_for(seconds(115));
    assert_eq!(sim.conditions("a").0, ConditionStatus::False, "the list says Running, but the stop may still act");
    assert_eq!(sim.service.calls.len(), 1, "and no contrary call is sent into it");
    sim.run_for(seconds(10));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn a_batch_with_one_poison_task_starts_the_nine_others_in_at_most_nineteen_calls() {
    for class in [Class::Split, Class::SplitOnce] {
        for poisoned in 1..=10 {
            let mut sim = Simulation::new(10);
            for n in 1..=poisoned {
                sim.service.behaviors.insert(id(n), poisonous(class, "FDI.3026"));
            }
            sim.group("a", DesiredState::Running, 1..=10);
            sim.run_for(seconds(4));
            assert!(sim.service.calls.len() <= 19, "{class:?} {poisoned}: {} calls", sim.service.calls.len());
            if class == Class::Split {
                assert_eq!(sim.status("a").tasks.unwrap().ready, i32::try_from(10 - poisoned).unwrap());
            }
        }
    }
}

#[test]
fn a_cause_that_concerns_the_whole_instance_costs_a_handful_of_calls_not_a_thousand() {
    let mut sim = Simulation::new(1000);
    for n in 1..=1000 {
        sim.service.behaviors.insert(id(n), poisonous(Class::SplitOnce, "FDI.3002"));
    }
    sim.group("a", DesiredState::Running, 1..=1000);
    sim.run_for(seconds(4));
    assert!(sim.service.calls.len() <= 4, "{} calls", sim.service.calls.len());
    sim.run_for(seconds(130));
    assert_eq!(sim.conditions("a"), (ConditionStatus::Unknown, "BatchRefused".into(), Some("Stalled".into())));
}

#[test]
fn a_500_on_a_batch_is_observed_and_repeated_without_losing_anything() {
    let mut sim = Simulation::new(20);
    sim.service
        .batch_faults
        .push_back(Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 500"), applied: 4 });
    sim.group("a", DesiredState::Running, 1..=20);
    sim.run_for(seconds(20));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(sim.service.calls.len(), 3, "the lost one, then the sixteen tasks that are still stopped");
}

#[test]
fn one_failed_list_changes_no_group_and_an_outage_is_reported_after_two_minutes() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    let before = sim.status("a");
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.run_for(seconds(120));
    assert_eq!(sim.status("a"), before);
    sim.run_for(seconds(60 + 30));
    assert_eq!(
        sim.conditions("a"),
        (ConditionStatus::Unknown, reasons::OBSERVATION_STALE.into(), Some("Reconciling".into()))
    );
    sim.service.list_faults.clear();
    sim.run_for(seconds(60));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn the_older_group_owns_a_task_and_hands_it_over_once_when_it_goes() {
    let mut sim = Simulation::new(2);
    sim.group("old", DesiredState::Running, [1]);
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.group("new", DesiredState::Stopped, [1, 2]);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("old"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(sim.reason("new"), reasons::PROGRESSING);
    assert_eq!(sim.status("new").tasks.unwrap().conflicting, 1);
    sim.run_for(minutes(2));
    assert_eq!(sim.conditions("new"), (ConditionStatus::False, reasons::TASKS_CONFLICT.into(), Some("Stalled".into())));
    let calls = sim.service.calls.len();
    sim.delete("old");
    sim.run_for(minutes(5));
    assert_eq!(sim.conditions("new"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(sim.service.calls[calls..].iter().map(|(_, a, _)| *a).collect::<Vec<_>>(), [Action::Stop]);
}

#[test]
fn a_suspended_group_sends_nothing_but_still_owns_and_says_what_it_sees() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]).spec.suspend = true;
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.group("b", DesiredState::Running, [1]);
    sim.run_for(minutes(3));
    assert_eq!(sim.conditions("a"), (ConditionStatus::False, reasons::SUSPENDED.into(), None));
    assert_eq!(sim.reason("b"), reasons::TASKS_CONFLICT);
    assert!(sim.service.calls.is_empty());
    sim.service.tasks.insert(id(1), RunState::Running);
    sim.run_for(minutes(2));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn missing_tasks_are_waited_for_then_named_and_ready_when_they_come() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1, 2]);
    sim.run_for(seconds(110));
    assert_eq!(sim.reason("a"), reasons::PROGRESSING);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::TASKS_FAILED);
    assert_eq!(sim.status("a").failures[0].code, failure_codes::TASK_NOT_FOUND);
    assert!(!sim.called().contains(&(Action::Start, id(2))), "no call for a task that the list does not show");
    sim.service.tasks.insert(id(2), RunState::Stopped);
    sim.run_for(seconds(80));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn deletion_with_stop_stops_the_tasks_and_then_removes_the_finalizer() {
    let mut sim = Simulation::new(2);
    sim.service.behaviors.insert(id(2), TaskBehavior { settles_after: Some(seconds(20)), refuses: None, poison: None });
    sim.group("a", DesiredState::Running, [1, 2]).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(60));
    sim.delete("a");
    sim.run_for(seconds(10));
    assert_eq!(sim.conditions("a"), (ConditionStatus::False, reasons::DELETING.into(), Some("Reconciling".into())));
    sim.run_for(seconds(60));
    assert!(sim.groups.is_empty());
    assert_eq!(sim.released, [("a".to_owned(), FinalizerRelease::Completed)]);
    assert!(sim.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn deletion_is_given_up_after_ten_minutes_of_a_dead_service_and_after_half_a_minute_without_a_secret() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(60));
    sim.delete("a");
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.now += jiff::SignedDuration::from_secs(3);
    sim.run_for(seconds(590));
    assert_eq!(sim.groups.len(), 1);
    sim.run_for(seconds(20));
    assert!(matches!(&sim.released[..], [(_, FinalizerRelease::Abandoned(_))]), "{:?}", sim.released);

    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]).spec.deletion_policy = DeletionPolicy::Stop;
    sim.run_for(seconds(60));
    sim.delete("a");
    sim.problem = Some(InstanceError::SecretNotFound("the Secret is gone".into()));
    sim.now += jiff::SignedDuration::from_secs(3);
    sim.run_for(seconds(25));
    assert_eq!(sim.groups.len(), 1);
    sim.run_for(seconds(10));
    assert!(sim.groups.is_empty());
}

#[test]
fn after_a_restart_failures_come_back_from_status_and_are_not_hammered() {
    let mut sim = Simulation::new(2);
    sim.service.behaviors.insert(id(1), refusing("FDI.3083", true));
    sim.service.behaviors.insert(id(2), refusing("FDI.3026", false));
    sim.group("a", DesiredState::Running, [1, 2]);
    sim.run_for(seconds(30));
    let (status, calls) = (sim.status("a"), sim.service.calls.len());
    let attempts = status.failures.iter().find(|f| f.task_id == "task-0002").unwrap().attempts;
    assert!(attempts >= 3);
    sim.restart();
    sim.reconcile();
    assert_eq!(sim.service.calls.len(), calls, "nothing is due yet");
    sim.run_for(seconds(60));
    let later = sim.status("a");
    assert!(later.failures.iter().find(|f| f.task_id == "task-0002").unwrap().attempts > attempts);
    assert!(!sim.service.calls[calls..].iter().any(|(_, _, ids)| ids.contains(&id(1))));
}

#[test]
fn after_a_restart_with_the_service_down_the_old_status_stands_until_it_is_stale() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    let before = sim.status("a");
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.restart();
    sim.run_for(seconds(110));
    assert_eq!(sim.status("a"), before);
    sim.run_for(seconds(30));
    assert_eq!(sim.reason("a"), reasons::OBSERVATION_STALE);
}

#[test]
fn an_edit_during_an_outage_is_never_ready_before_the_tasks_were_seen_as_wanted() {
    let mut sim = Simulation::new(1);
    sim.group("a", DesiredState::Running, [1]);
    sim.run_for(seconds(30));
    for _ in 0..1000 {
        sim.service.list_faults.push_back(unavailable());
    }
    sim.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    for _ in 0..40 {
        sim.run_for(seconds(10));
        assert_ne!(sim.conditions("a").0, ConditionStatus::True);
        assert_eq!(sim.status("a").observed_generation, 2);
    }
    sim.service.list_faults.clear();
    sim.run_for(minutes(2));
    assert_eq!(sim.conditions("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}
