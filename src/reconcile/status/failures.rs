//! `status.failures`: the tasks that could not be moved, failed longest first, bounded in number and size.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Facts;
use crate::crd::{TaskFailure, cut, whole_seconds};
use crate::reconcile::ledger::{Bucket, FailedFor, PendingFor, codes};

/// Most failures in a status.
pub(super) const FAILURES_MAX: usize = 100;
/// Most bytes of JSON for them, so that a whole status stays under 96 KiB whatever the texts are made of.
const BYTES_MAX: usize = 80 * 1024;
const MESSAGE_MAX: usize = 256;
const NAME_MAX: usize = 128;
const CODE_MAX: usize = 64;

/// The failures to show, and how many more there are.
pub(super) fn list(facts: &Facts<'_, '_>) -> (Vec<TaskFailure>, usize) {
    let mut all = every(facts);
    all.sort_by(|(a_since, a), (b_since, b)| (a_since, &a.task_id).cmp(&(b_since, &b.task_id)));
    let total = all.len();
    let mut bytes = 0;
    let shown: Vec<TaskFailure> = all
        .into_iter()
        .map(|(_, failure)| failure)
        .take(FAILURES_MAX)
        .take_while(|failure| {
            bytes += serde_json::to_vec(failure).map_or(0, |json| json.len() + 1);
            bytes <= BYTES_MAX
        })
        .collect();
    let omitted = total - shown.len();
    (shown, omitted)
}

/// The codes of failed tasks with how often each occurs, most frequent first, for the condition's message.
pub(super) fn codes(facts: &Facts<'_, '_>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    if facts.tally.not_found > 0 {
        counts.insert(codes::TASK_NOT_FOUND.to_owned(), facts.tally.not_found);
    }
    for (id, _) in facts.standings.iter().filter(|(_, s)| s.bucket == Bucket::Failed(FailedFor::Refused)) {
        if let Some(failure) = facts.ledger.failure(id) {
            *counts.entry(failure.code.clone()).or_default() += 1;
        }
    }
    if !facts.group.invalid.is_empty() {
        counts.insert(codes::INVALID_TASK_ID.to_owned(), facts.group.invalid.len());
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(code, n)| (std::cmp::Reverse(*n), code.clone()));
    let shown: Vec<String> = counts.iter().take(4).map(|(code, n)| format!("{n}× {code}")).collect();
    if counts.len() > 4 { format!("{} …", shown.join(", ")) } else { shown.join(", ") }
}

fn every(facts: &Facts<'_, '_>) -> Vec<(Timestamp, TaskFailure)> {
    let timings = facts.ledger.timings();
    let action = facts.group.wish.action().as_str();
    let mut all = Vec::new();
    for text in &facts.group.invalid {
        let message = "must have 1 to 64 characters out of A-Z, a-z, 0-9, '_' and '-': correct or remove it";
        all.push((Timestamp::MIN, failure(text, "", action, codes::INVALID_TASK_ID, message, 0, None)));
    }
    for (id, standing) in &facts.standings {
        if standing.bucket == Bucket::Failed(FailedFor::NotFound) {
            let message =
                "the instance does not list this task: correct the ID, create the task, or remove it from taskIds";
            let since = facts.ledger.missing_since(id).unwrap_or(facts.now);
            all.push((since, failure(id.as_str(), "", action, codes::TASK_NOT_FOUND, message, 0, None)));
            continue;
        }
        let waits_unseen = matches!(standing.bucket, Bucket::Ready | Bucket::Pending(PendingFor::Appearance));
        let Some(found) = facts.ledger.failure(id).filter(|_| !waits_unseen) else { continue };
        let name = facts.sight.view().and_then(|view| view.task(id)).map_or(found.name.as_str(), |task| &*task.name);
        let next = (!found.is_spent(timings)).then_some(found.next);
        let entry = failure(id.as_str(), name, &found.action, &found.code, &found.message, found.attempts, next);
        all.push((found.since, entry));
    }
    all
}

fn failure(
    id: &str,
    name: &str,
    action: &str,
    code: &str,
    message: &str,
    attempts: u32,
    next: Option<Timestamp>,
) -> TaskFailure {
    TaskFailure {
        task_id: cut(id, 64),
        task_name: cut(name, NAME_MAX),
        action: cut(action, 16),
        code: cut(code, CODE_MAX),
        message: cut(message, MESSAGE_MAX),
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX).min(1_000_000),
        next_attempt_time: next.map(|time| Time(whole_seconds(time))),
    }
}
