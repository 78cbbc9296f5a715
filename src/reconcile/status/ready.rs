//! The condition table of a group: the first row that holds. `docs/fditaskgroup.md` shows the same table to users.

use jiff::Timestamp;

use super::{Facts, deletion};
use crate::time::backoff::after;
use crate::crd::{ConditionStatus, reasons, types};
use crate::reconcile::observation::{Severity, Trouble};

/// What a group says: the Ready condition and which of Reconciling and Stalled go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub ready: ConditionStatus,
    pub reason: &'static str,
    pub message: String,
    pub motion: Motion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    Reconciling,
    Stalled,
    Resting,
}

/// The first row that holds; `None` where the old status stands (after a restart, before the first look).
pub(super) fn row(facts: &Facts<'_, '_>) -> Option<Row> {
    let rows = [deleting, unreadable, missing_reference, refused];
    if let Some(row) = rows.iter().find_map(|row| row(facts)) {
        return Some(row);
    }
    if facts.sight.view().is_none() {
        return not_observed(facts);
    }
    let rows = [stale, suspended, progressing, conflict, contested, failed];
    Some(rows.iter().find_map(|row| row(facts)).unwrap_or_else(|| ready(facts)))
}

/// When time alone leads to another row.
pub(super) fn next_row(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let timings = facts.ledger.timings();
    let conflict = facts.ledger.conflict_since(&facts.group.uid).map(|since| after(since, timings.missing_grace));
    let deletion = deletion::next_step(facts);
    [conflict, deletion].into_iter().flatten().filter(|&time| time > facts.now).min()
}

fn deleting(facts: &Facts<'_, '_>) -> Option<Row> {
    facts.group.deleting?;
    let (done, all) = (facts.tally.ready + facts.tally.missing + facts.tally.not_found, facts.group.owned.len());
    let message = match facts.sight.trouble() {
        _ if all == 0 || done == all => "nothing is left to stop".to_owned(),
        Some(trouble) => {
            format!("stopping its tasks before it goes: {done} of {all} stopped; {}", trouble.problem.message())
        }
        None => format!("stopping its tasks before it goes: {done} of {all} stopped"),
    };
    Some(Row { ready: ConditionStatus::False, reason: reasons::DELETING, message, motion: Motion::Reconciling })
}

fn unreadable(facts: &Facts<'_, '_>) -> Option<Row> {
    let error = facts.group.unreadable.as_ref()?;
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::SPEC_INVALID,
        message: format!("the stored spec cannot be read ({error}): apply it again in the form of this version"),
        motion: Motion::Stalled,
    })
}

fn missing_reference(facts: &Facts<'_, '_>) -> Option<Row> {
    let trouble = facts.sight.trouble().filter(|trouble| trouble.problem.severity() == Severity::Missing)?;
    Some(unknown(trouble, instance_says(facts, trouble), Motion::Reconciling))
}

fn refused(facts: &Facts<'_, '_>) -> Option<Row> {
    let refused = |trouble: &&Trouble| {
        trouble.problem.severity() == Severity::Refused
            && facts.now >= after(trouble.since, facts.ledger.timings().refused_grace)
    };
    // Calls that are refused for the whole instance matter only to groups that need calls.
    let trouble = facts.sight.trouble().filter(refused).or_else(|| blocked(facts).filter(refused))?;
    Some(unknown(trouble, instance_says(facts, trouble), Motion::Stalled))
}

fn not_observed(facts: &Facts<'_, '_>) -> Option<Row> {
    let known = facts.group.status.conditions.iter().any(|c| c.type_ == types::READY);
    match facts.sight.trouble() {
        // After a restart the old status stands until the first look succeeds or fails for long.
        Some(trouble) if known && facts.group.acknowledged() => {
            is_stale(facts, trouble).then(|| stale_row(facts, trouble))
        }
        None if known && facts.group.acknowledged() => None,
        trouble => Some(Row {
            ready: ConditionStatus::Unknown,
            reason: reasons::NOT_OBSERVED,
            message: trouble.map_or_else(
                || "the tasks have not been looked at yet".to_owned(),
                |trouble| format!("the tasks have not been looked at yet: {}", trouble.problem.message()),
            ),
            motion: Motion::Reconciling,
        }),
    }
}

fn stale(facts: &Facts<'_, '_>) -> Option<Row> {
    let trouble = facts.sight.trouble().filter(|trouble| is_stale(facts, trouble))?;
    Some(stale_row(facts, trouble))
}

fn is_stale(facts: &Facts<'_, '_>, trouble: &Trouble) -> bool {
    let timings = facts.ledger.timings();
    trouble.times >= timings.stale_looks && facts.now >= after(trouble.first, timings.stale_grace)
}

fn stale_row(facts: &Facts<'_, '_>, trouble: &Trouble) -> Row {
    Row {
        ready: ConditionStatus::Unknown,
        reason: reasons::OBSERVATION_STALE,
        message: format!("what is known of the tasks is out of date: {}", instance_says(facts, trouble)),
        motion: Motion::Reconciling,
    }
}

