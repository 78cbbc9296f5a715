//! The bodies as the service spells them, and their tolerant decoding.
//!
//! The three generations of the API pages disagree about types and letter case, and nothing
//! guarantees that a body is what it should be: fields that are not used may be anything, those
//! that are used are read in every documented spelling, and everything else is [`Malformed`], never
//! a guess.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fdi::batch::Batch;
use crate::fdi::task::{LastRun, RunState};

/// Longest list that is read from one body. A page has 999 entries at most; the bound keeps four
/// megabytes of `{},{},…` from becoming hundreds of megabytes of entries.
const MAX_ENTRIES: usize = 5_000;

/// Error objects are small, so larger bodies are not searched for one.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// The body cannot be read as what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Body of a batch call (`OperateTasksBean`).
#[derive(Serialize)]
struct OperateTasks<'a> {
    action_id: &'static str,
    list: Vec<TaskBean<'a>>,
}

#[derive(Serialize)]
struct TaskBean<'a> {
    task_id: &'a str,
}

/// The body that requests `batch`.
pub fn operate_tasks(batch: &Batch) -> Vec<u8> {
    let list = batch.ids().iter().map(|id| TaskBean { task_id: id.as_str() }).collect();
    // There are only strings in it, so this cannot fail.
    serde_json::to_vec(&OperateTasks { action_id: batch.action().as_str(), list }).unwrap_or_default()
}

/// One page of `ListTasks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListPage {
    pub total: Scalar,
    #[serde(deserialize_with = "entries")]
    pub entities: Option<Vec<ListEntry>>,
}

/// One task of a page (`BriefTaskRespBean`), as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListEntry {
    pub task_id: Scalar,
    pub task_name: Scalar,
    pub status: Scalar,
    pub execute_status: Scalar,
}

impl ListEntry {
    /// The switch: `0`/`1` as number or text, `stop`/`running` in any letter case.
    pub fn state(&self) -> Option<RunState> {
        match &self.status {
            Scalar::Integer(0) => Some(RunState::Stopped),
            Scalar::Integer(1) => Some(RunState::Running),
            Scalar::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "0" | "stop" | "stopped" => Some(RunState::Stopped),
                "1" | "running" => Some(RunState::Running),
                _ => None,
            },
            _ => None,
        }
    }

    /// The latest run. It is only reported, so any other value is `Unknown`.
    pub fn last_run(&self) -> LastRun {
        match self.execute_status.text().map(|text| text.trim().to_ascii_uppercase()).as_deref() {
            Some("UNSTARTED") => LastRun::Unstarted,
            Some("WAITING") => LastRun::Waiting,
            Some("RUNNING") => LastRun::Running,
            Some("SUCCESS") => LastRun::Success,
            Some("CANCELLED") => LastRun::Cancelled,
            Some("ERROR") => LastRun::Error,
            _ => LastRun::Unknown,
        }
    }
}

/// The response to a batch call (`BatchOperatorTaskResp`). Every field is optional in the API
/// definition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BatchResult {
    pub success_count: Scalar,
    pub failure_count: Scalar,
    #[serde(deserialize_with = "entries")]
    pub success: Option<Vec<BatchEntry>>,
    #[serde(deserialize_with = "entries")]
    pub failure: Option<Vec<BatchEntry>>,
}

/// One task of a batch response (`TaskBeanFacade`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BatchEntry {
    pub task_id: Scalar,
    pub error_code: Scalar,
    pub error_msg: Scalar,
}

/// The error that a body describes. Both fields are empty when it describes none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
}

impl ListPage {
    /// # Errors
    /// [`Malformed`] when `body` is no JSON object, or its list is none.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        object(body)
    }
}

impl BatchResult {
    /// # Errors
    /// [`Malformed`] when `body` is no JSON object, or one of its lists is none.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        object(body)
    }
}

fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    // serde reads a struct from an array too, and `[]` as one with all its defaults.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    is_object.then(|| serde_json::from_slice(body).ok()).flatten().ok_or(Malformed)
}

impl ErrorBody {
    /// Finds the error in `body`: flat (`error_code`), wrapped (`{code, reason: {error_code}}`) or
    /// IAM's (`{error: {code, message}}`), with text or numbers as codes. Anything else, such as
    /// HTML or truncated JSON, is an empty error.
    pub fn find(body: &[u8]) -> Self {
        if body.len() > MAX_ERROR_BODY {
            return Self::default();
        }
        serde_json::from_slice::<Value>(body).ok().and_then(|value| Self::within(&value)).unwrap_or_default()
    }

    fn within(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |key: &str| match object.get(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let pair = |code: &str, message: &str| {
            text(code).map(|code| Self { code, message: text(message).unwrap_or_default() })
        };
        pair("error_code", "error_msg")
            .or_else(|| pair("errorCode", "errorMsg"))
            .or_else(|| ["reason", "error"].iter().find_map(|key| Self::within(object.get(*key)?)))
            .or_else(|| pair("code", "message"))
            .or_else(|| {
                let message = text("error_msg").or_else(|| text("message"))?;
                Some(Self { code: String::new(), message })
            })
    }
}

/// Any JSON value, of which only strings and integers are kept.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// Missing or `null`.
    #[default]
    Absent,
    Text(String),
    Integer(i64),
    /// Anything else.
    Other,
}

