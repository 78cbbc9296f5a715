//! Reads the response to a batch call: exactly one outcome for each ID.

use crate::fdi::api::{BatchResponse, Outcome, Refusal};
use crate::fdi::batch::Batch;
use crate::fdi::classify::{RequestContext, classify, malformed_response, request_id};
use crate::fdi::error::{CallError, REFUSAL_MAX};
use crate::fdi::error_codes;
use crate::fdi::json::{Malformed, Scalar};
use crate::fdi::text::{Redactor, single_line, truncate};
use crate::fdi::transport::HttpResponse;
use crate::fdi::wire::{BatchEntry, BatchResult, ErrorBody};

const CODE_MAX: usize = 64;

/// Reads the response to `batch`.
///
/// # Errors
/// When the response is an error for the whole batch (HTTP 200 included), or malformed.
pub fn parse_response(
    context: &RequestContext<'_>,
    batch: &Batch,
    response: &HttpResponse,
) -> Result<BatchResponse, CallError> {
    if response.status != 200 {
        return Err(classify(context, response));
    }
    let Ok(result) = BatchResult::decode(&response.body) else {
        return Err(malformed_response(context, response, "its body is not the JSON of a batch response"));
    };
    let (success, failure) = (&result.success, &result.failure);
    if success.is_empty() && failure.is_empty() && !ErrorBody::find(&response.body).code.is_empty() {
        return Err(classify(context, response));
    }
    let trusted = adds_up(&result, success, failure) == Ok(true) && names_only(batch, success, failure);
    let outcomes = batch.ids().iter().map(|id| {
        let outcome = if trusted { outcome(id.as_str(), success, failure, context.redactor) } else { Outcome::Unknown };
        (id.clone(), outcome)
    });
    Ok(BatchResponse { outcomes: outcomes.collect(), request_id: request_id(&response.headers, context.redactor) })
}

