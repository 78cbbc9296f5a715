//! What the service's documentation leaves open, each as a named choice. Where there is a
//! documented example, the default follows it.

use serde::{Deserialize, Serialize};

mod choices;

pub use choices::{
    AlreadyThere, ApplyBeforeError, DuplicateIds, ErrorShape, JudgedState, MissingPlan, MonitorFields, MonitorOffset,
    MonitorOrder, Monitoring, NameFilter, NonArrayList, NonObjectItems, SignIn, SignInErrors, TerminateIdle, UnknownId,
    UnknownInstance, WrongProject,
};

/// All choices. One set applies to the whole simulator; an instance may have its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    pub start_running: AlreadyThere,
    pub stop_stopped: AlreadyThere,
    pub judged_state: JudgedState,
    pub missing_plan: MissingPlan,
    pub unknown_id: UnknownId,
    pub apply_before_error: ApplyBeforeError,
    pub duplicate_ids: DuplicateIds,
    pub non_object_items: NonObjectItems,
    pub non_array_list: NonArrayList,
    pub error_shape: ErrorShape,
    pub unknown_instance: UnknownInstance,
    pub wrong_project: WrongProject,
    pub sign_in: SignIn,
    pub sign_in_errors: SignInErrors,
    pub name_filter: NameFilter,
    /// Time from an accepted command until lists show the new state.
    pub settle_ms: u64,
    /// Most entries of one page: the SDK says 999, the page of 2025 says 1000.
    pub page_cap: usize,
    /// Page size when the request names none. Not documented; 10 is the default of the sibling
    /// `ListMonitorInfos`.
    pub default_limit: usize,
    /// Whether a start or stop changes `execute_status` too (to WAITING or RUNNING, and to
    /// CANCELLED).
    pub last_run_follows: bool,
    /// Whether the stop of a scheduled task cancels the run that is executing; otherwise that run
    /// goes on. The run of a real-time task always ends.
    pub stop_cancels_run: bool,
    /// How long a run takes that `RunTask` began.
    pub run_ms: u64,
    /// The answer of `StopTask` when no run is executing.
    pub terminate_idle: TerminateIdle,
    pub monitoring: Monitoring,
    pub monitor_offset: MonitorOffset,
    pub monitor_order: MonitorOrder,
    pub monitor_fields: MonitorFields,
    /// How long a token issued by IAM is valid.
    pub token_seconds: u64,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            start_running: AlreadyThere::default(),
            stop_stopped: AlreadyThere::default(),
            judged_state: JudgedState::default(),
            missing_plan: MissingPlan::default(),
            unknown_id: UnknownId::default(),
            apply_before_error: ApplyBeforeError::default(),
            duplicate_ids: DuplicateIds::default(),
            non_object_items: NonObjectItems::default(),
            non_array_list: NonArrayList::default(),
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
            stop_cancels_run: true,
            run_ms: 0,
            terminate_idle: TerminateIdle::default(),
            monitoring: Monitoring::default(),
            monitor_offset: MonitorOffset::default(),
            monitor_order: MonitorOrder::default(),
            monitor_fields: MonitorFields::default(),
            token_seconds: 24 * 60 * 60,
        }
    }
}
