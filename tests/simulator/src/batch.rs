//! `BatchStartOrStopTasks`: checks a batch, decides for each task, and answers.

use std::sync::Arc;

use crate::clock::Millis;
use crate::log::Told;
use crate::policy::{AlreadyThere, ApplyBeforeError, DuplicateIds, JudgedState, MissingPlan, Policies, UnknownId};
use crate::task::{Action, Objection, Task, TaskType};
use crate::wire::{BatchAnswer, OperateTasks, Refusal, TaskFacade};
use crate::world::Instance;

/// Most IDs of one call (API page of 2025; the definition file says 9999).
const MAX_IDS: usize = 10;
/// Longest task ID (API definition).
const MAX_ID_LENGTH: usize = 64;

/// The batch, as far as it can be read, for the log: nothing has been checked yet.
pub(crate) fn peek(body: &[u8]) -> (Option<Action>, Vec<Arc<str>>) {
    let read = OperateTasks::read(body, &Policies::default()).unwrap_or_default();
    (read.action_id.as_deref().and_then(action), read.list.into_iter().flatten().collect())
}

fn action(text: &str) -> Option<Action> {
    match text {
        "start" => Some(Action::Start),
        "stop" => Some(Action::Stop),
        _ => None,
    }
}

/// Makes the documented checks, in this order.
fn checked(body: &[u8], policies: &Policies) -> Result<(Action, Vec<Arc<str>>), Refusal> {
    let read = OperateTasks::read(body, policies)?;
    let action = read.action_id.as_deref().and_then(action).ok_or_else(|| Refusal::invalid_parameter("action_id"))?;
    let list = read.list;
    if list.is_empty() {
        return Err(Refusal::fdi(400, "FDI.3150", "The task list is empty."));
    }
    if list.len() > MAX_IDS {
        return Err(Refusal::invalid());
    }
    let ids: Option<Vec<Arc<str>>> = list.into_iter().map(|id| id.filter(|id| !id.is_empty())).collect();
    let ids = ids.ok_or_else(|| Refusal::fdi(400, "FDI.3022", "One or more tasks have empty task IDs."))?;
    if ids.iter().any(|id| id.chars().count() > MAX_ID_LENGTH) {
        return Err(Refusal::invalid_parameter("task_id"));
    }
    let repeated = ids.iter().enumerate().any(|(i, id)| ids[..i].contains(id));
    if repeated && policies.duplicate_ids == DuplicateIds::WholeRequest {
        return Err(Refusal::invalid());
    }
    Ok((action, ids))
}

/// What a batch did, and the answer.
#[derive(Debug)]
pub(crate) struct Done {
    pub answer: Result<BatchAnswer, Refusal>,
    /// The outcome of each ID; empty when the request was refused as a whole.
    pub told: Vec<Told>,
    /// The IDs whose command was accepted.
    pub applied: Vec<Arc<str>>,
}

/// The decision for one ID.
enum Decision {
    Accept,
    /// Already in that state: success without a command.
    Leave,
    Item(&'static str, &'static str),
    OwnItem(String, String),
    Whole(Refusal),
}

/// Performs a batch.
pub(crate) fn operate(instance: &mut Instance, policies: &Policies, body: &[u8], now: Millis) -> Done {
    let (action, ids) = match checked(body, policies) {
        Ok(checked) => checked,
        Err(refusal) => return refused(refusal, Vec::new()),
    };
    if let Some(refusal) = &instance.refuses_batches {
        return refused(refusal.clone(), Vec::new());
    }
    let mut decisions = Vec::with_capacity(ids.len());
    for id in &ids {
        let decision = judge(instance.task_mut(id), action, policies);
        let stop = matches!(decision, Decision::Whole(_));
        decisions.push((id, decision));
        if stop && policies.apply_before_error != ApplyBeforeError::AllButRefused {
            break;
        }
    }
    let refusal = decisions.iter().find_map(|(_, decision)| match decision {
        Decision::Whole(refusal) => Some(refusal.clone()),
        _ => None,
    });
    let mut applied = Vec::new();
    if refusal.is_none() || policies.apply_before_error != ApplyBeforeError::None {
        for (id, _) in decisions.iter().filter(|(_, decision)| matches!(decision, Decision::Accept)) {
            if let Some(task) = instance.task_mut(id) {
                task.command(action.running(), now, policies);
                applied.push(Arc::clone(id));
            }
        }
    }
    if let Some(refusal) = refusal {
        return refused(refusal, applied);
    }
    let mut answer = BatchAnswer::default();
    let mut told = Vec::with_capacity(ids.len());
    for (id, decision) in decisions {
        let (code, message) = match decision {
            Decision::Accept | Decision::Leave | Decision::Whole(_) => (String::new(), String::new()),
            Decision::Item(code, message) => (code.to_owned(), message.to_owned()),
            Decision::OwnItem(code, message) => (code, message),
        };
        let failed = !code.is_empty();
        told.push(Told { id: id.clone(), error_code: failed.then(|| code.clone()) });
        let task_name = instance.task(id).map(|task| task.name.clone());
        let facade = TaskFacade { task_id: id.clone(), task_name, error_code: code, error_msg: message };
        if failed {
            answer.failure.push(facade);
            answer.failure_count += 1;
        } else {
            answer.success.push(facade);
            answer.success_count += 1;
        }
    }
    Done { answer: Ok(answer), told, applied }
}

fn refused(refusal: Refusal, applied: Vec<Arc<str>>) -> Done {
    Done { answer: Err(refusal), told: Vec::new(), applied }
}

fn judge(task: Option<&mut Task>, action: Action, policies: &Policies) -> Decision {
    let Some(task) = task else {
        return match policies.unknown_id {
            UnknownId::Whole400 => Decision::Whole(Refusal::fdi(400, "FDI.3021", "One or more tasks do not exist.")),
            UnknownId::Whole404 => Decision::Whole(Refusal::fdi(404, "FDI.3081", "The task does not exist.")),
            UnknownId::FailureItem => Decision::Item("FDI.3081", "The task does not exist."),
        };
    };
    match task.objection(action) {
        Some(Objection::NoSchedulePlan) => {
            let (code, message) = ("FDI.3083", "One or more scheduled tasks are not configured with scheduled plans.");
            match policies.missing_plan {
                MissingPlan::WholeRequest => Decision::Whole(Refusal::fdi(404, code, message)),
                MissingPlan::FailureItem => Decision::Item(code, message),
            }
        }
        Some(Objection::Refuses { code, message }) => Decision::OwnItem(code, message),
        Some(Objection::Poison { status, code, message }) => Decision::Whole(Refusal::fdi(status, &code, &message)),
        None if judged_running(task, policies) != action.running() => Decision::Accept,
        None => {
            let (policy, code, message) = match (action, task.kind) {
                (Action::Start, _) => (policies.start_running, "FDI.3023", "One or more tasks are running."),
                (Action::Stop, TaskType::Realtime) => {
                    (policies.stop_stopped, "FDI.3019", "Failed to stop the real-time task.")
                }
                (Action::Stop, TaskType::Timing) => {
                    (policies.stop_stopped, "FDI.3020", "Failed to stop the scheduled task.")
                }
            };
            match policy {
                AlreadyThere::Success => Decision::Leave,
                AlreadyThere::FailureItem => Decision::Item(code, message),
                AlreadyThere::WholeRequest => Decision::Whole(Refusal::fdi(400, code, message)),
            }
        }
    }
}

fn judged_running(task: &Task, policies: &Policies) -> bool {
    match policies.judged_state {
        JudgedState::Target => task.target(),
        JudgedState::Shown => task.running,
    }
}
