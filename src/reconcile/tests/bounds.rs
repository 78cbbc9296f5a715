//! A status is bounded, however long the texts are that others write.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::service::{TaskBehavior, seconds};
use super::simulation::Simulation;
use crate::crd::{DesiredState, FdiTaskGroupStatus, HistoryEntry, Trigger};
use crate::fdi::{LastRun, Outcome, Refusal, RunState, TaskId};
use crate::reconcile::observation::failure::InstanceError;

/// As documented in `docs/fditaskgroup.md`.
const STATUS_MAX: usize = 96 * 1024;

/// The longest ID.
fn id(n: usize) -> TaskId {
    TaskId::new(format!("{n:0>64}")).unwrap()
}

/// JSON takes two bytes for each of these.
fn quotes(n: usize) -> String {
    "\"".repeat(n)
}

fn bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).unwrap().len()
}

/// A group of 1000 tasks of which 400 are refused and the others fail their runs, everything with
/// the longest texts.
fn worst() -> Simulation {
    let mut sim = Simulation::new(0);
    sim.service.name = Some(quotes(1000));
    let refusal = Refusal { code: quotes(300), message: quotes(3000), permanent: false };
    let behavior = TaskBehavior { settles_after: None, refuses: Some(Outcome::Refused(refusal)), poison: None };
    for n in 0..1000 {
        let refused = n < 400;
        sim.service.tasks.insert(id(n), if refused { RunState::Stopped } else { RunState::Running });
        if refused {
            sim.service.behaviors.insert(id(n), behavior.clone());
        } else {
            sim.service.last_runs.insert(id(n), LastRun::Error);
        }
    }
    let group = sim.group("a", DesiredState::Running, []);
    group.spec.task_ids = (0..1000).map(|n| id(n).as_str().into()).collect();
    group.metadata.generation = Some(i64::MAX - 10);
    let entry = |n: i32| HistoryEntry {
        time: Time(Timestamp::from_second(i64::from(n) * 100).unwrap()),
        trigger: Trigger::Deletion,
        starts: i32::MAX,
        stops: i32::MAX,
        failed: i32::MAX,
        generation: i64::MAX - 10,
    };
    let mut annotated = FdiTaskGroupStatus { history: (0..10).rev().map(entry).collect(), ..Default::default() };
    annotated.last_handled_reconcile_at = Some(quotes(256).into());
    group.status = Some(Arc::new(annotated));
    sim.request("a", &quotes(5000));
    sim.run_for(seconds(8));
    for n in 400..1000 {
        sim.state.ledger.record_cause(&id(n), Some(quotes(256)));
    }
    // It is in the messages of all conditions at once.
    sim.problem = Some(InstanceError::SecretInvalid(quotes(5000)));
    sim.run_for(seconds(66));
    sim
}

fn assert_full(status: &FdiTaskGroupStatus) {
    assert!(bytes(&status.failures) > 59 * 1024, "{}", bytes(&status.failures));
    assert!(bytes(&status.failed_runs) > 15 * 1024, "{}", bytes(&status.failed_runs));
    assert!(bytes(&status.pending) + bytes(&status.deviating) > 5 * 1024);
    assert!(status.conditions.len() >= 4 && bytes(&status.conditions) > 4 * 2000, "{:?}", status.conditions);
    assert_eq!(status.history.len(), 10);
    assert!(status.failures_omitted.is_some() && status.last_handled_reconcile_at.is_some());
    assert!(bytes(status) <= STATUS_MAX, "{} bytes", bytes(status));
}

#[test]
fn a_status_whose_lists_have_the_longest_texts_all_at_once_keeps_its_bound() {
    let mut sim = worst();
    let status = sim.status("a");
    assert!(!status.pending.is_empty() && status.deviating.is_empty());
    assert_full(&status);
    sim.instance.as_mut().unwrap().spec.suspend = true;
    sim.run_for(seconds(66));
    let status = sim.status("a");
    assert!(status.pending.is_empty() && !status.deviating.is_empty());
    assert_full(&status);
}
