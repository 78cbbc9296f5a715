//! The bodies of FDI, the gateway and IAM, exactly as they are spelled on the wire.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::list_time;
use crate::policy::{ErrorShape, NonArrayList, NonObjectItems, Policies};
use crate::task::{LastRun, Task, TaskMode, TaskType};

/// `OperateTasksBean`. Every field is optional here: a missing one is answered with the service's
/// own code.
#[derive(Debug, Default)]
pub struct OperateTasks {
    pub action_id: Option<String>,
    /// The `task_id` of each `TaskBean`.
    pub list: Vec<Option<Arc<str>>>,
}

impl OperateTasks {
    /// Refused with FDI.3002 when the body is not a JSON object or a field has another type; for
    /// the list and its items the policies may choose another code. (Not derived: a derived reader
    /// would accept arrays as objects.)
    pub fn read(body: &[u8], policies: &Policies) -> Result<Self, Refusal> {
        let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::invalid())?;
        let list = match object.get("list") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(beans)) => {
                beans.iter().map(|bean| bean_id(bean, policies)).collect::<Result<_, Refusal>>()?
            }
            Some(_) => match policies.non_array_list {
                NonArrayList::Fdi3002 => return Err(Refusal::invalid()),
                NonArrayList::Fdi3150 => Vec::new(),
            },
        };
        Ok(Self { action_id: optional_text(&object, "action_id")?, list })
    }
}

fn bean_id(bean: &Value, policies: &Policies) -> Result<Option<Arc<str>>, Refusal> {
    match (bean.as_object(), policies.non_object_items) {
        (Some(bean), _) => Ok(optional_text(bean, "task_id")?.map(Arc::from)),
        (None, NonObjectItems::Fdi3002) => Err(Refusal::invalid()),
        // As an item without an ID, which is FDI.3022 once the list has been counted.
        (None, NonObjectItems::Fdi3022) => Ok(None),
    }
}

fn optional_text(object: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::invalid()),
    }
}

/// `BatchOperatorTaskResp`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BatchAnswer {
    pub success_count: i64,
    pub failure_count: i64,
    pub success: Vec<TaskFacade>,
    pub failure: Vec<TaskFacade>,
}

/// `TaskBeanFacade`: `error_code` and `error_msg` are empty strings for a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskFacade {
    pub task_id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    pub error_code: String,
    pub error_msg: String,
}

/// The answer of `ListTasks`.
#[derive(Debug, Clone, Serialize)]
pub struct ListAnswer {
    pub total: i64,
    pub size: i64,
    pub entities: Vec<BriefTask>,
}

/// `BriefTaskRespBean`: `status` a number, `task_type` upper case, `created_date` a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BriefTask {
    pub task_id: Arc<str>,
    pub task_name: String,
    pub task_type: TaskType,
    pub status: u8,
    pub created_date: String,
    pub version: &'static str,
    pub last_modified_time: i64,
    pub execute_status: LastRun,
    pub source_app_id: String,
    pub target_app_id: String,
    pub source_instance_id: String,
    pub target_instance_id: String,
    pub ext_type: Option<&'static str>,
    pub enterprise_project_id: &'static str,
    pub task_tag: Option<String>,
    /// One of [`crate::Effect::Crowd`].
    #[serde(skip)]
    pub of_crowd: bool,
}

impl BriefTask {
    pub fn new(task: &Task, instance: &str) -> Self {
        Self {
            task_id: task.id.clone(),
            task_name: task.name.clone(),
            task_type: task.kind,
            status: u8::from(task.running),
            created_date: list_time(task.created_at),
            version: "1.0",
            last_modified_time: task.modified_at,
            execute_status: task.last_run,
            source_app_id: task.source_app_id.clone(),
            target_app_id: task.target_app_id.clone(),
            source_instance_id: instance.to_owned(),
            target_instance_id: instance.to_owned(),
            ext_type: (task.mode == TaskMode::Cdc).then_some("CDC"),
            enterprise_project_id: "0",
            task_tag: task.task_tag.clone(),
            of_crowd: false,
        }
    }
}

