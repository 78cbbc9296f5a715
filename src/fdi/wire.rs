//! The bodies as the service spells them, and their tolerant decoding.
//!
//! The three generations of the API pages disagree about types and letter case, and nothing
//! guarantees that a body is what it should be: fields that are not used may be anything, those
//! that are used are read in every documented spelling, and everything else is [`Malformed`], never
//! a guess.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fdi::batch::Batch;
use crate::fdi::json::{Malformed, Scalar, each_field, elements, utf8};
use crate::fdi::task::{LastRun, RunState, TaskAttributes, TaskType};
use crate::fdi::text::single_line;

/// Most entries of a batch response that are read; a batch has ten tasks.
const BATCH_ENTRIES_MAX: usize = 100;

/// Error objects are small, so larger bodies are not searched for one.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Most bytes that are kept of a tag or an ID of an application: the API has 64 characters.
const ATTRIBUTE_MAX: usize = 256;

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

/// One task of a page (`BriefTaskRespBean`), as far as it is used.
#[derive(Debug, Default)]
pub struct ListEntry<'a> {
    /// More than one when the field is repeated with another value.
    pub task_ids: Vec<Scalar<'a>>,
    pub task_name: Scalar<'a>,
    pub status: Scalar<'a>,
    pub execute_status: Scalar<'a>,
    pub task_type: Scalar<'a>,
    pub ext_type: Scalar<'a>,
    pub task_tag: Scalar<'a>,
    pub source_app_id: Scalar<'a>,
    pub target_app_id: Scalar<'a>,
}

impl<'a> ListEntry<'a> {
    /// Takes in one field.
    pub fn add(&mut self, field: &str, value: &'a RawValue) {
        match field {
            "task_id" => {
                let id = Scalar::new(value);
                if !self.task_ids.contains(&id) {
                    self.task_ids.push(id);
                }
            }
            "task_name" => self.task_name.add(value),
            "status" => self.status.add(value),
            "execute_status" => self.execute_status.add(value),
            "task_type" => self.task_type.add(value),
            "ext_type" => self.ext_type.add(value),
            "task_tag" => self.task_tag.add(value),
            "source_app_id" => self.source_app_id.add(value),
            "target_app_id" => self.target_app_id.add(value),
            _ => {}
        }
    }

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

    /// `TIMING` and `REALTIME` in lists, in lower case elsewhere; composite tasks are real-time
    /// ones with the `ext_type` `CDC`.
    pub fn task_type(&self) -> Option<TaskType> {
        let is =
            |field: &Scalar<'_>, word: &str| field.text().is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
        if is(&self.ext_type, "cdc") {
            return Some(TaskType::Composite);
        }
        let types = [("timing", TaskType::Scheduled), ("realtime", TaskType::RealTime)];
        types.into_iter().find_map(|(word, type_)| is(&self.task_type, word).then_some(type_))
    }

    /// By what the task may be selected beside its name and type.
    pub fn attributes(&self) -> TaskAttributes {
        let text = |field: &Scalar<'_>| single_line(&field.text().unwrap_or_default(), ATTRIBUTE_MAX).into();
        TaskAttributes {
            tag: text(&self.task_tag),
            source_app: text(&self.source_app_id),
            target_app: text(&self.target_app_id),
        }
    }

    /// The latest run. It is only reported, so any other value is `Unknown`.
    pub fn last_run(&self) -> LastRun {
        let text = self.execute_status.text().unwrap_or_default();
        let runs = [
            ("UNSTARTED", LastRun::Unstarted),
            ("WAITING", LastRun::Waiting),
            ("RUNNING", LastRun::Running),
            ("SUCCESS", LastRun::Success),
            ("CANCELLED", LastRun::Cancelled),
            ("ERROR", LastRun::Error),
        ];
        let run = runs.into_iter().find(|(word, _)| text.trim().eq_ignore_ascii_case(word));
        run.map_or(LastRun::Unknown, |(_, run)| run)
    }
}

/// The response to a batch call (`BatchOperatorTaskResp`). Every field is optional in the API
/// definition.
#[derive(Debug, Default)]
pub struct BatchResult<'a> {
    pub success_count: Scalar<'a>,
    pub failure_count: Scalar<'a>,
    pub success: Vec<BatchEntry<'a>>,
    pub failure: Vec<BatchEntry<'a>>,
}

/// One task of a batch response (`TaskBeanFacade`).
#[derive(Debug, Default)]
pub struct BatchEntry<'a> {
    pub task_id: Scalar<'a>,
    pub error_code: Scalar<'a>,
    pub error_msg: Scalar<'a>,
}

/// The error that a body describes. Both fields are empty when it describes none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
}

impl<'a> BatchResult<'a> {
    /// # Errors
    /// [`Malformed`] when `body` is not an object, or one of its lists is not a list of objects.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut result = Self::default();
        let (mut success, mut failure) = (Vec::new(), Vec::new());
        each_field(utf8(body)?, |field, value| match field {
            "success_count" => result.success_count.add(value),
            "failure_count" => result.failure_count.add(value),
            "success" => success.push(value),
            "failure" => failure.push(value),
            _ => {}
        })?;
        result.success = BatchEntry::decode_list(&success)?;
        result.failure = BatchEntry::decode_list(&failure)?;
        Ok(result)
    }
}

impl<'a> BatchEntry<'a> {
    fn decode_list(values: &[&'a RawValue]) -> Result<Vec<Self>, Malformed> {
        elements(values, BATCH_ENTRIES_MAX)?.unwrap_or_default().into_iter().map(Self::decode).collect()
    }

    fn decode(json: &'a RawValue) -> Result<Self, Malformed> {
        let mut entry = Self::default();
        each_field(json.get(), |field, value| match field {
            "task_id" => entry.task_id.add(value),
            "error_code" => entry.error_code.add(value),
            "error_msg" => entry.error_msg.add(value),
            _ => {}
        })?;
        Ok(entry)
    }
}

impl ErrorBody {
    /// Finds the error in `body`: flat (`error_code`), wrapped (`{code, reason: {error_code}}`) or
    /// IAM's (`{error: {code, message}}`), with text or numbers as codes. Anything else, such as
    /// HTML or truncated JSON, is an empty error.
    pub fn find(body: &[u8]) -> Self {
        if body.len() > ERROR_BODY_MAX {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdi::list_page::ListPage;
    use crate::fdi::{Action, TaskId};

    /// The page, which has one entry.
    fn entry(body: &str) -> ListEntry<'_> {
        let page = ListPage::decode(body.as_bytes(), 1000, ListEntry::add).unwrap();
        page.entities.unwrap().remove(0).unwrap()
    }

    fn state(status: &str) -> Option<RunState> {
        entry(&format!(r#"{{"entities":[{{"status":{status}}}]}}"#)).state()
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
        let body = r#"{"total":"1","size":null,"entities":[{"task_id":"a","status":1,"execute_status":"error",
                "task_name":{"de":"x"},"new":[[{}]],"created_date":12}],"links":{"next":[1,2]}}"#;
        let page = ListPage::decode(body.as_bytes(), 1000, ListEntry::add).unwrap();
        assert_eq!(page.total.count(), Ok(Some(1)));
        assert_eq!(entry(body).last_run(), LastRun::Error);
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
