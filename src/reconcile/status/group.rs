//! The status of one group: its row as conditions, counts, failures, and the events that the change makes.

use super::row::{Motion, Row, blocked, row};
use super::{Facts, GroupReport, Note, Tally, deletion, failures};
use crate::crd::{Condition, ConditionStatus, FdiTaskGroupStatus, TaskCounts, event_reasons, reasons, types};
use crate::fdi::TaskId;
use crate::reconcile::Outcomes;
use crate::reconcile::observation::Severity;

pub(super) fn report<'a>(facts: Facts<'a, '_>, outcomes: &Outcomes) -> GroupReport<'a> {
    let letting_go = deletion::letting_go(&facts);
    let group = facts.group;
    let Some(row) = row(&facts) else {
        let mut status = group.status.clone();
        status.last_handled_reconcile_at = handled(&facts);
        return GroupReport { group, status, notes: Vec::new(), letting_go, tally: facts.tally };
    };
    let (failures, omitted) = failures::list(&facts);
    let status = FdiTaskGroupStatus {
        observed_generation: group.generation,
        conditions: conditions(&facts, &row),
        tasks: Some(counts(&facts.tally)),
        ready_tasks: Some(format!("{}/{}", facts.tally.ready, facts.tally.total)),
        failures,
        failures_omitted: (omitted > 0).then(|| int(omitted)),
        last_handled_reconcile_at: handled(&facts),
    };
    let notes = notes(&facts, &row, outcomes);
    GroupReport { group, status, notes, letting_go, tally: facts.tally }
}

/// The request that this pass answers.
fn handled(facts: &Facts<'_, '_>) -> Option<String> {
    facts.group.requested_at.clone().or_else(|| facts.group.status.last_handled_reconcile_at.clone())
}

fn counts(tally: &Tally) -> TaskCounts {
    TaskCounts {
        total: int(tally.total),
        ready: int(tally.ready),
        pending: int(tally.pending()),
        failed: int(tally.failed),
        conflicting: int(tally.conflicting),
        last_run_failed: int(tally.last_run_failed),
    }
}

fn conditions(facts: &Facts<'_, '_>, row: &Row) -> Vec<Condition> {
    let condition = |type_: &str, status, reason: &str, message: &str| {
        let generation = facts.group.generation;
        Condition::new(type_, status, reason, message, generation, &facts.group.status.conditions, facts.now)
    };
    let (synced, why, what) = synced(facts, row);
    let mut conditions = vec![
        condition(types::READY, row.ready, row.reason, &row.message),
        condition(types::SYNCED, synced, why, &what),
    ];
    match row.motion {
        Motion::Reconciling => {
            conditions.push(condition(types::RECONCILING, ConditionStatus::True, row.reason, &row.message));
        }
        Motion::Stalled => conditions.push(condition(types::STALLED, ConditionStatus::True, row.reason, &row.message)),
        Motion::Resting => {}
    }
    conditions
}

/// Whether the last exchange with FDI that this group needed worked. A single failed look that no work waits for is told on
/// the `FdiInstance` only.
fn synced(facts: &Facts<'_, '_>, row: &Row) -> (ConditionStatus, &'static str, String) {
    let trouble = facts.sight.trouble();
    let told = row.ready == ConditionStatus::Unknown || facts.sight.view().is_none();
    let cause = trouble.filter(|trouble| told || trouble.problem.severity() == Severity::Missing);
    match (cause.or_else(|| blocked(facts)), facts.sight.view()) {
        (Some(trouble), _) => (ConditionStatus::False, trouble.problem.reason(), trouble.problem.message().to_owned()),
        (None, None) => (ConditionStatus::Unknown, reasons::NOT_OBSERVED, "FDI has not been asked yet".to_owned()),
        (None, Some(_)) => (ConditionStatus::True, reasons::SYNCED, "the last exchange with FDI worked".to_owned()),
    }
}

fn notes(facts: &Facts<'_, '_>, row: &Row, outcomes: &Outcomes) -> Vec<Note> {
    let before = facts.group.status.conditions.iter().find(|c| c.type_ == types::READY);
    let mut notes = Vec::new();
    let corrected: Vec<&str> =
        outcomes.corrected().iter().filter(|id| facts.group.owned.contains(id)).map(TaskId::as_str).collect();
    if !corrected.is_empty() {
        let action = facts.group.wish.action();
        let shown = corrected.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = corrected.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(Note {
            warning: false,
            reason: event_reasons::DRIFT_CORRECTED,
            action: if action == crate::fdi::Action::Start { "Start" } else { "Stop" },
            text: format!("somebody else had switched tasks; told to {action} again: {shown}{more}"),
        });
    }
    if before.is_some_and(|before| before.reason == row.reason && before.status == row.ready) {
        return notes;
    }
    let told = match row.reason {
        reasons::TASKS_IN_DESIRED_STATE => Some((false, event_reasons::READY)),
        reasons::TASKS_FAILED => Some((true, event_reasons::FAILED)),
        reasons::TASKS_CONFLICT => Some((true, event_reasons::CONFLICT)),
        reasons::TASKS_CONTESTED => Some((true, event_reasons::CONTESTED)),
        _ => None,
    };
    if let Some((warning, reason)) = told {
        notes.push(Note { warning, reason, action: "Observe", text: row.message.clone() });
    }
    notes
}

pub(super) fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
