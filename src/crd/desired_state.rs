//! The run state that tasks are to have, as specs and statuses spell it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fdi::RunState;

/// `Running` or `Stopped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    Running,
    #[default]
    Stopped,
}

impl From<DesiredState> for RunState {
    fn from(state: DesiredState) -> Self {
        match state {
            DesiredState::Running => Self::Running,
            DesiredState::Stopped => Self::Stopped,
        }
    }
}

impl From<RunState> for DesiredState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Running => Self::Running,
            RunState::Stopped => Self::Stopped,
        }
    }
}
