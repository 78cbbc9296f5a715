//! The engine under trouble, where exact times or the number of passes matter.

use std::time::Duration;

use super::world::{Act, Manner, World, error, id, seconds};
use crate::crd::{ConditionStatus, DesiredState, FdiInstance, event_reasons, reasons, types};
use crate::fdi::{Cause, Class, RunState};
use crate::reconcile::observation::Problem;

fn lost_call() -> Act {
    Act::Fail { error: error(Class::Unavailable, Cause::Unavailable, "Timeout"), applied: 10 }
}

fn poisonous(code: &str) -> Manner {
    let poison = error(Class::SplitOnce, Cause::BatchRefused, code);
    Manner { settles_after: Some(Duration::ZERO), refuses: None, poison: Some(poison) }
}

/// Status of the instance's Synced condition.
fn synced(world: &World) -> ConditionStatus {
    let status = world.instance.as_ref().unwrap().status.clone().unwrap();
    status.conditions.iter().find(|c| c.type_ == types::SYNCED).unwrap().status
}

#[test]
fn trouble_with_calls_is_over_once_a_list_shows_that_no_call_is_needed() {
    let mut world = World::new(3);
    world.service.batches.push_back(lost_call());
    world.group("a", DesiredState::Running, 1..=3);
    world.pass_for(seconds(30));
    assert_eq!(world.reason("a"), reasons::TASKS_IN_DESIRED_STATE, "the lost call had been done");
    assert_eq!(world.service.calls.len(), 1);
    assert_eq!(synced(&world), ConditionStatus::True);
    // The next failure, hours later, is the first of its kind again.
    world.pass_for(seconds(4 * 3600));
    world
        .service
        .batches
        .push_back(Act::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 502"), applied: 0 });
    world.edit("a", |spec| spec.desired_state = DesiredState::Stopped);
    world.pass_for(seconds(15));
    assert_eq!(world.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
}

#[test]
fn two_culprits_with_an_unknown_code_do_not_hold_up_the_eight_others_for_ever() {
    let mut world = World::new(10);
    world.service.manners.insert(id(2), poisonous("FDI.4711"));
    world.service.manners.insert(id(9), poisonous("FDI.4711"));
    world.group("a", DesiredState::Running, 1..=10);
    world.pass_for(seconds(120));
    let tasks = world.status("a").tasks.unwrap();
    assert_eq!(tasks.ready, 8, "{tasks:?}");
    assert!(world.service.calls.len() <= 19 + 8, "{} calls", world.service.calls.len());
}

#[test]
fn a_culprit_in_the_first_batch_does_not_hold_up_the_other_batches_after_an_instance_wide_cause() {
    let mut world = World::new(40);
    for n in 1..=40 {
        world.service.manners.insert(id(n), poisonous("FDI.3002"));
    }
    world.group("a", DesiredState::Running, 1..=40);
    world.pass_for(seconds(60));
    world.service.manners.retain(|task, _| *task == id(1));
    world.pass_for(seconds(1800));
    assert_eq!(world.status("a").tasks.unwrap().ready, 39);
}

#[test]
fn switching_a_suspended_groups_tasks_by_hand_is_neither_drift_nor_a_contest() {
    let mut world = World::new(1);
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    world.instance.as_mut().unwrap().spec.suspend = true;
    for n in 0..14 {
        world.service.tasks.insert(id(1), if n % 2 == 0 { RunState::Stopped } else { RunState::Running });
        world.pass_for(seconds(90));
    }
    world.service.tasks.insert(id(1), RunState::Stopped);
    world.pass_for(seconds(90));
    assert_eq!(world.reason("a"), reasons::SUSPENDED);
    world.instance.as_mut().unwrap().spec.suspend = false;
    world.wake = world.now;
    world.pass_for(seconds(30));
    assert_eq!(world.reason("a"), reasons::TASKS_IN_DESIRED_STATE);
    assert!(!world.notes.iter().any(|(reason, _)| reason == event_reasons::DRIFT_CORRECTED));
}

#[test]
fn an_instance_recreated_under_its_name_is_not_judged_by_the_list_of_its_predecessor() {
    let mut world = World::new(1);
    world.instance.as_mut().unwrap().metadata.uid = Some("first".into());
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(seconds(30));
    assert_eq!(world.says("a").0, ConditionStatus::True);
    let spec = world.instance.take().unwrap().spec;
    world.wake = world.now;
    world.pass_for(seconds(5));
    assert_eq!(world.reason("a"), reasons::INSTANCE_NOT_FOUND);
    let mut second = FdiInstance::new("roma", spec);
    (second.metadata.uid, second.metadata.generation) = (Some("second".into()), Some(1));
    world.instance = Some(second);
    world.problem = Some(Problem::Call(error(Class::Unavailable, Cause::Unavailable, "HTTP 502")));
    world.wake = world.now;
    world.pass_for(seconds(20));
    assert_ne!(world.says("a").0, ConditionStatus::True, "the new instance has not been listed");
    world.problem = None;
    world.pass_for(seconds(60));
    assert_eq!(world.says("a").0, ConditionStatus::True);
}

#[test]
fn a_look_that_is_wanted_while_the_list_is_still_fresh_makes_no_hot_loop() {
    let mut world = World::new(1);
    world.service.manners.insert(id(1), Manner { settles_after: Some(seconds(20)), refuses: None, poison: None });
    world.group("a", DesiredState::Running, [1]);
    world.pass_for(Duration::from_millis(6_500));
    // Woken by something else just before the look at seven seconds is due.
    world.wake = world.now;
    let mut passes = 0;
    let end = world.now + jiff::SignedDuration::from_secs(3);
    while world.now < end {
        world.now = world.now.max(world.wake);
        world.pass();
        world.now += jiff::SignedDuration::from_millis(1);
        passes += 1;
    }
    assert!(passes <= 8, "{passes} passes in three seconds");
}

#[test]
fn a_service_that_names_the_time_to_come_back_is_not_asked_sooner() {
    for _ in 0..50 {
        let mut world = World::new(1);
        let mut throttled = error(Class::Throttled, Cause::Throttled, "APIGW.0308");
        throttled.retry_after = Some(seconds(40));
        world.service.lists.push_back(Act::Fail { error: throttled, applied: 0 });
        world.group("a", DesiredState::Running, [1]);
        world.pass();
        assert_eq!(world.service.looks, 1);
        world.pass_for(Duration::from_millis(39_900));
        assert_eq!(world.service.looks, 1);
    }
}

#[test]
fn lists_that_fail_after_a_lost_call_make_no_hot_loop() {
    let mut world = World::new(3);
    world.service.batches.push_back(lost_call());
    world.service.manners.insert(id(1), Manner { settles_after: None, refuses: None, poison: None });
    world.group("a", DesiredState::Running, 1..=3);
    world.pass_for(seconds(1));
    let outage = Act::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 502"), applied: 0 };
    // The look at what the lost call did works; the next ones do not, for longer than the wait for calls.
    world.now += jiff::SignedDuration::from_secs(5);
    world.service.lists.extend(vec![outage; 4]);
    world.wake = world.now;
    let (mut passes, end) = (0, world.now + jiff::SignedDuration::from_secs(4));
    while world.now < end {
        world.now = world.now.max(world.wake);
        world.pass();
        world.now += jiff::SignedDuration::from_millis(1);
        passes += 1;
    }
    assert!(passes <= 8, "{passes} passes in four seconds");
}