/// Whether the counts, where present, match the lists. If they differ, entries are missing, and
/// nobody knows which.
fn adds_up(
    result: &BatchResult<'_>,
    success: &[BatchEntry<'_>],
    failure: &[BatchEntry<'_>],
) -> Result<bool, Malformed> {
    let success_count = result.success_count.count()?.unwrap_or(success.len());
    let failure_count = result.failure_count.count()?.unwrap_or(failure.len());
    Ok(success_count == success.len() && failure_count == failure.len())
}

/// Whether every entry is for a task of the batch. Otherwise this is the response to another
/// request.
fn names_only(batch: &Batch, success: &[BatchEntry<'_>], failure: &[BatchEntry<'_>]) -> bool {
    success.iter().chain(failure).all(|entry| batch.ids().iter().any(|id| entry.is_for(id.as_str())))
}

/// The one mention of `id` decides. No mention, or more than one, says nothing.
fn outcome(id: &str, success: &[BatchEntry<'_>], failure: &[BatchEntry<'_>], redactor: &Redactor) -> Outcome {
    let accepted = success.iter().filter(|entry| entry.is_for(id)).count();
    let mut refused = failure.iter().filter(|entry| entry.is_for(id));
    match (accepted, refused.next(), refused.next()) {
        (1, None, None) => Outcome::Accepted,
        (0, Some(entry), None) => Outcome::Refused(refusal(entry, redactor)),
        _ => Outcome::Unknown,
    }
}

fn refusal(entry: &BatchEntry<'_>, redactor: &Redactor) -> Refusal {
    let text = |scalar: &Scalar<'_>, max| single_line(&redactor.redact(&scalar.text().unwrap_or_default()), max);
    let code = text(&entry.error_code, CODE_MAX);
    let words = text(&entry.error_msg, REFUSAL_MAX);
    let permanent = error_codes::is_permanent(&code);
    let words = if words.is_empty() { "The service gave no reason." } else { &words };
    let advice = if code.is_empty() { "See the task in ROMA Connect." } else { error_codes::advice(&code) };
    // The advice helps most, so it stays whole; the service's words are truncated.
    let message = format!("{} {advice}", truncate(words, REFUSAL_MAX - advice.len() - 1));
    Refusal { code: if code.is_empty() { "NoCode".to_owned() } else { code }, message, permanent }
}

impl BatchEntry<'_> {
    fn is_for(&self, id: &str) -> bool {
        self.task_id.text().is_some_and(|text| text == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdi::auth::sign_in::Method;
    use crate::fdi::{Action, Class, Operation, TaskId};

    fn response_to(body: &str) -> Result<BatchResponse, CallError> {
        let ids = ["a", "b", "c"].map(|id| TaskId::new(id).unwrap()).to_vec();
        let response = HttpResponse { status: 200, body: body.as_bytes().to_vec(), ..HttpResponse::default() };
        let redactor = Redactor::new(Vec::new());
        let context =
            RequestContext { operation: Operation::Start, method: Method::Token, redactor: &redactor, tasks: 1 };
        parse_response(&context, &Batch::new(Action::Start, ids).unwrap(), &response)
    }

    /// One letter for each ID: Accepted, Refused, Unknown.
    fn letters(body: &str) -> String {
        let response = response_to(body).unwrap();
        let letter = |outcome: &Outcome| match outcome {
            Outcome::Accepted => 'A',
            Outcome::Refused(_) => 'R',
            Outcome::Unknown => 'U',
        };
        assert_eq!(response.outcomes.iter().map(|(id, _)| id.as_str()).collect::<String>(), "abc");
        response.outcomes.iter().map(|(_, outcome)| letter(outcome)).collect()
    }

    fn body(success: &[&str], failure: &[&str], success_count: usize, failure_count: usize) -> String {
        let list = |ids: &[&str]| ids.iter().map(|id| format!(r#"{{"task_id":"{id}"}}"#)).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"success_count":{success_count},"failure_count":{failure_count},"success":[{}],"failure":[{}]}}"#,
            list(success),
            list(failure)
        )
    }

    #[test]
    fn each_id_has_exactly_one_outcome_whatever_the_response_lists() {
        assert_eq!(letters(&body(&["a", "b", "c"], &[], 3, 0)), "AAA");
        assert_eq!(letters(&body(&["b"], &["c", "a"], 1, 2)), "RAR");
        assert_eq!(letters(&body(&["a"], &["b"], 1, 1)), "ARU", "in neither list");
        assert_eq!(letters(&body(&["a", "b"], &["b", "c"], 2, 2)), "AUR", "in both lists");
        assert_eq!(letters(&body(&["a", "a"], &["b", "b"], 2, 2)), "UUU", "twice");
        assert_eq!(letters(&body(&["a", "b", "c"], &[], 2, 0)), "UUU", "counts do not add up");
        assert_eq!(letters(&body(&["a"], &[], 1, 2)), "UUU", "counts do not add up");
        assert_eq!(letters(&body(&["a", "b", "c", "d"], &[], 4, 0)), "UUU", "a task of another batch");
        assert_eq!(letters(r#"{"success_count":3,"success":null}"#), "UUU");
        assert_eq!(letters(r#"{"success_count":-1,"success":[{"task_id":"a"}]}"#), "UUU");
        assert_eq!(letters(r#"{"success_count":[],"success":[{"task_id":"a"}]}"#), "UUU");
    }

    #[test]
    fn counts_may_be_missing_and_lists_null() {
        assert_eq!(letters(r#"{"success":[{"task_id":"a","error_code":""},{"task_id":"b"}],"failure":null}"#), "AAU");
        assert_eq!(letters("{}"), "UUU");
    }

    #[test]
    fn a_refusal_carries_code_message_remedy_and_whether_it_is_permanent() {
        let words = "One or more scheduled tasks are not configured with scheduled plans.";
        let response = response_to(&format!(
            r#"{{"failure":[{{"task_id":"a","error_code":"FDI.3083","error_msg":"{words}"}},
                {{"task_id":"b","error_code":"FDI.3026","error_msg":"{}"}},{{"task_id":"c"}}]}}"#,
            "集".repeat(400)
        ))
        .unwrap();
        let refusals: Vec<&Refusal> = response
            .outcomes
            .iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Refused(refusal) => refusal,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(refusals[0].message, format!("{words} Add a schedule plan to the task in ROMA Connect."));
        assert!(refusals[0].permanent && !refusals[1].permanent);
        assert!(refusals[1].message.len() <= 256 && refusals[1].message.ends_with("ROMA Connect."));
        assert_eq!(
            (refusals[2].code.as_str(), refusals[2].message.as_str()),
            ("NoCode", "The service gave no reason. See the task in ROMA Connect.")
        );
    }

    #[test]
    fn an_error_object_with_http_200_is_an_error() {
        assert_eq!(response_to(r#"{"error_code":"FDI.3083","error_msg":"x"}"#).unwrap_err().class, Class::Split);
        assert_eq!(response_to(r#"{"error_code":"ROMA.1002"}"#).unwrap_err().class, Class::SignIn);
        assert_eq!(
            response_to(r#"{"success":[],"failure":[],"code":404,"reason":{"error_code":"FDI.3150"}}"#)
                .unwrap_err()
                .class,
            Class::SplitOnce
        );
    }

    #[test]
    fn a_malformed_body_is_unavailable() {
        for body in ["", "[]", "<html>", r#"{"success":"#, r#"{"success":{}}"#, r#"{"success":[1]}"#, "\u{0}"] {
            assert_eq!(response_to(body).unwrap_err().class, Class::Unavailable, "{body}");
        }
    }
}
