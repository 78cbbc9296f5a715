//! Any response of the service through every decoder: no panic, and always a class, or exactly one
//! outcome for each ID.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use super::api::Outcome;
use super::auth::password;
use super::auth::sign_in::Method;
use super::batch::Batch;
use super::classify::{RequestContext, classify};
use super::error::CallError;
use super::json::mend;
use super::monitor_log;
use super::observer::Operation;
use super::task::{Action, Attributes, TaskId};
use super::text::Redactor;
use super::transport::HttpResponse;
use super::{batch_response, task_list};

/// HTTP status codes that a response may have.
const STATUS: [u16; 13] = [200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 599];

/// A status and a body. The first byte chooses the status.
pub fn response(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let (status, mut body) = (STATUS[usize::from(*first) % STATUS.len()], body.to_vec());
    mend(&mut body);
    let mut response = HttpResponse { status, body, ..HttpResponse::default() };
    response.headers.insert("x-subject-token", "T".parse().unwrap());
    let redactor = Redactor::new(vec!["s3cr3t-value".into()]);
    let context = |operation| RequestContext { operation, method: Method::Password, redactor: &redactor, tasks: 3 };

    match task_list::parse_page(&context(Operation::List), &response, Attributes::Keep, |_| None) {
        Ok(page) => {
            assert_eq!(status, 200);
            task_list::Listing::new(Attributes::Keep, None).add(page);
        }
        Err(error) => assert_sound(&error),
    }

    let ids: Vec<TaskId> = ["a", "b", "c"].iter().map(|&id| TaskId::new(id).unwrap()).collect();
    let batch = Batch::new(Action::Start, ids.clone()).unwrap();
    match batch_response::parse_response(&context(Operation::Start), &batch, &response) {
        Ok(answer) => {
            assert_eq!(status, 200);
            assert!(answer.outcomes.iter().map(|(id, _)| id).eq(&ids));
            for (id, outcome) in &answer.outcomes {
                let named = response.body.windows(3).any(|part| part == format!("\"{id}\"").as_bytes());
                assert!(named || *outcome == Outcome::Unknown, "{id} is not in the answer");
            }
        }
        Err(error) => assert_sound(&error),
    }

    match monitor_log::parse_cause(&context(Operation::MonitorLog), &response) {
        Ok(cause) => assert!(cause.is_none_or(|cause| cause.len() <= 256 && !cause.contains(char::is_control))),
        Err(error) => assert_sound(&error),
    }

    assert_sound(&classify(&context(Operation::SignIn), &response));
    assert!(password::token_in(&response).is_some());
}

fn assert_sound(error: &CallError) {
    assert!(error.message.len() <= 512 && !error.message.is_empty(), "{}", error.message);
    assert!(!error.code.is_empty() && error.code.len() <= 64);
    assert!(!error.message.chars().any(char::is_control));
}