impl Scalar {
    /// The text, or the number as text.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Absent | Self::Other => None,
        }
    }

    /// A count: a number that is not negative, or its text.
    ///
    /// # Errors
    /// [`Malformed`] when there is a value that is no count.
    pub fn count(&self) -> Result<Option<usize>, Malformed> {
        match self {
            Self::Absent => Ok(None),
            Self::Integer(number) => usize::try_from(*number).map(Some).map_err(|_| Malformed),
            Self::Text(text) => text.trim().parse().map(Some).map_err(|_| Malformed),
            Self::Other => Err(Malformed),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// A list or `null`; longer than [`MAX_ENTRIES`] is an error.
fn entries<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    struct Entries<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = seq.next_element()? {
                if list.len() == MAX_ENTRIES {
                    return Err(serde::de::Error::custom("too many entries"));
                }
                list.push(entry);
            }
            Ok(Some(list))
        }
    }

    deserializer.deserialize_any(Entries(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdi::{Action, TaskId};

    fn state(status: &str) -> Option<RunState> {
        let page = ListPage::decode(format!(r#"{{"entities":[{{"status":{status}}}]}}"#).as_bytes()).unwrap();
        page.entities.unwrap()[0].state()
    }

    #[test]
    fn status_is_read_in_every_documented_spelling_and_no_other() {
        for running in ["1", r#""1""#, r#""running""#, r#""Running""#, r#""RUNNING""#, r#"" running ""#] {
            assert_eq!(state(running), Some(RunState::Running), "{running}");
        }
        for stopped in ["0", r#""0""#, r#""stop""#, r#""Stop""#, r#""STOPPED""#] {
            assert_eq!(state(stopped), Some(RunState::Stopped), "{stopped}");
        }
        for unknown in ["2", "-1", "1.0", "null", "true", "[]", "{}", r#""""#, r#""yes""#, "99999999999999999999"] {
            assert_eq!(state(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn unknown_fields_nulls_and_odd_types_in_unused_fields_are_ignored() {
        let page = ListPage::decode(
            br#"{"total":"1","size":null,"entities":[{"task_id":"a","status":1,"execute_status":"error",
                "task_name":{"de":"x"},"new":[[{}]],"created_date":12}],"links":{"next":[1,2]}}"#,
        )
        .unwrap();
        assert_eq!(page.total.count(), Ok(Some(1)));
        assert_eq!(page.entities.unwrap()[0].last_run(), LastRun::Error);
        assert!(ListPage::decode(br#"{"entities":null}"#).unwrap().entities.is_none());
    }

    #[test]
    fn what_is_no_object_or_no_list_is_malformed() {
        for body in ["", "[]", "null", "<html>", r#"{"entities":"#, r#"{"entities":{}}"#, r#"{"entities":[1]}"#] {
            assert!(ListPage::decode(body.as_bytes()).is_err(), "{body}");
        }
        let endless = format!(r#"{{"entities":[{}{{}}]}}"#, "{},".repeat(MAX_ENTRIES));
        assert!(ListPage::decode(endless.as_bytes()).is_err(), "more entries than any page has");
    }

    #[test]
    fn an_error_is_found_flat_wrapped_numeric_and_in_iams_shape() {
        let error = |code: &str, message: &str| ErrorBody { code: code.into(), message: message.into() };
        for (body, expected) in [
            (r#"{"error_code":"FDI.3150","error_msg":"Empty."}"#, error("FDI.3150", "Empty.")),
            (r#"{"code":404,"reason":{"error_code":"FDI.3180","error_msg":"No."}}"#, error("FDI.3180", "No.")),
            (r#"{"error_code":403,"error_msg":"Forbidden"}"#, error("403", "Forbidden")),
            (r#"{"error":{"code":401,"message":"Wrong.","title":"Unauthorized"}}"#, error("401", "Wrong.")),
            (r#"{"errorCode":"X.1","errorMsg":"m"}"#, error("X.1", "m")),
            (r#"{"code":"X.2","message":"m"}"#, error("X.2", "m")),
            (r#"{"message":"no Route matched"}"#, error("", "no Route matched")),
            (r#"{"error_code":null,"error_msg":null}"#, error("", "")),
            ("<html>502</html>", error("", "")),
            ("", error("", "")),
            (r#"{"error_code":"FDI.3"#, error("", "")),
        ] {
            assert_eq!(ErrorBody::find(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_batch_is_spelled_as_the_api_page_says() {
        let batch = Batch::new(Action::Stop, vec![TaskId::new("a").unwrap(), TaskId::new("b").unwrap()]).unwrap();
        assert_eq!(
            String::from_utf8(operate_tasks(&batch)).unwrap(),
            r#"{"action_id":"stop","list":[{"task_id":"a"},{"task_id":"b"}]}"#
        );
    }
}
