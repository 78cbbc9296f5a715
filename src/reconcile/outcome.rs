//! What became of the calls that were sent. Pure.

use jiff::Timestamp;

use crate::fdi::{Batch, BatchResponse, CallError, Class, Outcome, TaskId};

/// The calls of one reconcile. Default: none was sent.
#[derive(Debug, Default)]
pub struct Outcomes {
    calls: Vec<CompletedCall>,
    drift_corrected: Vec<TaskId>,
    unfinished: bool,
    not_sent: Option<(CallError, Timestamp)>,
}

/// One call with its response.
#[derive(Debug)]
pub struct CompletedCall {
    pub batch: Batch,
    pub result: Result<BatchResponse, CallError>,
    /// When the response came, or was given up.
    pub ended: Timestamp,
}

impl CompletedCall {
    /// What the service says of each task; nothing where the call failed as a whole.
    pub fn outcomes(&self) -> impl Iterator<Item = &(TaskId, Outcome)> {
        self.result.iter().flat_map(|response| &response.outcomes)
    }

    /// The tasks that it was accepted for.
    pub fn accepted(&self) -> impl Iterator<Item = &TaskId> {
        self.outcomes().filter(|(_, outcome)| *outcome == Outcome::Accepted).map(|(id, _)| id)
    }

    /// The rest of the plan is pointless: the cause may concern the whole instance.
    pub fn stops_plan(&self) -> bool {
        self.result.as_ref().is_err_and(|error| error.class != Class::Split)
    }

    fn splits(&self) -> bool {
        self.result.as_ref().is_err_and(|error| matches!(error.class, Class::Split | Class::SplitOnce))
    }
}

impl Outcomes {
    /// `interrupted`: calls of the plan were left out because something changed or time ran out.
    pub fn new(calls: Vec<CompletedCall>, interrupted: bool) -> Self {
        let unfinished = interrupted || calls.iter().any(CompletedCall::splits);
        Self { calls, drift_corrected: Vec::new(), unfinished, not_sent: None }
    }

    /// Why no further call could be sent, and when that was found.
    #[must_use]
    pub fn with_not_sent(mut self, not_sent: Option<(CallError, Timestamp)>) -> Self {
        self.not_sent = not_sent;
        self
    }

    /// Whether anything was sent, is left to be sent, or could not be sent.
    pub fn has_any(&self) -> bool {
        !self.calls.is_empty() || self.unfinished || self.not_sent.is_some()
    }

    pub fn not_sent(&self) -> Option<&(CallError, Timestamp)> {
        self.not_sent.as_ref()
    }

    /// Marks tasks that somebody else had switched and that accepted our call.
    #[must_use]
    pub fn with_drift_corrected(mut self, tasks: Vec<TaskId>) -> Self {
        self.drift_corrected = tasks;
        self
    }

    pub fn calls(&self) -> &[CompletedCall] {
        &self.calls
    }

    /// Tasks that somebody else had switched and that accepted our call.
    pub fn drift_corrected(&self) -> &[TaskId] {
        &self.drift_corrected
    }

    /// More can be done at once: the plan was interrupted, or a batch was refused for a task in it.
    pub fn unfinished(&self) -> bool {
        self.unfinished
    }
}
