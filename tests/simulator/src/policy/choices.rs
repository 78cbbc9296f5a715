//! The values of each policy, the default first.

use serde::{Deserialize, Serialize};

/// The answer to a command for a task that already is in the requested state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlreadyThere {
    /// Counted as success.
    #[default]
    Success,
    /// An item under `failure`: FDI.3023 for a start, FDI.3019 (real-time) or FDI.3020 (scheduled)
    /// for a stop.
    FailureItem,
    /// 400 for the whole request with the same code.
    WholeRequest,
}

/// The state by which a task is [`AlreadyThere`] while a command has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedState {
    /// The one that it is on its way to: a contrary command takes the first one back.
    #[default]
    Target,
    /// The one that lists show: a contrary command finds nothing to do, and the first one acts
    /// later.
    Shown,
}

/// The answer to a start of a task without a schedule plan (FDI.3083).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPlan {
    /// 404 for the whole request: the documented example.
    #[default]
    WholeRequest,
    FailureItem,
}

/// The answer to a task ID that the instance does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownId {
    /// 400 FDI.3021 "One or more tasks do not exist." for the whole request.
    #[default]
    Whole400,
    /// 404 FDI.3081 "The task does not exist." for the whole request.
    Whole404,
    /// An item under `failure` with FDI.3081.
    FailureItem,
}

/// What a batch that is refused as a whole has done before it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApplyBeforeError {
    #[default]
    None,
    /// Every task named before the first one that is refused.
    Prefix,
    /// Every task but those that are refused.
    AllButRefused,
}

/// What an ID means that one batch names twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateIds {
    /// 400 FDI.3002 for the whole request.
    #[default]
    WholeRequest,
    /// Handled once for each mention.
    EachMention,
}

/// The answer to a batch whose `list` has items that are not objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NonObjectItems {
    /// 400 FDI.3002 "Invalid parameters."
    #[default]
    Fdi3002,
    /// 400 FDI.3022 "One or more tasks have empty task IDs."
    Fdi3022,
}

/// The answer to a batch whose `list` is not an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NonArrayList {
    /// 400 FDI.3002 "Invalid parameters."
    #[default]
    Fdi3002,
    /// 400 FDI.3150 "The task list is empty."
    Fdi3150,
}

/// The answer of `StopTask` when no run of the task is executing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TerminateIdle {
    /// 200 `{"message": "success"}`
    #[default]
    Success,
    /// 400 FDI.3027 "Failed to manually stop the task."
    Fdi3027,
}

/// The shape of FDI error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorShape {
    /// `{"error_code", "error_msg"}`
    #[default]
    Flat,
    /// `{"code": 404, "reason": {"error_code", "error_msg"}}`, as in the examples of
    /// `CreateDispatches`.
    Wrapped,
    /// `{"error_code": 404, "error_msg"}`: the HTTP status in place of the code, as one family of
    /// ROMA APIs answers.
    Numeric,
}

/// The answer to an unknown instance ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownInstance {
    /// 400 FDI.3002 "Invalid parameters."
    #[default]
    Fdi3002,
    /// 500 ROMA.00110002 "The instance does not exist. …", as the device APIs of ROMA answer.
    Roma00110002,
    /// The same with status 404.
    #[serde(rename = "roma00110002-404")]
    Roma00110002NotFound,
}

/// The answer to a token or key of another project than the one in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrongProject {
    /// 400 FDI.3039 "The project ID is empty or does not match the project ID in the URL."
    #[default]
    Fdi3039,
    /// 403 APIGW.0302
    Apigw0302,
}

/// Which kinds of sign-in are accepted; the others get 401 APIGW.0301.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignIn {
    #[default]
    Both,
    Token,
    AccessKey,
}

/// Who refuses a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignInErrors {
    /// 401 APIGW.0301 and 0307, 403 APIGW.0302.
    #[default]
    Gateway,
    /// 400 ROMA.1000 (no token), ROMA.1002 (wrong token), ROMA.1006 (not authorized).
    Roma,
}

/// The parameter names that the list accepts as its name filter. A name that is not accepted is
/// ignored, as any unknown parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameFilter {
    /// `task_name`, `name` and `taks_name`.
    #[default]
    All,
    /// `task_name`, as in the page of 2025.
    TaskName,
    /// `name`, as the official SDK sends it.
    Name,
    /// `taks_name`, as in the old page.
    TaksName,
}

impl NameFilter {
    pub(crate) fn accepts(self, parameter: &str) -> bool {
        match parameter {
            "task_name" => matches!(self, Self::All | Self::TaskName),
            "name" => matches!(self, Self::All | Self::Name),
            "taks_name" => matches!(self, Self::All | Self::TaksName),
            _ => false,
        }
    }
}

/// Whether the monitor calls are there: `ListMonitorInfos`, `ListMonitorLog` and
/// `ShowMonitorLogDetail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Monitoring {
    #[default]
    Served,
    /// 403 APIGW.0302, or 400 ROMA.1006 where ROMA refuses: the caller lacks an action.
    Forbidden,
    /// 404 APIGW.0101: the site does not have this API.
    Missing,
}

/// What `offset` means in the monitor calls, whose smallest is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorOffset {
    /// The number of the first record.
    #[default]
    Record,
    /// The number of the page.
    Page,
}

/// The order of a monitor log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// How the fields of the monitor calls are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorFields {
    /// `execute_status`, as in the SDK.
    #[default]
    SnakeCase,
    /// `executeStatus`, as in sibling APIs of ROMA.
    CamelCase,
}
