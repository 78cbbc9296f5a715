//! Random bodies through every reader: no panic, and always a class or exactly one outcome for each
//! ID.

use proptest::prelude::*;

use crate::fdi::api::Outcome;
use crate::fdi::auth::password;
use crate::fdi::auth::sign_in::Method;
use crate::fdi::batch::Batch;
use crate::fdi::classify::{RequestContext, classify};
use crate::fdi::error::CallError;
use crate::fdi::json::mend;
use crate::fdi::observer::Operation;
use crate::fdi::task::{Action, Attributes, TaskId};
use crate::fdi::text::Redactor;
use crate::fdi::transport::HttpResponse;
use crate::fdi::{batch_response, task_list};

/// Names that the decoders look for, and some that they do not.
const KEYS: [&str; 16] = [
    "total",
    "entities",
    "task_id",
    "task_name",
    "status",
    "execute_status",
    "success",
    "failure",
    "success_count",
    "failure_count",
    "error_code",
    "error_msg",
    "code",
    "reason",
    "error",
    "token",
];

const WORDS: [&str; 16] = [
    "a",
    "b",
    "c",
    "a b",
    "",
    "running",
    "STOP",
    "0",
    "1",
    "-1",
    "FDI.3083",
    "APIGW.0301",
    "ERROR",
    "\\u0000",
    "\\ud800",
    "\\uD83D\\uDE00",
];

const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "2", "1.0", "1e999", "9223372036854775808", "-9223372036854775809", "1e-7", "00"];

/// JSON text that comes near to what the service sends.
fn near_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(&WORDS[..]).prop_map(|word| format!("\"{word}\"")),
        prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned),
        prop::sample::select(&["null", "true", "false", "NaN", "\""][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..6).prop_map(|list| format!("[{}]", list.join(","))),
            3 => prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..6).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// A valid response, to be mutated.
fn valid() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            r#"{"total":3,"size":3,"entities":[{"task_id":"a","task_name":"n","status":1,"execute_status":"ERROR"},{"task_id":"b","status":"stop"},{"task_id":"c","status":0}]}"#,
            r#"{"success_count":1,"failure_count":2,"success":[{"task_id":"a","task_name":"n"}],"failure":[{"task_id":"b","error_code":"FDI.3083","error_msg":"x"},{"task_id":"c"}]}"#,
            r#"{"code":404,"reason":{"error_code":"FDI.3180","error_msg":"x"}}"#,
            r#"{"token":{"issued_at":"2020-01-04T09:05:22.701000Z","expires_at":"2020-01-05T09:05:22.701000Z"}}"#,
        ][..],
    )
    .prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let deep = (1_usize..3000, prop::sample::select(&["[", "{\"a\":", "{\"entities\":[", "{\"reason\":"][..]))
        .prop_map(|(depth, open)| open.repeat(depth).into_bytes());
    prop_oneof![
        4 => near_json().prop_map(String::into_bytes),
        // Cut anywhere.
        2 => (valid(), any::<prop::sample::Index>()).prop_map(|(text, at)| text.as_bytes()[..at.index(text.len())].to_vec()),
        // One byte changed to any other, invalid UTF-8 included.
        3 => (valid(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        // A part in place of another.
        2 => (valid(), near_json(), any::<prop::sample::Index>()).prop_map(|(text, part, at)| {
            let at = at.index(text.len());
            format!("{}{part}{}", &text[..at], &text[at..]).into_bytes()
        }),
        1 => deep,
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn sound(error: &CallError) -> Result<(), TestCaseError> {
    prop_assert!(error.message.len() <= 512 && !error.message.is_empty(), "{}", error.message);
    prop_assert!(!error.code.is_empty() && error.code.len() <= 64);
    prop_assert!(!error.message.chars().any(char::is_control));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_the_client_panic_or_guess(mut body in body(), status in prop::sample::select(&[200_u16, 200, 200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 599][..])) {
        mend(&mut body);
        let mut response = HttpResponse { status, body, ..HttpResponse::default() };
        response.headers.insert("x-subject-token", "T".parse().unwrap());
        let redactor = Redactor::new(vec!["s3cr3t-value".into()]);
        let context = |operation| RequestContext { operation, method: Method::Password, redactor: &redactor, tasks: 3 };

        match task_list::parse_page(&context(Operation::List), &response, Attributes::Keep) {
            Ok(page) => {
                prop_assert_eq!(status, 200);
                task_list::Listing::default().add(page);
            }
            Err(error) => sound(&error)?,
        }

        let ids: Vec<TaskId> = ["a", "b", "c"].iter().map(|&id| TaskId::new(id).unwrap()).collect();
        let batch = Batch::new(Action::Start, ids.clone()).unwrap();
        match batch_response::parse_response(&context(Operation::Start), &batch, &response) {
            Ok(answer) => {
                prop_assert_eq!(status, 200);
                prop_assert!(answer.outcomes.iter().map(|(id, _)| id).eq(&ids));
                for (id, outcome) in &answer.outcomes {
                    let named = response.body.windows(3).any(|part| part == format!("\"{id}\"").as_bytes());
                    prop_assert!(named || *outcome == Outcome::Unknown, "{} is not in the answer", id);
                }
            }
            Err(error) => sound(&error)?,
        }

        sound(&classify(&context(Operation::SignIn), &response))?;
        prop_assert!(password::token_in(&response).is_some());
    }
}
