//! The runs of a task: what its monitor log shows.

use std::collections::VecDeque;

use serde::Serialize;

use super::fields::LastRun;
use crate::clock::Millis;

/// Most runs that are kept of one task.
pub(super) const MAX_RUNS: usize = 1_000;

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskRun {
    /// 1, 2, 3 … within the task.
    pub number: u64,
    pub started_at: Millis,
    /// `None`: it is executing.
    pub ended_at: Option<Millis>,
    pub execute_status: LastRun,
    /// The run-log code: 16, 99–108 reader, 500–507 writer, 900–916 others.
    pub code: u16,
}

/// The runs of a task, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    kept: VecDeque<TaskRun>,
    made: u64,
}

impl Runs {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &TaskRun> + ExactSizeIterator {
        self.kept.iter()
    }

    /// The run that is executing. A refused overlap may have been logged after it began.
    fn open(&mut self) -> Option<&mut TaskRun> {
        self.kept.iter_mut().rev().find(|run| run.ended_at.is_none())
    }

    /// Begins a run, unless one is executing.
    pub fn begin(&mut self, at: Millis) {
        if self.open().is_none() {
            self.add(at, None, LastRun::Running, code_of(LastRun::Running));
        }
    }

    /// Ends the run that is executing; false when there is none.
    pub fn end_open(&mut self, at: Millis, how: LastRun, code: u16) -> bool {
        let Some(run) = self.open() else { return false };
        (run.ended_at, run.execute_status, run.code) = (Some(at), how, code);
        true
    }

    /// Ends the run that is executing, or adds one that began and ended at `at`.
    pub fn end(&mut self, at: Millis, how: LastRun, code: u16) {
        if !self.end_open(at, how, code) {
            self.add(at, Some(at), how, code);
        }
    }

    /// A run that was rejected because the one before is still executing.
    pub fn reject_overlap(&mut self, at: Millis) {
        const REJECTED: u16 = 914;
        self.add(at, Some(at), LastRun::Error, REJECTED);
    }

    fn add(&mut self, started_at: Millis, ended_at: Option<Millis>, execute_status: LastRun, code: u16) {
        self.made += 1;
        if self.kept.len() == MAX_RUNS {
            self.kept.pop_front();
        }
        self.kept.push_back(TaskRun { number: self.made, started_at, ended_at, execute_status, code });
    }
}

/// The run-log code of a run in this state when nothing more particular is known.
pub(crate) fn code_of(state: LastRun) -> u16 {
    match state {
        LastRun::Unstarted | LastRun::Waiting => 900,
        LastRun::Running => 102,
        LastRun::Success => 901,
        LastRun::Cancelled => 16,
        LastRun::Error => 915,
    }
}
