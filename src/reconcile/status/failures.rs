//! `status.failures`: the tasks that could not be started or stopped, failed longest first, bounded
//! in number and size.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::bounded;
use super::facts::{Facts, TASK_NAME_MAX};
use crate::crd::{TaskFailure, failure_codes, whole_seconds};
use crate::fdi::TaskId;
use crate::fdi::text::{listed, truncate};
use crate::reconcile::ledger::phase::{FailedReason, PendingReason, Phase};
use crate::reconcile::ledger::task::Failure;
use crate::reconcile::selection::{NameProblem, UnresolvedName};

/// Most failures in a status.
const FAILURES_MAX: usize = 100;
/// Most bytes of JSON for them, whatever the texts are made of.
const BYTES_MAX: usize = 60 * 1024;
const MESSAGE_MAX: usize = 256;
const CODE_MAX: usize = 64;
/// Most tasks that the message of a failure names.
const TASKS_NAMED: usize = 2;
/// Most codes that the condition's message names.
const CODES_NAMED: usize = 4;

/// The failures to show, and how many more there are.
pub(super) fn list(facts: &Facts<'_, '_>) -> (Vec<TaskFailure>, usize) {
    let mut all = every(facts);
    all.sort_by(|(a_since, a), (b_since, b)| {
        (a_since, &a.task_id, &a.task_name).cmp(&(b_since, &b.task_id, &b.task_name))
    });
    let total = all.len();
    let shown = bounded::first(all.into_iter().map(|(_, failure)| failure), FAILURES_MAX, BYTES_MAX);
    let omitted = total - shown.len();
    (shown, omitted)
}

/// The codes of failed tasks with how often each occurs, most frequent first, for the condition's
/// message.
pub(super) fn codes(facts: &Facts<'_, '_>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    if facts.tally.not_found > 0 {
        counts.insert(failure_codes::TASK_NOT_FOUND, facts.tally.not_found);
    }
    if facts.tally.ambiguous > 0 {
        counts.insert(failure_codes::TASK_NAME_AMBIGUOUS, facts.tally.ambiguous);
    }
    let refused = facts.assessments.iter().filter(|(_, a)| a.phase == Phase::Failed(FailedReason::Refused));
    for failure in refused.filter_map(|(id, _)| facts.state.ledger.failure(id)) {
        *counts.entry(failure.code.as_str()).or_default() += 1;
    }
    if !facts.group.invalid.is_empty() {
        counts.insert(failure_codes::INVALID_TASK_ID, facts.group.invalid.len());
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(code, n)| (Reverse(n), code));
    let shown: Vec<String> = counts.iter().take(CODES_NAMED).map(|(code, n)| format!("{n}× {code}")).collect();
    if counts.len() > CODES_NAMED { format!("{} …", shown.join(", ")) } else { shown.join(", ") }
}

/// Every failure with since when it fails.
fn every(facts: &Facts<'_, '_>) -> Vec<(Timestamp, TaskFailure)> {
    let action = facts.group.run_state.action().as_str();
    let mut all = Vec::new();
    for text in &facts.group.invalid {
        let message = "must have 1 to 64 characters out of A-Z, a-z, 0-9, '_' and '-': correct or remove it";
        all.push((Timestamp::MIN, untried((text, ""), action, failure_codes::INVALID_TASK_ID, message)));
    }
    let names = facts.names.iter().filter(|(_, assessment)| matches!(assessment.phase, Phase::Failed(_)));
    all.extend(names.map(|(name, _)| unresolved(name, action)));
    for (id, assessment) in &facts.assessments {
        if assessment.phase == Phase::Failed(FailedReason::NotFound) {
            let message =
                "the instance does not list this task: correct the ID, create the task, or remove it from taskIds";
            let since = facts.state.ledger.missing_since(id).unwrap_or(facts.now);
            all.push((since, untried((id.as_str(), ""), action, failure_codes::TASK_NOT_FOUND, message)));
            continue;
        }
        let hidden = matches!(assessment.phase, Phase::Ready | Phase::Pending(PendingReason::Listing));
        let Some(failure) = facts.state.ledger.failure(id).filter(|_| !hidden) else { continue };
        let name = facts.task(id).map_or(failure.name.as_str(), |task| &*task.name);
        all.push((failure.since, tried(facts, id.as_str(), name, failure)));
    }
    all
}

/// A name that stands for no task.
fn unresolved(name: &UnresolvedName, action: &str) -> (Timestamp, TaskFailure) {
    match &name.problem {
        NameProblem::NotFound(missing) => {
            let message = "no task of the instance has this name: correct it, create the task, or remove it from \
                           taskNames";
            (missing.since, untried(("", &name.name), action, failure_codes::TASK_NOT_FOUND, message))
        }
        NameProblem::Ambiguous { tasks, since } => {
            let message = format!(
                "{} tasks have this name ({}), so none of them is started or stopped: rename one, or list the ID that \
                 you mean in taskIds",
                tasks.len(),
                listed(tasks.iter().map(TaskId::as_str), TASKS_NAMED)
            );
            (*since, untried(("", &name.name), action, failure_codes::TASK_NAME_AMBIGUOUS, &message))
        }
    }
}

/// A failure for which no call was sent.
fn untried((id, name): (&str, &str), action: &str, code: &str, message: &str) -> TaskFailure {
    TaskFailure {
        task_id: truncate(id, 64),
        task_name: truncate(name, TASK_NAME_MAX),
        action: action.to_owned(),
        code: code.to_owned(),
        message: truncate(message, MESSAGE_MAX),
        attempts: 0,
        next_attempt_time: None,
    }
}

fn tried(facts: &Facts<'_, '_>, id: &str, name: &str, failure: &Failure) -> TaskFailure {
    let next = (!failure.is_exhausted(&facts.state.timings)).then_some(failure.next_attempt);
    TaskFailure {
        task_id: truncate(id, 64),
        task_name: truncate(name, TASK_NAME_MAX),
        action: failure.action.as_str().to_owned(),
        code: truncate(failure.code.as_str(), CODE_MAX),
        message: truncate(&failure.message, MESSAGE_MAX),
        attempts: i32::try_from(failure.attempts).unwrap_or(i32::MAX).min(1_000_000),
        next_attempt_time: next.map(|time| Time(whole_seconds(time))),
    }
}
