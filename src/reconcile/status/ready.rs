//! The condition table of a group: the first row that holds. `docs/fditaskgroup.md` shows the same
//! table to users.

use jiff::Timestamp;

use super::facts::Facts;
use super::row::{Progress, Row};
use super::{deletion, failures, selection};
use crate::crd::{ConditionStatus, condition_types, find_condition, reasons, whole_seconds};
use crate::fdi::text::{listed, truncate};
use crate::reconcile::desired::{CLAIMED_MAX, FinalizerAction};
use crate::reconcile::ledger::phase::{Assessment, FailedReason, PendingReason, Phase};
use crate::reconcile::observation::failure::{FailureStreak, InstanceError, Severity};
use crate::time::backoff::add;

/// Most tasks or groups that a message names.
pub(super) const TASKS_NAMED: usize = 3;

/// What is said before the first list.
pub(super) const NOT_LISTED: &str =
    "the tasks have not been listed yet: the operator does that now, and again after a failure";

/// The first row that holds; `None` where the old status stands (after a restart, before the first
/// list).
pub(super) fn row(facts: &Facts<'_, '_>) -> Option<Row> {
    let rows = [deleting, spec_invalid, too_many_tasks, missing_reference, rejected];
    if let Some(row) = rows.iter().find_map(|row| row(facts)) {
        return Some(row);
    }
    if facts.state.observation.list().is_none() {
        return not_observed(facts);
    }
    let rows = [stale, selection::too_large, selection::empty, suspended, progressing, conflict, contested, failed];
    Some(rows.iter().find_map(|row| row(facts)).unwrap_or_else(|| ready(facts)))
}

/// When time alone leads to another row.
pub(super) fn next_transition(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let conflict_since = facts.state.ledger.conflict_since(&facts.group.uid);
    let conflict = conflict_since.map(|since| add(since, facts.state.timings.missing_grace));
    let reference = facts.state.observation.list_failure().filter(|failure| awaits_instance(facts, failure));
    let reference = reference.map(|failure| add(failure.started, facts.state.timings.reference_grace));
    let future = [conflict, reference].into_iter().flatten().filter(|&time| time > facts.now);
    future.chain(deletion::next_transition(facts)).chain(selection::next_transition(facts)).min()
}

fn deleting(facts: &Facts<'_, '_>) -> Option<Row> {
    facts.group.deletion_timestamp?;
    let message = match (facts.group.finalizer, &facts.group.decode_error) {
        (FinalizerAction::Hold, None) => stopping(facts),
        (FinalizerAction::Hold, Some(error)) => format!(
            "being deleted; the stored spec cannot be decoded ({error}), so no task is stopped, and the object goes \
             after {} s",
            facts.state.timings.deletion_orphan_timeout.as_secs()
        ),
        _ => "being deleted; its tasks stay as they are. If the object does not go, metadata.finalizers names what \
              holds it"
            .to_owned(),
    };
    Some(Row { ready: ConditionStatus::False, reason: reasons::DELETING, message, progress: Progress::Reconciling })
}

fn stopping(facts: &Facts<'_, '_>) -> String {
    let owned = facts.group.owned.len();
    let left: Vec<&str> = facts.still_to_stop().map(|(id, _)| id.as_str()).collect();
    let stopped = owned - left.len();
    let left = if left.is_empty() { String::new() } else { format!(" (left: {})", listed(left, TASKS_NAMED)) };
    let left = format!("{left}{}", not_known_to_stop(facts));
    let failure = facts.state.observation.list_failure();
    // Nothing can be stopped any more.
    let gone = failure.is_some_and(|failure| failure.error.severity() == Severity::MissingReference);
    let timings = &facts.state.timings;
    let limit = if gone {
        format!("{} s", timings.deletion_orphan_timeout.as_secs())
    } else {
        format!("{} min", timings.deletion_timeout.as_secs() / 60)
    };
    let failure = failure.map_or_else(String::new, |failure| format!("; {}", instance_message(facts, failure)));
    format!(
        "stopping the tasks before the deletion: {stopped} of {owned} stopped{left}; the object goes once all are, \
         or {limit} after its deletion{failure}",
    )
}

