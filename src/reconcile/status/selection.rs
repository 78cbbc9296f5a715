//! What the status says about the tasks that names and the selector choose.

use jiff::Timestamp;

use super::facts::{Facts, count};
use super::row::{Progress, Row};
use crate::crd::{ConditionStatus, SelectionStatus, event_actions, event_reasons, reasons};
use crate::fdi::TaskId;
use crate::fdi::text::{counted, listed};
use crate::k8s::events::EventType;
use crate::k8s::status_writer::update::StatusEvent;
use crate::reconcile::selection::Selection;
use crate::time::backoff::add;

/// Most tasks that an event names.
const TASKS_NAMED: usize = 5;

/// `status.selection`. While a second list is to confirm the first one after a restart, what was
/// reported before stays.
pub(super) fn status(facts: &Facts<'_, '_>) -> Option<Box<SelectionStatus>> {
    let group = facts.group;
    match &group.selection {
        Some(selection) if !selection.unconfirmed => Some(Box::new(SelectionStatus {
            matched: count(selection.matched()),
            overridden: count(group.overridden),
            digest: selection.digest.clone(),
        })),
        None if !group.object.spec.chooses_from_list() => None,
        _ => group.status.selection.clone(),
    }
}

/// The selector matches more tasks than it may.
pub(super) fn too_large(facts: &Facts<'_, '_>) -> Option<Row> {
    let matched = facts.group.selection.as_ref()?.too_large?;
    let most = facts.group.object.spec.selector.as_ref()?.max_tasks.get();
    let others = if facts.tally.total > 0 { " by it" } else { "" };
    let message = if matched > most {
        format!(
            "spec.selector matches {matched} tasks, more than its maxTasks ({most}), so nothing is started or \
             stopped{others}: make it narrower, or raise maxTasks"
        )
    } else {
        format!(
            "spec.selector matches {matched} tasks, more than all groups of the FdiInstance may still choose, so \
             nothing is started or stopped{others}: make the selectors narrower"
        )
    };
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::SELECTION_TOO_LARGE,
        message,
        progress: Progress::Stalled,
    })
}

/// The selector matches nothing, and nothing else is listed.
pub(super) fn empty(facts: &Facts<'_, '_>) -> Option<Row> {
    let since = empty_since(facts)?;
    let minutes = facts.state.timings.missing_grace.as_secs() / 60;
    let (progress, then) = if facts.now >= add(since, facts.state.timings.missing_grace) {
        (Progress::Stalled, String::new())
    } else {
        (Progress::Reconciling, format!("; this counts as stalled after {minutes} min"))
    };
    Some(Row {
        ready: ConditionStatus::False,
        reason: reasons::NO_TASKS_SELECTED,
        message: format!(
            "spec.selector matches no task of the instance: correct it, or create the tasks; a task that matches is \
             taken in with the next list{then}"
        ),
        progress,
    })
}

fn empty_since(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let since = facts.group.selection.as_ref()?.empty_since?;
    (facts.group.object.spec.task_ids.is_empty() && facts.group.owned.is_empty()).then_some(since)
}

/// When time alone changes the row, or a list is due that may.
pub(super) fn next_transition(facts: &Facts<'_, '_>) -> Option<Timestamp> {
    let timings = &facts.state.timings;
    let stalls = empty_since(facts).map(|since| add(since, timings.missing_grace));
    let list = facts.state.observation.list().filter(|_| facts.selection_unconfirmed());
    let second = list.map(|list| add(list.requested_at, timings.confirm_missing));
    [stalls, second].into_iter().flatten().filter(|&time| time > facts.now).min()
}

/// Tasks came or went.
pub(super) fn event(facts: &Facts<'_, '_>) -> Option<StatusEvent> {
    let selection = facts.group.selection.as_ref().filter(|selection| !selection.unconfirmed)?;
    let before = facts.group.status.selection.as_ref();
    if before.map_or(selection.matched() == 0, |before| before.digest == selection.digest) {
        return None;
    }
    Some(StatusEvent {
        kind: EventType::Normal,
        reason: event_reasons::SELECTION_CHANGED,
        action: event_actions::OBSERVE,
        message: describe(facts, selection, before.is_some()),
    })
}

fn describe(facts: &Facts<'_, '_>, selection: &Selection, known: bool) -> String {
    let all = selection.matched();
    let name = |id: &TaskId| facts.task(id).map_or_else(|| id.as_str().to_owned(), |task| task.name.to_string());
    let names = |ids: &[TaskId]| listed(ids.iter().map(name), TASKS_NAMED);
    let change = &selection.change;
    let parts = [(&change.added, "chosen in addition"), (&change.removed, "chosen no longer")];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(ids, _)| !ids.is_empty())
        .map(|(ids, what)| format!("{} {what}: {}", counted(ids.len(), "task"), names(ids)))
        .collect();
    if known && change.added.len() < all {
        format!("{}; {} in all", parts.join("; "), counted(all, "task"))
    } else {
        format!("{} chosen: {}", counted(all, "task"), names(&change.added))
    }
}
