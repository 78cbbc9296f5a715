//! The engine over time: convergence, trouble, drift, ownership, deletion, restarts.

use std::time::Duration;

use super::LettingGo;
use super::world::{Act, Manner, World, error, id, refusing, seconds, unavailable};
use crate::crd::{ConditionStatus, DeletionPolicy, DesiredState, event_reasons, reasons};
use crate::fdi::{Action, Cause, Class, RunState};
use crate::reconcile::ledger::codes;
use crate::reconcile::observation::Problem;

fn minutes(n: u64) -> Duration {
    seconds(60 * n)
}

fn poisonous(class: Class, code: &str) -> Manner {
    Manner { settles_after: Some(Duration::ZERO), refuses: None, poison: Some(error(class, Cause::BatchRefused, code)) }
}

fn ready(reason: &str) -> (ConditionStatus, String, Option<String>) {
    (ConditionStatus::True, reason.into(), None)
}

#[test]
fn twenty_five_tasks_in_two_groups_take_three_calls_and_then_there_is_silence() {
    let mut world = World::new(25);
    world.group("a", DesiredState::Running, 1..=13);
    world.group("b", DesiredState::Running, 14..=25);
    world.pass_for(seconds(3));
    assert_eq!(world.service.calls.len(), 3);
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(world.status("b").ready_tasks.as_deref(), Some("12/12"));
    let (writes, looks) = (world.writes, world.service.looks);
    world.pass_for(minutes(60));
    assert_eq!((world.service.calls.len(), world.writes), (3, writes), "idle: no call, no write");
    assert!((54..=67).contains(&(world.service.looks - looks)), "{} looks in an hour", world.service.looks - looks);
}

#[test]
fn a_new_generation_is_acknowledged_before_its_calls_are_sent() {
    let mut world = World::new(3);
    world.group("a", DesiredState::Running, 1..=3);
    world.pass();
    assert_eq!(world.service.calls.len(), 0);
    assert_eq!(world.status("a").observed_generation, 1);
    assert_eq!(world.reason("a"), reasons::PROGRESSING);
    world.pass_for(seconds(1));
    assert_eq!(world.service.calls.len(), 1);
}

