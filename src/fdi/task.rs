//! The vocabulary of the FDI API as types: task IDs, run states, actions and tasks.

use std::fmt;
use std::sync::Arc;

/// Longest task ID that the service accepts (API definition: `task_id` 1–64).
const TASK_ID_MAX: usize = 64;

/// ID of one FDI task: 1–64 characters of `A-Z a-z 0-9 _ -`.
///
/// Cheap to clone: plans, outcomes and the ledger all name the same tasks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

/// Why a text is not a [`TaskId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task ID must have 1 to 64 characters out of A-Z, a-z, 0-9, '_' and '-'")]
pub struct InvalidTaskId;

impl TaskId {
    /// Checks and wraps `text`; an `Arc` is not copied.
    ///
    /// # Errors
    /// [`InvalidTaskId`] when the text is empty, too long or has other characters.
    pub fn new(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, InvalidTaskId> {
        let bytes = text.as_ref().as_bytes();
        let valid = (1..=TASK_ID_MAX).contains(&bytes.len())
            && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidTaskId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The task's switch: FDI `status` 1 is Running, 0 is Stopped. It is compared with the desired
/// state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunState {
    Running,
    Stopped,
}

impl RunState {
    /// The other state.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Running => Self::Stopped,
            Self::Stopped => Self::Running,
        }
    }

    /// The action that leads to this state.
    pub fn action(self) -> Action {
        match self {
            Self::Running => Action::Start,
            Self::Stopped => Action::Stop,
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
        })
    }
}

/// What a batch call does: `action_id` `start` or `stop`. Stops sort before starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Stop,
    Start,
}

impl Action {
    /// The state in which the task is settled after this action.
    pub fn target(self) -> RunState {
        match self {
            Self::Start => RunState::Running,
            Self::Stop => RunState::Stopped,
        }
    }

    /// Reads [`Action::as_str`] back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Start, Self::Stop].into_iter().find(|action| action.as_str() == text)
    }

    /// As the service spells it in `action_id`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the latest run of a task went: FDI `execute_status`. Reported, never compared with the
/// desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LastRun {
    Unstarted,
    Waiting,
    Running,
    Success,
    Cancelled,
    Error,
    /// Absent, or a value that this version does not know.
    Unknown,
}

/// One task as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub name: Box<str>,
    /// `None`: the service shows a status that this version does not know.
    pub state: Option<RunState>,
    pub last_run: LastRun,
    /// `None`: the service shows a type that this version does not know.
    pub type_: Option<TaskType>,
    /// By what it may be selected; `None` where the list was requested without.
    pub attributes: Option<Arc<TaskAttributes>>,
}

/// How a task runs: FDI `task_type` and `ext_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskType {
    /// At planned times (`TIMING`).
    Scheduled,
    /// All the time (`REALTIME`).
    RealTime,
    /// All the time, over many tables (`ext_type` `CDC`).
    Composite,
}

impl TaskType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::RealTime => "RealTime",
            Self::Composite => "Composite",
        }
    }
}

/// What the list says about a task beside its name and type: `task_tag`, `source_app_id` and
/// `target_app_id`. Empty where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskAttributes {
    pub tag: Box<str>,
    pub source_app: Box<str>,
    pub target_app: Box<str>,
}

/// Whether a list keeps the [`TaskAttributes`]. They cost memory and are needed only where tasks
/// are selected by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    Keep,
    Omit,
}

/// What a list says about the runs of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunHealth {
    /// The latest run that ended failed.
    Failing,
    /// The latest run did not fail, or a task that runs all the time does so.
    Healthy,
    /// It is off, or has had no run since somebody reset it.
    NoRuns,
    /// Nothing new: a planned run is still to end, or the service says nothing that is understood.
    Undecided,
}

impl Task {
    /// It runs at planned times, and not all the time.
    pub fn is_scheduled(&self) -> bool {
        self.type_ == Some(TaskType::Scheduled)
    }

    /// How the runs of the task go. A run that has not ended says nothing about how it will end, so
    /// a task that fails each night does not seem cured while it runs.
    pub fn run_health(&self) -> RunHealth {
        match (self.state, self.last_run) {
            (Some(RunState::Stopped), _) | (_, LastRun::Unstarted) => RunHealth::NoRuns,
            (None, _) | (_, LastRun::Waiting | LastRun::Unknown) => RunHealth::Undecided,
            (_, LastRun::Running) if self.is_scheduled() => RunHealth::Undecided,
            (_, LastRun::Running | LastRun::Success | LastRun::Cancelled) => RunHealth::Healthy,
            (_, LastRun::Error) => RunHealth::Failing,
        }
    }
}