/// Tasks that the selector may choose beside those that are counted.
fn not_known_to_stop(facts: &Facts<'_, '_>) -> String {
    if facts.group.awaits_selection() {
        return "; what spec.taskNames and spec.selector choose is known with the next list".to_owned();
    }
    let too_large = facts.group.selection.as_ref().and_then(|selection| selection.too_large);
    too_large.map_or_else(String::new, |matched| {
        format!("; spec.selector matches {matched} tasks, too many to choose any: raise its maxTasks to stop them")
    })
}

fn spec_invalid(facts: &Facts<'_, '_>) -> Option<Row> {
    let error = facts.group.decode_error.as_ref()?;
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::SPEC_INVALID,
        message: format!(
            "the stored spec cannot be decoded ({error}), so no task is started or stopped: apply it again in the form \
             of this version"
        ),
        progress: Progress::Stalled,
    })
}

fn too_many_tasks(facts: &Facts<'_, '_>) -> Option<Row> {
    (facts.group.exceeding > 0).then(|| Row {
        ready: ConditionStatus::False,
        reason: reasons::TOO_MANY_TASKS,
        message: format!(
            "the FdiTaskGroups of the FdiInstance \"{}\" list more than {CLAIMED_MAX} tasks together; older groups \
             come first, and nothing is started or stopped for this one: list fewer tasks or delete groups",
            facts.group.object.spec.instance_ref.name
        ),
        progress: Progress::Stalled,
    })
}

fn missing_reference(facts: &Facts<'_, '_>) -> Option<Row> {
    let failure = facts.state.observation.list_failure()?;
    (failure.error.severity() == Severity::MissingReference && !awaits_instance(facts, failure))
        .then(|| unknown(failure, instance_message(facts, failure), Progress::Reconciling))
}

/// Groups and their `FdiInstance` are often applied together, and either may be seen first.
fn awaits_instance(facts: &Facts<'_, '_>, failure: &FailureStreak) -> bool {
    failure.error == InstanceError::InstanceNotFound
        && !facts.state.observation.knew_instance()
        && facts.now < add(failure.started, facts.state.timings.reference_grace)
}

fn rejected(facts: &Facts<'_, '_>) -> Option<Row> {
    let lasts = |failure: &&FailureStreak| {
        failure.error.severity() == Severity::Rejected
            && facts.now >= add(failure.reason_since, facts.state.timings.rejected_grace)
    };
    // Calls that are refused for the whole instance matter only to groups that need calls.
    let list_failure = facts.state.observation.list_failure().filter(lasts);
    let failure = list_failure.or_else(|| blocked(facts).filter(lasts))?;
    Some(unknown(failure, instance_message(facts, failure), Progress::Stalled))
}

fn not_observed(facts: &Facts<'_, '_>) -> Option<Row> {
    let reported = find_condition(&facts.group.status.conditions, condition_types::READY).is_some();
    let known = reported && facts.group.acknowledged();
    let message = match facts.state.observation.list_failure() {
        // After a restart the old status stands until the first list succeeds, or lists fail for
        // long.
        Some(failure) if known => return is_stale(facts, failure).then(|| stale_row(facts, failure)),
        None if known => return None,
        Some(failure) => format!("the tasks have not been listed yet: {}", instance_message(facts, failure)),
        None => NOT_LISTED.to_owned(),
    };
    Some(Row {
        ready: ConditionStatus::Unknown,
        reason: reasons::NOT_OBSERVED,
        message,
        progress: Progress::Reconciling,
    })
}

fn stale(facts: &Facts<'_, '_>) -> Option<Row> {
    let failure = facts.state.observation.list_failure().filter(|failure| is_stale(facts, failure))?;
    Some(stale_row(facts, failure))
}

fn is_stale(facts: &Facts<'_, '_>, failure: &FailureStreak) -> bool {
    let timings = &facts.state.timings;
    failure.count >= timings.stale_after && facts.now >= add(failure.started, timings.stale_grace)
}

fn stale_row(facts: &Facts<'_, '_>, failure: &FailureStreak) -> Row {
    let since = facts.state.observation.list().map(|list| whole_seconds(list.requested_at));
    let since = since.map_or_else(String::new, |since| format!(", last listed at {since}"));
    Row {
        ready: ConditionStatus::Unknown,
        reason: reasons::OBSERVATION_STALE,
        message: format!("the observed state of the tasks is out of date{since}: {}", instance_message(facts, failure)),
        progress: Progress::Reconciling,
    }
}