/// The answer of `ShowTask`: `status` a string, `task_type` lower case, dates numbers, no
/// `execute_status`.
pub fn show_answer(task: &Task, project: &str) -> Value {
    json!({
        "task": {
            "task_id": task.id,
            "task_name": task.name,
            "task_type": match task.kind { TaskType::Realtime => "realtime", TaskType::Timing => "timing" },
            "status": if task.running { "running" } else { "stop" },
            "project_id": project,
            "source_datasource_id": task.source_datasource_id,
            "target_datasource_id": task.target_datasource_id,
            "source_datasource_name": task.source_datasource_id,
            "target_datasource_name": task.target_datasource_id,
            "source_app_id": task.source_app_id,
            "target_app_id": task.target_app_id,
            "source_app_name": task.source_app_id,
            "target_app_name": task.target_app_id,
            "created_date": task.created_at,
            "last_modified_date": task.modified_at,
            "description": "",
            "task_tag": task.task_tag,
        },
        "task_detail": "{}",
    })
}

/// Who answers with an error, which decides the shape of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// FDI and ROMA: the shape is a policy.
    Service,
    /// The API gateway: flat, with `request_id`.
    Gateway,
    /// IAM's token endpoint: `{"error": {"code", "message", "title"}}` without a code of its own.
    IamToken,
    /// Other answers of IAM: flat, `error_code` `IAM.…`.
    Iam,
}

/// A refused request: HTTP status, code, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub speaker: Speaker,
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    pub fn new(speaker: Speaker, status: u16, code: &str, message: &str) -> Self {
        Self { speaker, status, code: code.to_owned(), message: message.to_owned() }
    }

    pub fn fdi(status: u16, code: &str, message: &str) -> Self {
        Self::new(Speaker::Service, status, code, message)
    }

    pub fn gateway(status: u16, code: &str, message: &str) -> Self {
        Self::new(Speaker::Gateway, status, code, message)
    }

    pub fn invalid() -> Self {
        Self::fdi(400, "FDI.3002", "Invalid parameters.")
    }

    pub fn invalid_parameter(name: &str) -> Self {
        Self::fdi(400, "FDI.3033", &format!("Invalid parameter [{name}]."))
    }

    /// The body of the answer.
    pub fn body(&self, shape: ErrorShape, request_id: &str) -> Value {
        // Some APIs have numbers for codes.
        let code = self.code.parse::<u64>().map_or_else(|_| json!(self.code), |number| json!(number));
        let flat = json!({"error_code": code, "error_msg": self.message});
        match (self.speaker, shape) {
            (Speaker::Service, ErrorShape::Wrapped) => json!({"code": self.status, "reason": flat}),
            (Speaker::Service, ErrorShape::Numeric) => json!({"error_code": self.status, "error_msg": self.message}),
            (Speaker::Service, ErrorShape::Flat) | (Speaker::Iam, _) => flat,
            (Speaker::Gateway, _) => {
                json!({"error_msg": self.message, "error_code": self.code, "request_id": request_id})
            }
            (Speaker::IamToken, _) => {
                let title = http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
                json!({"error": {"code": self.status, "message": self.message, "title": title}})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_of_its_speaker() {
        let refusal = Refusal::fdi(400, "FDI.3149", "The task ID is empty.");
        assert_eq!(
            refusal.body(ErrorShape::Flat, "r"),
            json!({"error_code": "FDI.3149", "error_msg": "The task ID is empty."})
        );
        assert_eq!(
            refusal.body(ErrorShape::Wrapped, "r"),
            json!({"code": 400, "reason": {"error_code": "FDI.3149", "error_msg": "The task ID is empty."}})
        );
        assert_eq!(
            Refusal::fdi(403, "FDI.3149", "Forbidden").body(ErrorShape::Numeric, "r"),
            json!({"error_code": 403, "error_msg": "Forbidden"})
        );
        assert_eq!(
            Refusal::gateway(401, "APIGW.0301", "m").body(ErrorShape::Wrapped, "r"),
            json!({"error_msg": "m", "error_code": "APIGW.0301", "request_id": "r"})
        );
        let wrong_password = Refusal::new(Speaker::IamToken, 401, "", "The username or password is wrong.");
        assert_eq!(
            wrong_password.body(ErrorShape::Flat, "r"),
            json!({"error": {"code": 401, "message": "The username or password is wrong.", "title": "Unauthorized"}})
        );
    }
}