#[test]
fn an_edit_that_the_last_list_shows_to_need_calls_is_acknowledged_and_called_for_in_one_pass() {
    let mut world = World::new(10);
    world.group("a", DesiredState::Running, 1..=10);
    world.pass_for(minutes(5));
    let (calls, writes) = (world.service.calls.len(), world.writes);
    world.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    world.request("a", "now");
    world.pass();
    assert_eq!((world.service.calls.len() - calls, world.writes - writes), (1, 2), "acknowledged, called, settling");
    assert_eq!((world.status("a").observed_generation, world.reason("a")), (2, reasons::PROGRESSING.into()));
    assert_eq!(world.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
}

#[test]
fn an_edit_while_calls_cannot_be_sent_is_not_told_to_be_on_its_way() {
    let mut world = World::new(10);
    world.group("a", DesiredState::Running, 1..=10);
    world.pass_for(minutes(5));
    world.problem = Some(Problem::SecretNotFound("the Secret is gone".into()));
    world.pass_for(minutes(5));
    world.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    let writes = world.writes;
    world.pass();
    assert_eq!((world.writes - writes, world.reason("a")), (1, reasons::SECRET_NOT_FOUND.into()));
}

#[test]
fn groups_applied_one_after_the_other_share_calls() {
    let mut world = World::new(994);
    for n in 0..142 {
        world.group(&format!("g{n:03}"), DesiredState::Running, 7 * n + 1..=7 * n + 7);
        world.pass_for(Duration::from_millis(20));
    }
    world.pass_for(seconds(10));
    assert!(world.service.calls.len() <= 105, "{} calls", world.service.calls.len());
    assert_eq!(world.reason("g141"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn an_edit_that_arrives_while_another_is_acknowledged_shares_its_calls() {
    let mut world = World::new(25);
    world.group("a", DesiredState::Running, 1..=13);
    world.pass();
    world.group("b", DesiredState::Running, 14..=25);
    world.pass_for(Duration::from_millis(100));
    assert_eq!(world.service.calls.len(), 3, "{:?}", world.service.calls);
}

#[test]
fn a_task_switched_by_somebody_else_is_put_right_once_with_an_event() {
    let mut world = World::new(2);
    world.group("a", DesiredState::Running, 1..=2);
    world.pass_for(seconds(10));
    world.service.tasks.insert(id(1), RunState::Stopped);
    world.pass_for(seconds(80));
    assert_eq!(world.service.calls.len(), 2);
    assert_eq!(world.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(world.notes.iter().filter(|(reason, _)| reason == event_reasons::DRIFT_CORRECTED).count(), 1);
}

#[test]
fn a_task_fought_over_five_times_in_half_an_hour_is_contested_and_left_for_ten_minutes() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    for _ in 0..8 {
        world.pass_for(seconds(70));
        world.service.tasks.insert(id(1), RunState::Stopped);
    }
    world.pass_for(seconds(70));
    assert_eq!(world.says("a").1, reasons::TASKS_CONTESTED);
    assert_eq!(world.service.calls.len(), 5, "the first start and four corrections");
    assert_eq!(world.status("a").failures[0].code, codes::CONTESTED);
    let writes = world.writes;
    world.pass_for(minutes(3));
    assert_eq!(world.writes, writes);
    world.pass_for(minutes(9));
    assert_eq!(world.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the slow correction is left alone now");
}

#[test]
fn a_lasting_refusal_fails_at_once_and_its_slow_retries_write_nothing() {
    let mut world = World::new(3);
    world.service.manners.insert(id(2), refusing("FDI.3083", true));
    world.group("a", DesiredState::Running, 1..=3);
    world.pass_for(seconds(10));
    assert_eq!(world.says("a"), (ConditionStatus::False, reasons::TASKS_FAILED.into(), Some("Stalled".into())));
    let failure = world.status("a").failures[0].clone();
    assert_eq!((failure.task_id.as_str(), failure.code.as_str(), failure.attempts), ("task-0002", "FDI.3083", 1));
    assert_eq!(failure.task_name, "name of task-0002");
    let (writes, calls) = (world.writes, world.service.calls.len());
    world.pass_for(minutes(45));
    assert_eq!(world.writes, writes);
    assert!((4..=5).contains(&(world.service.calls.len() - calls)), "every ten minutes");
    world.service.manners.clear();
    world.pass_for(minutes(12));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert!(world.status("a").failures.is_empty());
}

#[test]
fn a_passing_refusal_is_tried_five_times_with_growing_waits_before_it_stalls() {
    let mut world = World::new(1);
    world.service.manners.insert(id(1), refusing("FDI.3026", false));
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(60));
    assert_eq!(world.reason("a"), reasons::PROGRESSING);
    assert!(world.status("a").failures[0].next_attempt_time.is_some());
    world.pass_for(seconds(60));
    assert_eq!(world.service.calls.len(), 5);
    assert_eq!(world.reason("a"), reasons::TASKS_FAILED);
    assert_eq!(world.status("a").failures[0].attempts, 5);
}

#[test]
fn a_request_clears_the_waits_of_its_group_only_and_is_echoed() {
    let mut world = World::new(2);
    world.service.manners.insert(id(1), refusing("FDI.3083", true));
    world.service.manners.insert(id(2), refusing("FDI.3083", true));
    world.group("a", DesiredState::Running, [1]);
    world.group("b", DesiredState::Running, [2]);
    world.pass_for(seconds(30));
    let calls = world.service.calls.len();
    world.request("a", "now");
    world.pass_for(seconds(5));
    let new = &world.service.calls[calls..];
    assert_eq!(new.iter().map(|(_, _, ids)| ids.clone()).collect::<Vec<_>>(), [vec![id(1)]]);
    assert_eq!(world.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(world.status("b").last_handled_reconcile_at, None);
}

#[test]
fn a_request_is_answered_by_a_look_of_its_own_however_young_the_last_list_is() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    world.pass();
    world.service.tasks.insert(id(1), RunState::Stopped);
    world.now += jiff::SignedDuration::from_millis(100);
    world.request("a", "now");
    world.pass();
    assert_eq!(world.status("a").last_handled_reconcile_at.as_deref(), Some("now"));
    assert_eq!(world.service.calls.len(), 2, "the drift was seen");
}

#[test]
fn a_task_that_never_settles_is_told_so_after_two_minutes_and_not_commanded_twice_meanwhile() {
    let mut world = World::new(1);
    world.service.manners.insert(id(1), Manner { settles_after: None, refuses: None, poison: None });
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(119));
    assert_eq!((world.service.calls.len(), world.reason("a")), (1, reasons::PROGRESSING.into()));
    world.pass_for(seconds(5));
    assert_eq!(world.status("a").failures[0].code, codes::NOT_SETTLED);
    world.pass_for(minutes(11));
    assert_eq!(world.reason("a"), reasons::TASKS_FAILED);
}

#[test]
fn a_lost_stop_then_a_flip_back_is_not_ready_before_the_settle_window_has_passed() {
    let mut world = World::new(1);
    world.service.tasks.insert(id(1), RunState::Running);
    world.group("a", DesiredState::Stopped, [1]);
    world.service.batches.push_back(unavailable());
    world.pass();
    world.now += jiff::SignedDuration::from_millis(50);
    world.pass();
    assert_eq!(world.service.calls.len(), 1, "the stop was sent and its answer lost");
    world.edit("a", |spec| spec.desired_state = DesiredState::Running);
    world.pass_for(seconds(115));
    assert_eq!(world.says("a").0, ConditionStatus::False, "the list says Running, but the stop may still act");
    assert_eq!(world.service.calls.len(), 1, "and no contrary call is sent into it");
    world.pass_for(seconds(10));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn a_batch_with_one_culprit_moves_the_nine_others_in_at_most_nineteen_calls() {
    for class in [Class::Split, Class::SplitOnce] {
        for culprits in 1..=10 {
            let mut world = World::new(10);
            for n in 1..=culprits {
                world.service.manners.insert(id(n), poisonous(class, "FDI.3026"));
            }
            world.group("a", DesiredState::Running, 1..=10);
            world.pass_for(seconds(4));
            assert!(world.service.calls.len() <= 19, "{class:?} {culprits}: {} calls", world.service.calls.len());
            if class == Class::Split {
                assert_eq!(world.status("a").tasks.unwrap().ready, i32::try_from(10 - culprits).unwrap());
            }
        }
    }
}

#[test]
fn a_cause_that_concerns_the_whole_instance_costs_a_handful_of_calls_not_a_thousand() {
    let mut world = World::new(1000);
    for n in 1..=1000 {
        world.service.manners.insert(id(n), poisonous(Class::SplitOnce, "FDI.3002"));
    }
    world.group("a", DesiredState::Running, 1..=1000);
    world.pass_for(seconds(4));
    assert!(world.service.calls.len() <= 4, "{} calls", world.service.calls.len());
    world.pass_for(seconds(130));
    assert_eq!(world.says("a"), (ConditionStatus::Unknown, "BatchRefused".into(), Some("Stalled".into())));
}

#[test]
fn a_500_on_a_batch_is_observed_and_repeated_without_losing_anything() {
    let mut world = World::new(20);
    world
        .service
        .batches
        .push_back(Act::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 500"), applied: 4 });
    world.group("a", DesiredState::Running, 1..=20);
    world.pass_for(seconds(20));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(world.service.calls.len(), 3, "the lost one, then the sixteen tasks that are still stopped");
}

#[test]
fn one_failed_look_changes_no_group_and_an_outage_is_told_after_two_minutes() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    let before = world.status("a");
    for _ in 0..1000 {
        world.service.lists.push_back(unavailable());
    }
    world.pass_for(seconds(120));
    assert_eq!(world.status("a"), before);
    world.pass_for(seconds(60 + 30));
    assert_eq!(
        world.says("a"),
        (ConditionStatus::Unknown, reasons::OBSERVATION_STALE.into(), Some("Reconciling".into()))
    );
    world.service.lists.clear();
    world.pass_for(seconds(60));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn the_older_group_owns_a_task_and_hands_it_over_once_when_it_goes() {
    let mut world = World::new(2);
    world.group("old", DesiredState::Running, [1]);
    world.now += jiff::SignedDuration::from_secs(1);
    world.group("new", DesiredState::Stopped, [1, 2]);
    world.pass_for(seconds(30));
    assert_eq!(world.reason("old"), reasons::TASKS_IN_DESIRED_STATE);
    assert_eq!(world.reason("new"), reasons::PROGRESSING);
    assert_eq!(world.status("new").tasks.unwrap().conflicting, 1);
    world.pass_for(minutes(2));
    assert_eq!(world.says("new"), (ConditionStatus::False, reasons::TASKS_CONFLICT.into(), Some("Stalled".into())));
    let calls = world.service.calls.len();
    world.delete("old");
    world.pass_for(minutes(5));
    assert_eq!(world.says("new"), ready(reasons::TASKS_IN_DESIRED_STATE));
    assert_eq!(world.service.calls[calls..].iter().map(|(_, a, _)| *a).collect::<Vec<_>>(), [Action::Stop]);
}

#[test]
fn a_suspended_group_sends_nothing_but_still_owns_and_says_what_it_sees() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]).spec.suspend = true;
    world.now += jiff::SignedDuration::from_secs(1);
    world.group("b", DesiredState::Running, [1]);
    world.pass_for(minutes(3));
    assert_eq!(world.says("a"), (ConditionStatus::False, reasons::SUSPENDED.into(), None));
    assert_eq!(world.reason("b"), reasons::TASKS_CONFLICT);
    assert!(world.service.calls.is_empty());
    world.service.tasks.insert(id(1), RunState::Running);
    world.pass_for(minutes(2));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn missing_tasks_are_waited_for_then_named_and_ready_when_they_come() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1, 2]);
    world.pass_for(seconds(110));
    assert_eq!(world.reason("a"), reasons::PROGRESSING);
    world.pass_for(seconds(30));
    assert_eq!(world.reason("a"), reasons::TASKS_FAILED);
    assert_eq!(world.status("a").failures[0].code, codes::TASK_NOT_FOUND);
    assert!(!world.called().contains(&(Action::Start, id(2))), "no call for a task that the list does not show");
    world.service.tasks.insert(id(2), RunState::Stopped);
    world.pass_for(seconds(80));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}