fn suspended(facts: &Facts<'_, '_>) -> Option<Row> {
    let (who, to_resume) = match (facts.group.suspended, facts.desired.instance_suspended()) {
        (true, _) => ("the group", "set spec.suspend to false to resume"),
        (false, true) => ("its FdiInstance", "set spec.suspend of the FdiInstance to false to resume"),
        (false, false) => return None,
    };
    let all = facts.tally.ready == facts.tally.total;
    let which = if all { "" } else { "; status.deviating names the tasks that are in the other state" };
    Some(Row {
        ready: if all { ConditionStatus::True } else { ConditionStatus::False },
        reason: if all { reasons::TASKS_IN_DESIRED_STATE } else { reasons::SUSPENDED },
        message: format!("{}; {who} is suspended, so no call is sent: {to_resume}{which}", in_state(facts)),
        progress: Progress::Settled,
    })
}

fn progressing(facts: &Facts<'_, '_>) -> Option<Row> {
    let tally = &facts.tally;
    let new_conflict = facts
        .state
        .ledger
        .conflict_since(&facts.group.uid)
        .is_some_and(|since| tally.conflicting > 0 && facts.now < add(since, facts.state.timings.missing_grace));
    let awaited = awaited_selection(facts);
    if tally.pending() == 0 && !new_conflict && awaited.is_none() {
        return None;
    }
    let action = facts.group.run_state.action();
    let window = facts.state.timings.settle_window.as_secs() / 60;
    let grace = facts.state.timings.missing_grace.as_secs() / 60;
    let parts = [
        (tally.unobserved, "to be listed".to_owned()),
        (tally.calls_due, format!("to {action}")),
        (tally.settling, format!("{action} accepted, waiting for it to take effect ({window} min at most)")),
        (tally.opposing, format!("waiting for an earlier opposite call to expire ({window} min at most)")),
        (tally.retrying, "to be tried again (status.failures says why, and when)".to_owned()),
        (tally.missing, format!("not in the list of the instance, which counts as failed after {grace} min")),
        (
            tally.unknown_state,
            format!("with a status that the operator does not know ({}): check in ROMA Connect", unknown_state(facts)),
        ),
        (
            if new_conflict { tally.conflicting } else { 0 },
            format!("owned by the older FdiTaskGroup {}, a conflict after {grace} min", owners(facts)),
        ),
    ];
    let parts = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let parts: Vec<String> = parts.chain(awaited.map(str::to_owned)).collect();
    let mut message = format!("{}: {}", in_state(facts), parts.join(", "));
    if tally.pending() > 0 {
        message.push_str("; status.pending names them");
    }
    if let Some(failure) = blocked(facts) {
        message = format!("{message}; no call can be sent now: {}", instance_message(facts, failure));
    }
    Some(Row { ready: ConditionStatus::False, reason: reasons::PROGRESSING, message, progress: Progress::Reconciling })
}

/// Why it is not known yet which tasks names and the selector choose.
fn awaited_selection(facts: &Facts<'_, '_>) -> Option<&'static str> {
    if facts.group.awaits_selection() {
        Some("the tasks that spec.taskNames and spec.selector choose are known with the next list")
    } else {
        facts.selection_unconfirmed().then_some(
            "the first list after a restart of the operator chose other tasks than status.selection says: a second \
             list decides",
        )
    }
}

/// The tasks whose status the operator does not know.
fn unknown_state(facts: &Facts<'_, '_>) -> String {
    let unknown = |assessment: &Assessment| assessment.phase == Phase::Pending(PendingReason::UnknownState);
    listed(
        facts.assessments.iter().filter(|(_, assessment)| unknown(assessment)).map(|(id, _)| id.as_str()),
        TASKS_NAMED,
    )
}

