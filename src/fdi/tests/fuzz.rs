//! Random bodies through every reader: no panic, and always a class or exactly one outcome for each
//! ID.

use proptest::prelude::*;

use crate::fdi::fuzz;
use crate::tests::corpus;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_the_client_panic_or_guess(status in any::<u8>(), body in body()) {
        fuzz::response(&[&[status], &body[..]].concat());
    }
}

#[test]
fn no_change_of_a_kept_response_makes_the_client_panic_or_guess() {
    corpus::replay("responses", 20_000, fuzz::response);
}