#[test]
fn deletion_with_stop_stops_waits_and_lets_go() {
    let mut world = World::new(2);
    world.service.manners.insert(id(2), Manner { settles_after: Some(seconds(20)), refuses: None, poison: None });
    world.group("a", DesiredState::Running, [1, 2]).spec.deletion_policy = DeletionPolicy::Stop;
    world.pass_for(seconds(60));
    world.delete("a");
    world.pass_for(seconds(10));
    assert_eq!(world.says("a"), (ConditionStatus::False, reasons::DELETING.into(), Some("Reconciling".into())));
    world.pass_for(seconds(60));
    assert!(world.groups.is_empty());
    assert_eq!(world.let_go, [("a".to_owned(), LettingGo::Done)]);
    assert!(world.service.tasks.values().all(|state| *state == RunState::Stopped));
}

#[test]
fn deletion_is_given_up_after_ten_minutes_of_a_dead_service_and_after_half_a_minute_without_a_secret() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]).spec.deletion_policy = DeletionPolicy::Stop;
    world.pass_for(seconds(60));
    world.delete("a");
    for _ in 0..1000 {
        world.service.lists.push_back(unavailable());
    }
    world.now += jiff::SignedDuration::from_secs(3);
    world.pass_for(seconds(590));
    assert_eq!(world.groups.len(), 1);
    world.pass_for(seconds(20));
    assert!(matches!(&world.let_go[..], [(_, LettingGo::GivenUp(_))]), "{:?}", world.let_go);

    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]).spec.deletion_policy = DeletionPolicy::Stop;
    world.pass_for(seconds(60));
    world.delete("a");
    world.problem = Some(Problem::SecretNotFound("the Secret is gone".into()));
    world.now += jiff::SignedDuration::from_secs(3);
    world.pass_for(seconds(25));
    assert_eq!(world.groups.len(), 1);
    world.pass_for(seconds(10));
    assert!(world.groups.is_empty());
}

