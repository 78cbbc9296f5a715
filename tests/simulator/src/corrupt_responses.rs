//! Corrupts answers, so that they no longer say what the service did: IDs missing, added, repeated or
//! in both lists, counts that are wrong.

use std::sync::Arc;

use crate::fault::Effect;
use crate::task::{NewTasks, Task};
use crate::wire::{BatchAnswer, BriefTask, ListAnswer, TaskFacade};

/// Changes a batch answer as the fault asks.
pub(crate) fn corrupt_batch(answer: &mut BatchAnswer, effect: &Effect) {
    match effect {
        Effect::MissingIds { count } => {
            let of_success = (*count).min(answer.success.len());
            answer.success.drain(..of_success);
            answer.failure.drain(..(count - of_success).min(answer.failure.len()));
        }
        Effect::ExtraIds { ids } => {
            for id in ids {
                answer.success.push(TaskFacade {
                    task_id: Arc::from(id.as_str()),
                    task_name: None,
                    error_code: String::new(),
                    error_msg: String::new(),
                });
                answer.success_count += 1;
            }
        }
        Effect::TwiceIds { count } => {
            let again: Vec<_> = answer.success.iter().take(*count).cloned().collect();
            answer.success.extend(again);
        }
        Effect::BothLists { count } => {
            let again: Vec<_> = answer.success.iter().take(*count).cloned().collect();
            answer.failure.extend(again.into_iter().map(|mut task| {
                "FDI.9999".clone_into(&mut task.error_code);
                "Network error.".clone_into(&mut task.error_msg);
                task
            }));
        }
        Effect::WrongCounts { success, failure } => {
            answer.success_count += success;
            answer.failure_count += failure;
        }
        _ => {}
    }
}

/// Changes a list answer as the fault asks.
pub(crate) fn corrupt_list(answer: &mut ListAnswer, effect: &Effect) {
    match effect {
        Effect::MissingIds { count } => {
            answer.entities.drain(..(*count).min(answer.entities.len()));
        }
        Effect::ExtraIds { ids } => {
            for id in ids {
                let new = NewTasks { running: true, ..NewTasks::default() };
                let task = Task::new(Arc::from(id.as_str()), format!("extra-{id}"), &new, 0);
                answer.entities.push(BriefTask::new(&task, ""));
                answer.total += 1;
                answer.size += 1;
            }
        }
        Effect::TwiceIds { count } => {
            let again: Vec<_> = answer.entities.iter().take(*count).cloned().collect();
            answer.entities.extend(again);
        }
        Effect::WrongCounts { success, failure } => {
            answer.total += success;
            answer.size += failure;
        }
        _ => {}
    }
}
