//! Turns a response that is not the requested one into a [`CallError`], by one table.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER};
use jiff::Timestamp;

use crate::fdi::auth::sign_in::Method;
use crate::fdi::error::{CallError, Cause, Class, MESSAGE_MAX, REFUSAL_MAX};
use crate::fdi::error_codes::{self, Meaning};
use crate::fdi::observer::Operation;
use crate::fdi::text::{Redactor, single_line, truncate};
use crate::fdi::transport::HttpResponse;
use crate::fdi::wire::ErrorBody;

/// The service's ID of a request, which support tickets name.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Most bytes of the service's own words in a message; the rest is for ours.
const WORDS_MAX: usize = 256;
const CODE_MAX: usize = 64;
/// Fewer bytes of them say nothing.
const WORDS_MIN: usize = 12;

/// Longest wait that a `Retry-After` may ask for; a longer one would be an outage by header.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Clock difference in seconds from which a message names it. The gateway rejects signatures from
/// 15 minutes on.
const REPORTED_SKEW: i64 = 60;

/// What was requested, as far as the message of an error depends on it.
pub struct RequestContext<'a> {
    pub operation: Operation,
    pub method: Method,
    pub redactor: &'a Redactor,
    /// How many tasks the batch has.
    pub tasks: usize,
}

/// The error that an error response stands for.
pub fn classify(context: &RequestContext<'_>, response: &HttpResponse) -> CallError {
    let found = ErrorBody::find(&response.body);
    let service_code = single_line(&context.redactor.redact(&found.code), CODE_MAX);
    let words = single_line(&context.redactor.redact(&found.message), WORDS_MAX);
    let status = effective_status(response.status, &service_code);
    let (class, cause) = judge(context.operation, status, &service_code);
    let code = if service_code.is_empty() { format!("HTTP {}", response.status) } else { service_code };
    let cure = cure(context, cause, &code, &words, response);
    let message = sentence(context, cause, &code, &words, cure.as_deref());
    CallError {
        permanent: error_codes::is_permanent(&code),
        code,
        request_id: request_id(&response.headers, context.redactor),
        retry_after: retry_after(&response.headers, response.received),
        ..CallError::new(class, cause, "", &message)
    }
}

/// The response cannot be read. Nobody knows what became of a batch call.
pub fn malformed_response(context: &RequestContext<'_>, response: &HttpResponse, what: &str) -> CallError {
    let header = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
    let shown = |value| single_line(&context.redactor.redact(value), CODE_MAX);
    let detail = match (header(CONTENT_ENCODING), header(CONTENT_TYPE)) {
        (Some(encoding), _) => {
            format!(". It is compressed (content encoding \"{}\"), which was not requested", shown(encoding))
        }
        (None, Some(media_type)) if !media_type.to_ascii_lowercase().contains("json") => {
            format!(". Its content type is \"{}\": check the endpoint and any proxy before it", shown(media_type))
        }
        _ => String::new(),
    };
    let request = context.operation.verb_phrase();
    let message =
        format!("The response to the request to {request} is malformed: {what}{detail}. The operator tries again.");
    CallError {
        request_id: request_id(&response.headers, context.redactor),
        ..CallError::unavailable("MalformedResponse", &message)
    }
}

pub fn request_id(headers: &HeaderMap, redactor: &Redactor) -> Option<String> {
    let id = single_line(&redactor.redact(headers.get(REQUEST_ID)?.to_str().ok()?), CODE_MAX);
    (!id.is_empty()).then_some(id)
}

/// A numeric code is an HTTP status in disguise. It counts where the HTTP status is vague (2xx,
/// 400).
fn effective_status(status: u16, code: &str) -> u16 {
    match code.parse() {
        Ok(disguised @ 400..=599) if matches!(status, 200..=299 | 400) => disguised,
        _ => status,
    }
}

/// The table. Known codes decide before the status does: ROMA answers refused tokens with 400.
fn judge(operation: Operation, status: u16, code: &str) -> (Class, Cause) {
    const SIGN_IN: (Class, Cause) = (Class::SignIn, Cause::SignInRefused);
    const THROTTLED: (Class, Cause) = (Class::Throttled, Cause::Throttled);
    const UNAVAILABLE: (Class, Cause) = (Class::Unavailable, Cause::Unavailable);
    const REJECTED: (Class, Cause) = (Class::Config, Cause::RequestRejected);

    match (error_codes::meaning(code), status) {
        (Meaning::Throttled, _) | (_, 429) => THROTTLED,
        (Meaning::SomeTask, _) if operation.is_batch() => (Class::Split, Cause::BatchRefused),
        (Meaning::Network, _) | (_, 408 | 500..) => UNAVAILABLE,
        (Meaning::SignIn, _) | (_, 401) => SIGN_IN,
        // IAM also answers 403 to users that it refuses, and each attempt may count towards a lock.
        (_, 403) if operation == Operation::SignIn => SIGN_IN,
        (_, 403) => (Class::Config, Cause::Forbidden),
        (Meaning::Gateway, 400..=499) => REJECTED,
        (Meaning::SomeTask | Meaning::Fdi, _) | (_, 400..=499) if operation.is_batch() => {
            (Class::SplitOnce, Cause::BatchRefused)
        }
        (Meaning::SomeTask | Meaning::Fdi, _) | (_, 300..=499) => REJECTED,
        // 1xx, and 2xx without a usable body.
        _ => UNAVAILABLE,
    }
}

