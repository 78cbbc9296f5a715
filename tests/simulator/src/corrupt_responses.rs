//! Corrupts answers, so that they no longer say what the service did: IDs missing, added, repeated
//! or in both lists, counts that are wrong.

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

/// The body of a list answer, with the entries changed that faults change in a way that the types
/// of the wire can't hold.
pub(crate) fn list_body(answer: &ListAnswer, effects: &[(u64, Effect)]) -> serde_json::Result<Vec<u8>> {
    let of_entries = |effect: &Effect| {
        matches!(effect, Effect::EntryField { .. } | Effect::EntryRaw { .. } | Effect::EntryRepeats { .. })
    };
    if !effects.iter().any(|(_, effect)| of_entries(effect)) {
        return serde_json::to_vec(answer);
    }
    let mut body = format!(r#"{{"total":{},"size":{},"entities":["#, answer.total, answer.size).into_bytes();
    for (at, entry) in answer.entities.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let mut fields = raw_fields(entry)?;
        for (_, effect) in effects {
            corrupt_entry(&mut fields, &entry.task_id, effect);
        }
        write_object(&mut body, &fields);
    }
    body.extend(b"]}");
    Ok(body)
}

/// A field's name and the bytes of its value.
type RawField = (String, Vec<u8>);

fn raw_fields(entry: &BriefTask) -> serde_json::Result<Vec<RawField>> {
    let fields = serde_json::to_value(entry)?;
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(name, value)| Ok((name.clone(), serde_json::to_vec(value)?))).collect()
}

fn corrupt_entry(fields: &mut Vec<RawField>, id: &str, effect: &Effect) {
    let here = |entry: &Option<String>| entry.as_deref().is_none_or(|entry| entry == id);
    match effect {
        Effect::EntryField { entry, field, value } if here(entry) => {
            set_field(fields, field, value.to_string().into_bytes());
        }
        Effect::EntryRaw { entry, field, raw } if here(entry) => {
            // Characters beyond U+00FF stand for no byte.
            set_field(fields, field, raw.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect());
        }
        Effect::EntryRepeats { entry, field, value } if here(entry) => {
            fields.push((field.clone(), value.to_string().into_bytes()));
        }
        _ => {}
    }
}

fn set_field(fields: &mut Vec<RawField>, name: &str, value: Vec<u8>) {
    match fields.iter_mut().find(|(field, _)| field == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name.to_owned(), value)),
    }
}

fn write_object(body: &mut Vec<u8>, fields: &[RawField]) {
    body.push(b'{');
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend(serde_json::Value::from(name.as_str()).to_string().into_bytes());
        body.push(b':');
        body.extend(value);
    }
    body.push(b'}');
}
