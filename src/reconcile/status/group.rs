//! The status of one group: its condition row, counts, failures, and the events that the change
//! makes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::{Facts, Tally, count};
use super::ready::{self, NOT_LISTED, blocked, instance_message};
use super::report::GroupReport;
use super::row::{Progress, Row};
use super::{deletion, failures, pending, runs, selection};
use crate::crd::{
    Condition, ConditionStatus, FdiTaskGroupStatus, TaskCounts, condition_types, event_actions, event_reasons,
    find_condition, messages, reasons, whole_seconds,
};
use crate::fdi::text::listed;
use crate::fdi::{Action, TaskId};
use crate::k8s::events::EventType;
use crate::k8s::status_writer::update::StatusEvent;
use crate::reconcile::observation::failure::Severity;
use crate::reconcile::outcome::Outcomes;
use crate::time::backoff::add;

/// Most tasks that an event names.
const TASKS_NAMED: usize = 5;

pub(super) fn report<'a>(facts: Facts<'a, '_>, outcomes: &Outcomes) -> GroupReport<'a> {
    let release = deletion::release(&facts);
    let group = facts.group;
    let handled = group.requested_at.clone().or_else(|| group.status.last_handled_reconcile_at.clone());
    let urgent = !group.acknowledged() || facts.state.ledger.pending_edits(&group.uid).is_some();
    let actions = drift_corrected(&facts, outcomes).into_iter().collect();
    let Some(row) = ready::row(&facts) else {
        let status =
            FdiTaskGroupStatus { last_handled_reconcile_at: handled, ..FdiTaskGroupStatus::clone(&group.status) };
        let (status, events, tally) = (Arc::new(status), Vec::new(), facts.tally);
        return GroupReport { group, status, events, actions, progress_only: false, urgent, release, tally };
    };
    let (failures, omitted) = failures::list(&facts);
    let opposing_call = facts.state.ledger.opposing_call(group, facts.now);
    let mut status = FdiTaskGroupStatus {
        observed_generation: group.generation,
        conditions: conditions(&facts, &row),
        tasks: Some(counts(&facts.tally)),
        ready_tasks: Some(format!("{}/{}", facts.tally.ready, facts.tally.total).into()),
        desired_state: Some(group.run_state.into()),
        selection: selection::status(&facts),
        // Rounded up: it must not expire sooner for a successor than for this process.
        opposing_call_time: opposing_call.map(|ended| Time(whole_seconds(add(ended, Duration::from_secs(1))))),
        failures,
        failures_omitted: (omitted > 0).then(|| count(omitted)),
        pending: pending::pending(&facts),
        deviating: pending::deviating(&facts).into(),
        failed_runs: runs::list(&facts).into(),
        history: group.status.history.clone(),
        last_handled_reconcile_at: handled,
    };
    let status = if status == *group.status {
        Arc::clone(&group.status)
    } else {
        // A call alone is no reason to write.
        status.history = facts.state.ledger.history(group);
        status.conditions.shrink_to_fit();
        Arc::new(status)
    };
    let events =
        transition(&facts, &row).into_iter().chain(selection::event(&facts)).chain(runs::events(&facts)).collect();
    let progress_only = matches!(row.reason, reasons::PROGRESSING | reasons::NOT_OBSERVED);
    GroupReport { group, status, events, actions, progress_only, urgent, release, tally: facts.tally }
}

fn counts(tally: &Tally) -> TaskCounts {
    TaskCounts {
        total: count(tally.total),
        ready: count(tally.ready),
        pending: count(tally.pending()),
        failed: count(tally.failed),
        conflicting: count(tally.conflicting),
        failing: count(tally.failing),
    }
}

fn conditions(facts: &Facts<'_, '_>, row: &Row) -> Vec<Condition> {
    let mut conditions = vec![
        Condition::new(condition_types::READY, row.ready, row.reason, &row.message),
        synced(facts, row),
        runs::condition(facts, row),
    ];
    let progress = match row.progress {
        Progress::Reconciling => Some(condition_types::RECONCILING),
        Progress::Stalled => Some(condition_types::STALLED),
        Progress::Settled => None,
    };
    conditions.extend(progress.map(|type_| Condition::new(type_, ConditionStatus::True, row.reason, &row.message)));
    let finish = |condition: Condition| Condition {
        observed_generation: facts.group.generation,
        ..condition.following(&facts.group.status.conditions, facts.now)
    };
    conditions.into_iter().map(finish).collect()
}

/// Whether the last exchange with FDI that this group needed succeeded. A single failed list that
/// no work depends on is reported on the `FdiInstance` only.
fn synced(facts: &Facts<'_, '_>, row: &Row) -> Condition {
    let observation = &facts.state.observation;
    let needed = row.ready == ConditionStatus::Unknown || observation.list().is_none();
    let failure =
        observation.list_failure().filter(|failure| needed || failure.error.severity() == Severity::MissingReference);
    let (status, reason, message) = match (failure.or_else(|| blocked(facts)), observation.list()) {
        (Some(failure), _) => (ConditionStatus::False, failure.error.reason(), instance_message(facts, failure)),
        (None, None) => (ConditionStatus::Unknown, reasons::NOT_OBSERVED, NOT_LISTED.to_owned()),
        (None, Some(_)) => (ConditionStatus::True, reasons::SYNCED, messages::SYNCED.to_owned()),
    };
    Condition::new(condition_types::SYNCED, status, reason, &message)
}

/// Tasks that somebody else had switched and that this reconcile switched back.
fn drift_corrected(facts: &Facts<'_, '_>, outcomes: &Outcomes) -> Option<StatusEvent> {
    let corrected: Vec<&str> =
        outcomes.drift_corrected().iter().filter(|id| facts.group.owned.contains(id)).map(TaskId::as_str).collect();
    if corrected.is_empty() {
        return None;
    }
    let (action, done) = match facts.group.run_state.action() {
        Action::Start => (event_actions::START, "started"),
        Action::Stop => (event_actions::STOP, "stopped"),
    };
    Some(StatusEvent {
        kind: EventType::Normal,
        reason: event_reasons::DRIFT_CORRECTED,
        action,
        message: format!("drift corrected, {done} again: {}", listed(corrected, TASKS_NAMED)),
    })
}

fn transition(facts: &Facts<'_, '_>, row: &Row) -> Option<StatusEvent> {
    let before = find_condition(&facts.group.status.conditions, condition_types::READY);
    if before.is_some_and(|before| before.reason == row.reason && before.status == row.ready) {
        return None;
    }
    let (kind, reason) = match row.reason {
        reasons::TASKS_IN_DESIRED_STATE => (EventType::Normal, event_reasons::READY),
        reasons::TASKS_FAILED => (EventType::Warning, event_reasons::FAILED),
        reasons::TASKS_CONFLICT => (EventType::Warning, event_reasons::CONFLICT),
        reasons::TASKS_CONTESTED => (EventType::Warning, event_reasons::CONTESTED),
        reasons::SELECTION_TOO_LARGE => (EventType::Warning, event_reasons::SELECTION_TOO_LARGE),
        _ => return None,
    };
    Some(StatusEvent { kind, reason, action: event_actions::OBSERVE, message: row.message.clone() })
}