fn suspended(facts: &Facts<'_, '_>) -> Option<Row> {
    let who = match (facts.group.suspended, facts.desired.instance_suspended()) {
        (true, _) => "the group",
        (false, true) => "its FdiInstance",
        (false, false) => return None,
    };
    let all = facts.tally.ready == facts.tally.total;
    let counts = in_state(facts);
    Some(Row {
        ready: if all { ConditionStatus::True } else { ConditionStatus::False },
        reason: if all { reasons::TASKS_IN_DESIRED_STATE } else { reasons::SUSPENDED },
        message: format!("{counts}; {who} is suspended, so no call is sent"),
        motion: Motion::Resting,
    })
}

fn progressing(facts: &Facts<'_, '_>) -> Option<Row> {
    let tally = &facts.tally;
    let young_conflict = facts
        .ledger
        .conflict_since(&facts.group.uid)
        .is_some_and(|since| tally.conflicting > 0 && facts.now < after(since, facts.ledger.timings().missing_grace));
    if tally.pending() == 0 && !young_conflict {
        return None;
    }
    let action = facts.group.wish.action();
    let parts = [
        (tally.unseen, "not looked at yet".to_owned()),
        (tally.calls_due, format!("waiting for {action}")),
        (tally.settling, format!("told to {action} and settling")),
        (tally.contrary, "waiting until an earlier call can no longer act".to_owned()),
        (tally.retrying, "to be tried again".to_owned()),
        (tally.missing, "not in the list of the instance".to_owned()),
        (if young_conflict { tally.conflicting } else { 0 }, "owned by another group".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut message = format!("{}: {}", in_state(facts), parts.join(", "));
    if let Some(trouble) = blocked(facts) {
        message = format!("{message}; no call can be sent now: {}", trouble.problem.message());
    }
    Some(Row { ready: ConditionStatus::False, reason: reasons::PROGRESSING, message, motion: Motion::Reconciling })
}

fn conflict(facts: &Facts<'_, '_>) -> Option<Row> {
    let conflicts = &facts.group.conflicting;
    let (_, owner) = conflicts.first()?;
    let mut owners: Vec<&str> = conflicts.iter().map(|(_, owner)| owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    let named = if owners.len() > 3 { format!("{} and {} more", owner, owners.len() - 1) } else { owners.join(", ") };
    let ids = sample(conflicts.iter().map(|(id, _)| id.as_str()));
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_CONFLICT,
        message: format!(
            "{} of {} tasks are owned by the older FdiTaskGroup {named} ({ids}): list each task in one group only",
            conflicts.len(),
            facts.tally.total
        ),
        motion: Motion::Stalled,
    })
}

fn contested(facts: &Facts<'_, '_>) -> Option<Row> {
    if facts.tally.contested == 0 {
        return None;
    }
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_CONTESTED,
        message: format!(
            "{} tasks are switched back by somebody else again and again; they are corrected only every {} min now: \
             find out who, or drop them from the group",
            facts.tally.contested,
            facts.ledger.timings().slow_retry.as_secs() / 60
        ),
        motion: Motion::Stalled,
    })
}

fn failed(facts: &Facts<'_, '_>) -> Option<Row> {
    if facts.tally.failed == 0 {
        return None;
    }
    let codes = super::failures::codes(facts);
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::TASKS_FAILED,
        message: format!(
            "{} of {} tasks failed ({codes}); status.failures says why and what to do",
            facts.tally.failed, facts.tally.total
        ),
        motion: Motion::Stalled,
    })
}

fn ready(facts: &Facts<'_, '_>) -> Row {
    Row {
        ready: ConditionStatus::True,
        reason: reasons::TASKS_IN_DESIRED_STATE,
        message: in_state(facts),
        motion: Motion::Resting,
    }
}

fn unknown(trouble: &Trouble, message: String, motion: Motion) -> Row {
    Row { ready: ConditionStatus::Unknown, reason: trouble.problem.reason(), message, motion }
}

/// Why calls that are due cannot be sent, when that is so.
pub(super) fn blocked<'a>(facts: &Facts<'_, 'a>) -> Option<&'a Trouble> {
    let wanted = facts.tally.calls_due + facts.tally.retrying > 0 && !facts.suspended();
    facts.sight.trouble().or(facts.sight.call_trouble()).filter(|_| wanted)
}

fn in_state(facts: &Facts<'_, '_>) -> String {
    let Facts { group, tally, .. } = facts;
    let repeated = match group.duplicates {
        0 => String::new(),
        1 => " (1 duplicate ID in taskIds counted once)".to_owned(),
        n => format!(" ({n} duplicate IDs in taskIds counted once)"),
    };
    format!("{}/{} tasks {}{repeated}", tally.ready, tally.total, group.wish)
}

fn instance_says(facts: &Facts<'_, '_>, trouble: &Trouble) -> String {
    let name = &facts.group.object.spec.instance_ref.name;
    format!("FdiInstance {name}: {}", trouble.problem.message())
}

fn sample<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut ids = ids.peekable();
    let first: Vec<&str> = ids.by_ref().take(3).collect();
    let more = ids.count();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}