#[test]
fn after_a_restart_failures_come_back_from_status_and_are_not_hammered() {
    let mut world = World::new(2);
    world.service.manners.insert(id(1), refusing("FDI.3083", true));
    world.service.manners.insert(id(2), refusing("FDI.3026", false));
    world.group("a", DesiredState::Running, [1, 2]);
    world.pass_for(seconds(30));
    let (status, calls) = (world.status("a"), world.service.calls.len());
    let attempts = status.failures.iter().find(|f| f.task_id == "task-0002").unwrap().attempts;
    assert!(attempts >= 3);
    world.restart();
    world.pass();
    assert_eq!(world.service.calls.len(), calls, "nothing is due yet");
    world.pass_for(seconds(60));
    let later = world.status("a");
    assert!(later.failures.iter().find(|f| f.task_id == "task-0002").unwrap().attempts > attempts);
    assert!(!world.service.calls[calls..].iter().any(|(_, _, ids)| ids.contains(&id(1))));
}

#[test]
fn after_a_restart_with_the_service_down_the_old_status_stands_until_it_is_stale() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    let before = world.status("a");
    for _ in 0..1000 {
        world.service.lists.push_back(unavailable());
    }
    world.restart();
    world.pass_for(seconds(110));
    assert_eq!(world.status("a"), before);
    world.pass_for(seconds(30));
    assert_eq!(world.reason("a"), reasons::OBSERVATION_STALE);
}

#[test]
fn an_edit_during_an_outage_is_never_ready_before_the_tasks_were_seen_as_wanted() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    for _ in 0..1000 {
        world.service.lists.push_back(unavailable());
    }
    world.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    for _ in 0..40 {
        world.pass_for(seconds(10));
        assert_ne!(world.says("a").0, ConditionStatus::True);
        assert_eq!(world.status("a").observed_generation, 2);
    }
    world.service.lists.clear();
    world.pass_for(minutes(2));
    assert_eq!(world.says("a"), ready(reasons::TASKS_IN_DESIRED_STATE));
}
