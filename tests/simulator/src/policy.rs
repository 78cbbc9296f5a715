//! What the service's documentation leaves open, each as a named choice with a default. Where there is a documented
//! example the default follows it.

use serde::{Deserialize, Serialize};

/// What to do with a command for a task that is already in the state asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlreadyThere {
    /// Counted as success.
    #[default]
    Success,
    /// An item under `failure`: FDI.3023 for a start, FDI.3019 (real-time) or FDI.3020 (scheduled) for a stop.
    FailureItem,
    /// 400 for the whole request with the same code.
    WholeRequest,
}

/// How a start of a task without schedule plan is refused (FDI.3083).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPlan {
    /// 404 for the whole request: the documented example.
    #[default]
    WholeRequest,
    FailureItem,
}

/// How an ID that the instance does not know is refused.
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

/// What a batch that is refused as a whole has done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApplyBeforeError {
    #[default]
    None,
    /// Every task named before the first culprit.
    Prefix,
    /// Every task but the culprits.
    AllButCulprits,
}

/// What an ID named twice in one batch means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateIds {
    /// 400 FDI.3002 for the whole request.
    #[default]
    WholeRequest,
    /// Handled once for each mention.
    EachMention,
}

/// The shape of FDI error bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorShape {
    /// `{"error_code", "error_msg"}`
    #[default]
    Flat,
    /// `{"code": 404, "reason": {"error_code", "error_msg"}}`, as in the examples of `CreateDispatches`.
    Wrapped,
    /// `{"error_code": 404, "error_msg"}`: the status as a number in place of the code, as one family of ROMA APIs.
    Numeric,
}

/// The answer for an instance ID that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownInstance {
    /// 400 FDI.3002 "Invalid parameters."
    #[default]
    Fdi3002,
    /// 500 ROMA.00110002 "The instance does not exist. …", as the device APIs of ROMA answer.
    Roma00110002,
}

/// The answer for a token or key of another project than the one in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrongProject {
    /// 400 FDI.3039 "The project ID is empty or does not match the project ID in the URL."
    #[default]
    Fdi3039,
    /// 403 APIGW.0302
    Apigw0302,
}

/// Which sign-ins are taken; the others meet 401 APIGW.0301.
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
    /// 400 ROMA.1000 (no token), ROMA.1002 (wrong token), ROMA.1006 (not permitted).
    Roma,
}

/// Which names the list's name filter goes by; a name that is not accepted is ignored, as any unknown parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameFilter {
    /// `task_name`, `name` and `taks_name`.
    #[default]
    All,
    /// `task_name`, as the page of 2025 says.
    TaskName,
    /// `name`, as the official SDK sends.
    Name,
    /// `taks_name`, as the old page says.
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

/// All choices. One set holds for the whole simulator; an instance may have its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    pub start_running: AlreadyThere,
    pub stop_stopped: AlreadyThere,
    pub missing_plan: MissingPlan,
    pub unknown_id: UnknownId,
    pub apply_before_error: ApplyBeforeError,
    pub duplicate_ids: DuplicateIds,
    pub error_shape: ErrorShape,
    pub unknown_instance: UnknownInstance,
    pub wrong_project: WrongProject,
    pub sign_in: SignIn,
    pub sign_in_errors: SignInErrors,
    pub name_filter: NameFilter,
    /// Time from an accepted command until the switch is seen to move.
    pub settle_ms: u64,
    /// Most entries of one page: the SDK says 999, the page of 2025 says 1000.
    pub page_cap: usize,
    /// Page size when the request names none. Not documented; 10 is the default of the sibling `ListMonitorInfos`.
    pub default_limit: usize,
    /// Whether a start or stop moves `execute_status` too (to WAITING or RUNNING, and to CANCELLED).
    pub last_run_follows: bool,
    /// How long a token issued by IAM is good for.
    pub token_seconds: u64,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            start_running: AlreadyThere::default(),
            stop_stopped: AlreadyThere::default(),
            missing_plan: MissingPlan::default(),
            unknown_id: UnknownId::default(),
            apply_before_error: ApplyBeforeError::default(),
            duplicate_ids: DuplicateIds::default(),
            error_shape: ErrorShape::default(),
            unknown_instance: UnknownInstance::default(),
            wrong_project: WrongProject::default(),
            sign_in: SignIn::default(),
            sign_in_errors: SignInErrors::default(),
            name_filter: NameFilter::default(),
            settle_ms: 0,
            page_cap: 999,
            default_limit: 10,
            last_run_follows: true,
            token_seconds: 24 * 60 * 60,
        }
    }
}
