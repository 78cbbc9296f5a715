//! Which tasks fail their runs, and since when. Only those take memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::fdi::{RunHealth, Task, TaskId};

/// A task whose latest run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// When a list first showed it.
    pub since: Timestamp,
    /// Why, as the monitor log says.
    pub cause: Cause,
}

/// What is known of the cause of a failed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The log was not requested yet.
    NotRequested,
    /// The log does not say it, or cannot be read.
    Unknown,
    Known(Box<str>),
}

impl FailedRun {
    pub fn cause(&self) -> Option<&str> {
        match &self.cause {
            Cause::Known(cause) => Some(cause),
            Cause::NotRequested | Cause::Unknown => None,
        }
    }
}

/// The tasks of an instance whose latest run failed.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct FailedRuns(BTreeMap<TaskId, FailedRun>);

impl FailedRuns {
    pub fn get(&self, id: &TaskId) -> Option<&FailedRun> {
        self.0.get(id)
    }

    /// Takes in what a list shows of the task, if it shows it. True when the list shows a run.
    pub fn observe(&mut self, id: &TaskId, task: Option<&Task>, now: Timestamp) -> bool {
        let health = task.map_or(RunHealth::NoRuns, Task::run_health);
        match health {
            RunHealth::Failing if !self.0.contains_key(id) => {
                self.0.insert(id.clone(), FailedRun { since: now, cause: Cause::NotRequested });
            }
            RunHealth::Healthy | RunHealth::NoRuns if !self.0.is_empty() => drop(self.0.remove(id)),
            _ => {}
        }
        matches!(health, RunHealth::Failing | RunHealth::Healthy)
    }

    /// Takes in what the log says. It is requested once for each failure.
    pub fn record_cause(&mut self, id: &TaskId, cause: Option<String>) {
        if let Some(run) = self.0.get_mut(id) {
            run.cause = cause.map_or(Cause::Unknown, |cause| Cause::Known(cause.into()));
        }
    }

    /// Takes over what a status stores from before a restart.
    pub fn restore(&mut self, id: &TaskId, run: FailedRun) {
        self.0.entry(id.clone()).or_insert(run);
    }

    /// Forgets tasks.
    pub fn retain(&mut self, keep: impl Fn(&TaskId) -> bool) {
        self.0.retain(|id, _| keep(id));
    }
}