fn sentence(context: &RequestContext<'_>, cause: Cause, code: &str, words: &str, cure: Option<&str>) -> String {
    let request = context.operation.verb_phrase();
    let what = match cause {
        Cause::BatchRefused => {
            let who = match error_codes::meaning(code) {
                Meaning::SomeTask | Meaning::Fdi => "FDI",
                _ => "The service",
            };
            match context.tasks {
                1 => format!("{who} refused to {} this task", context.operation.as_str()),
                _ => format!("{who} refused a whole call to {request}"),
            }
        }
        Cause::SignInRefused => "The sign-in was refused".to_owned(),
        Cause::Forbidden => format!("Signed in, but not allowed to {request}"),
        Cause::Throttled => format!("Too many requests: the service refused the request to {request}"),
        Cause::Unavailable => format!("The service could not answer the request to {request}"),
        Cause::RequestRejected | Cause::EndpointNotAllowed | Cause::TlsFailed | Cause::ListTooLarge => {
            format!("The service rejected the request to {request}")
        }
    };
    let end = match cure {
        Some(cure) => format!(" ({code}). {cure}"),
        None => format!(" ({code})."),
    };
    // The service's words get the room that is left: what to do helps most.
    let most = if cause == Cause::BatchRefused { REFUSAL_MAX } else { MESSAGE_MAX };
    let room = most.saturating_sub(what.len() + 2 + end.len());
    match truncate(words.trim_end_matches('.'), room) {
        words if words.is_empty() || room < WORDS_MIN => format!("{what}{end}"),
        words => format!("{what}: {words}{end}"),
    }
}

fn cure(
    context: &RequestContext<'_>,
    cause: Cause,
    code: &str,
    words: &str,
    response: &HttpResponse,
) -> Option<String> {
    let known = error_codes::cure(code).map(str::to_owned);
    match cause {
        Cause::SignInRefused => {
            let hint = sign_in_hint(context, code, words, response);
            Some(hint.or(known).unwrap_or_else(|| context.method.cure().to_owned()))
        }
        Cause::Forbidden => Some(known.unwrap_or_else(|| {
            "Grant the user roma:tasks:list and roma:tasks:operate for this project, and check projectId and instanceId.".to_owned()
        })),
        Cause::RequestRejected if response.headers.contains_key(LOCATION) && (300..400).contains(&response.status) => {
            Some("The endpoint redirects elsewhere, and redirects are not followed. Check the endpoint.".to_owned())
        }
        Cause::RequestRejected if context.operation == Operation::SignIn => {
            Some("Check iamEndpoint and projectId.".to_owned())
        }
        Cause::BatchRefused => Some(error_codes::advice(code).to_owned()),
        Cause::Throttled => Some(known.unwrap_or_else(|| error_codes::PAUSE.to_owned())),
        Cause::Unavailable => Some(known.unwrap_or_else(|| {
            "The operator tries again; if this lasts, check the state of the service.".to_owned()
        })),
        Cause::RequestRejected => Some(known.unwrap_or_else(|| "Check endpoint, projectId and instanceId.".to_owned())),
        _ => known,
    }
}

/// What the message of a refused sign-in adds to its code. Only a hint: the class never depends on
/// it.
fn sign_in_hint(context: &RequestContext<'_>, code: &str, words: &str, response: &HttpResponse) -> Option<String> {
    let words = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    if says(&["signature expired"]) {
        let skew = skew(&response.headers, response.received).filter(|skew| skew.abs() >= REPORTED_SKEW);
        return Some(match skew {
            Some(skew) => format!(
                "The operator's clock is about {} minutes {} the service's: correct the clock of the node.",
                (skew.abs() + 30) / 60,
                if skew > 0 { "ahead of" } else { "behind" }
            ),
            None => {
                "Check the clock of the node: it must not differ from the service's by more than 15 minutes.".to_owned()
            }
        });
    }
    let hint = if says(&["reach the limit"]) {
        "The access key is locked for five minutes after too many wrong signatures. Check accessKey and secretKey."
    } else if says(&["ak not exist"]) {
        "There is no such access key: check accessKey in the Secret."
    } else if context.method != Method::Password {
        return None;
    } else if says(&["locked"]) {
        "The user is locked; wait for the lock to end or have an administrator unlock it."
    } else if says(&["mfa", "totp", "verification code", "two-factor"]) {
        "This user signs in with a second factor only: use an access key, or a user without one."
    } else if says(&["console", "programmatic"]) {
        "The user may only use the console; allow programmatic access."
    } else if says(&["expired"]) && error_codes::normalize(code) != "APIGW.0307" {
        "The user or its password has expired; have it renewed and update the Secret."
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Seconds by which the operator's clock is ahead of the service's.
fn skew(headers: &HeaderMap, received: Timestamp) -> Option<i64> {
    Some(received.as_second() - http_date(headers.get(DATE)?.to_str().ok()?)?.as_second())
}

/// `Retry-After`, in seconds or as a date, bounded; `None` when absent or unreadable.
fn retry_after(headers: &HeaderMap, received: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(http_date(text)?.as_second() - received.as_second()).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn http_date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

#[cfg(test)]
mod tests;