/// The groups that own tasks which this one lists too.
fn owners(facts: &Facts<'_, '_>) -> String {
    let mut owners: Vec<&str> = facts.group.conflicts.iter().map(|conflict| conflict.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    listed(owners, TASKS_NAMED)
}

fn conflict(facts: &Facts<'_, '_>) -> Option<Row> {
    let conflicts = &facts.group.conflicts;
    if conflicts.is_empty() {
        return None;
    }
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_CONFLICT,
        message: format!(
            "{} of {} tasks are owned by the older FdiTaskGroup {} ({}): list each task in one group only",
            conflicts.len(),
            facts.tally.total,
            owners(facts),
            listed(conflicts.iter().map(|conflict| conflict.task.as_str()), TASKS_NAMED),
        ),
        progress: Progress::Stalled,
    })
}

fn contested(facts: &Facts<'_, '_>) -> Option<Row> {
    if facts.tally.contested == 0 {
        return None;
    }
    let contested = |found: &Assessment| found.phase == Phase::Failed(FailedReason::Contested);
    let tasks = facts.assessments.iter().filter(|(_, found)| contested(found)).map(|(id, _)| id.as_str());
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_CONTESTED,
        message: format!(
            "somebody else keeps switching {} of {} tasks back ({}); the operator corrects them only every {} min \
             now: find out who, or remove them from the group",
            facts.tally.contested,
            facts.tally.total,
            listed(tasks, TASKS_NAMED),
            facts.state.timings.slow_retry.as_secs() / 60
        ),
        progress: Progress::Stalled,
    })
}

fn failed(facts: &Facts<'_, '_>) -> Option<Row> {
    if facts.tally.failed == 0 {
        return None;
    }
    let failed = |found: &Assessment| matches!(found.phase, Phase::Failed(_));
    let ids = facts.assessments.iter().filter(|(_, found)| failed(found)).map(|(id, _)| id.as_str());
    let names = facts.names.iter().filter(|(_, found)| failed(found)).map(|(name, _)| &*name.name);
    let ids = facts.group.invalid.iter().map(String::as_str).chain(names).chain(ids);
    let retried = facts.assessments.iter().any(|(_, found)| found.phase == Phase::Failed(FailedReason::Refused));
    let minutes = facts.state.timings.slow_retry.as_secs() / 60;
    let retried = if retried { format!("; the operator tries again every {minutes} min") } else { String::new() };
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_FAILED,
        message: format!(
            "{} of {} tasks failed: {} ({}); status.failures says why and what to do{retried}",
            facts.tally.failed,
            facts.tally.total,
            listed(ids.map(|id| truncate(id, 64)), TASKS_NAMED),
            failures::codes(facts),
        ),
        progress: Progress::Stalled,
    })
}

fn ready(facts: &Facts<'_, '_>) -> Row {
    Row {
        ready: ConditionStatus::True,
        reason: reasons::TASKS_IN_DESIRED_STATE,
        message: in_state(facts),
        progress: Progress::Settled,
    }
}

fn unknown(failure: &FailureStreak, message: String, progress: Progress) -> Row {
    Row { ready: ConditionStatus::Unknown, reason: failure.error.reason(), message, progress }
}

/// Why calls that are needed cannot be sent, when that is so.
pub(super) fn blocked<'m>(facts: &Facts<'_, 'm>) -> Option<&'m FailureStreak> {
    let needed = facts.tally.calls_due + facts.tally.retrying > 0 && !facts.suspended();
    let observation = &facts.state.observation;
    observation.list_failure().or(observation.call_failure()).filter(|_| needed)
}

fn in_state(facts: &Facts<'_, '_>) -> String {
    let Facts { group, tally, .. } = facts;
    let duplicates = match group.duplicates {
        0 => String::new(),
        1 => " (1 duplicate ID in taskIds counted once)".to_owned(),
        n => format!(" ({n} duplicate IDs in taskIds counted once)"),
    };
    let overridden = match group.overridden {
        0 => String::new(),
        1 => " (1 selected task belongs to another group)".to_owned(),
        n => format!(" ({n} selected tasks belong to other groups)"),
    };
    format!("{}/{} tasks {}{duplicates}{overridden}", tally.ready, tally.total, group.run_state)
}

pub(super) fn instance_message(facts: &Facts<'_, '_>, failure: &FailureStreak) -> String {
    let name = &facts.group.object.spec.instance_ref.name;
    format!("FdiInstance {name}: {}", failure.error.message())
}
