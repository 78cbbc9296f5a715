//! The model of the FDI service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::fdi::{
    Action, Batch, BatchResponse, CallError, Cause, Class, LastRun, Outcome, Refusal, RunState, Task, TaskAttributes,
    TaskId, TaskType,
};
use crate::time::backoff::add;

pub fn id(n: usize) -> TaskId {
    TaskId::new(format!("task-{n:04}")).unwrap()
}

pub fn error(class: Class, cause: Cause, code: &str) -> CallError {
    CallError {
        class,
        cause,
        code: code.into(),
        message: format!("{code} happened"),
        request_id: None,
        permanent: matches!(code, "FDI.3083" | "FDI.3021" | "FDI.3002"),
        retry_after: None,
    }
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A request that the service fails without acting.
pub fn unavailable() -> Fault {
    Fault::Fail { error: error(Class::Unavailable, Cause::Unavailable, "HTTP 500"), applied: 0 }
}

/// A task that is refused with this code.
pub fn refusing(code: &str, permanent: bool) -> TaskBehavior {
    let refusal = Refusal { code: code.into(), message: format!("{code}: do something"), permanent };
    TaskBehavior { settles_after: Some(Duration::ZERO), refuses: Some(Outcome::Refused(refusal)), poison: None }
}

/// How the service treats the next request of a kind; the queue's default is to do as asked.
#[derive(Debug, Clone)]
pub enum Fault {
    Do,
    /// The request fails; for a batch, the first `applied` tasks are acted upon all the same.
    Fail {
        error: CallError,
        applied: usize,
    },
    /// The answer leaves these places of the batch out, or refuses them.
    Partly(Vec<(usize, Outcome)>),
}

#[derive(Debug, Clone)]
pub struct TaskBehavior {
    pub settles_after: Option<Duration>,
    pub refuses: Option<Outcome>,
    pub poison: Option<CallError>,
}

#[derive(Debug, Clone)]
pub struct Switching {
    state: RunState,
    at: Timestamp,
}

/// The model of the service.
#[derive(Debug, Clone, Default)]
pub struct Service {
    pub tasks: BTreeMap<TaskId, RunState>,
    pub switching: Vec<(TaskId, Switching)>,
    /// How the latest runs went, where they did not succeed.
    pub last_runs: BTreeMap<TaskId, LastRun>,
    pub scheduled: BTreeSet<TaskId>,
    /// The name of every task, where it is not made from its ID.
    pub name: Option<String>,
    /// The names of single tasks.
    pub names: BTreeMap<TaskId, String>,
    pub tags: BTreeMap<TaskId, String>,
    /// Tasks that are listed with a status that the operator does not know.
    pub unknown: BTreeSet<TaskId>,
    pub behaviors: BTreeMap<TaskId, TaskBehavior>,
    pub list_faults: VecDeque<Fault>,
    pub batch_faults: VecDeque<Fault>,
    /// Every list answers as of this long ago.
    pub lag: Duration,
    /// The moment that the newest list shows.
    pub listed_until: Option<Timestamp>,
    pub history: Vec<(Timestamp, BTreeMap<TaskId, RunState>)>,
    pub calls: Vec<(Timestamp, Action, Vec<TaskId>)>,
    pub lists: usize,
}

impl Service {
    /// Does what is due, each thing at its time.
    pub fn advance(&mut self, now: Timestamp) {
        let mut due: Vec<_> = self.switching.extract_if(.., |(_, switching)| switching.at <= now).collect();
        due.sort_by_key(|(_, switching)| switching.at);
        for (id, switching) in due {
            if let Some(state) = self.tasks.get_mut(&id) {
                *state = switching.state;
                self.history.push((switching.at, self.tasks.clone()));
            }
        }
        if self.history.last().is_none_or(|(_, tasks)| *tasks != self.tasks) {
            self.history.push((now, self.tasks.clone()));
        }
    }

    /// Whether something that was sent will switch the task to this state.
    pub fn will_become(&self, id: &TaskId, state: RunState) -> bool {
        self.switching.iter().any(|(task, switching)| task == id && switching.state == state)
    }

    fn name_of(&self, id: &TaskId) -> String {
        self.names.get(id).or(self.name.as_ref()).cloned().unwrap_or_else(|| format!("name of {id}"))
    }

    pub fn list(&mut self, now: Timestamp) -> Result<Vec<Task>, CallError> {
        self.advance(now);
        self.lists += 1;
        if let Some(Fault::Fail { error, .. }) = self.list_faults.pop_front() {
            return Err(error);
        }
        // A list may lag behind, but none shows older things than the one before.
        let lagging = now.checked_sub(jiff::SignedDuration::try_from(self.lag).unwrap()).unwrap();
        self.listed_until = self.listed_until.max(Some(lagging));
        let seen =
            self.history.iter().rev().find(|(at, _)| Some(*at) <= self.listed_until).map_or(&self.tasks, |(_, t)| t);
        Ok(seen
            .iter()
            .map(|(id, &state)| Task {
                id: id.clone(),
                name: self.name_of(id).into(),
                state: (!self.unknown.contains(id)).then_some(state),
                last_run: self.last_runs.get(id).copied().unwrap_or(LastRun::Success),
                type_: self.scheduled.contains(id).then_some(TaskType::Scheduled),
                attributes: Some(Arc::new(TaskAttributes {
                    tag: self.tags.get(id).map_or("", String::as_str).into(),
                    ..TaskAttributes::default()
                })),
            })
            .collect())
    }

    pub fn batch(&mut self, batch: &Batch, now: Timestamp) -> Result<BatchResponse, CallError> {
        self.calls.push((now, batch.action(), batch.ids().to_vec()));
        let act = self.batch_faults.pop_front().unwrap_or(Fault::Do);
        let poison = batch.ids().iter().find_map(|id| self.behaviors.get(id).and_then(|m| m.poison.clone()));
        if let Some(error) = poison {
            return Err(error);
        }
        let mut outcomes = Vec::new();
        for (place, id) in batch.ids().iter().enumerate() {
            let refused = self.behaviors.get(id).and_then(|m| m.refuses.clone());
            let answered = match &act {
                Fault::Partly(places) => places.iter().find(|(p, _)| *p == place).map(|(_, o)| o.clone()),
                _ => None,
            };
            let outcome = if self.tasks.contains_key(id) {
                refused.or(answered).unwrap_or(Outcome::Accepted)
            } else {
                Outcome::Unknown
            };
            let acted = match &act {
                Fault::Fail { applied, .. } => place < *applied,
                _ => outcome == Outcome::Accepted,
            };
            if acted {
                let delay = self.behaviors.get(id).map_or(Some(Duration::ZERO), |m| m.settles_after);
                self.switching.retain(|(other, _)| other != id);
                if let Some(delay) = delay {
                    self.switching
                        .push((id.clone(), Switching { state: batch.action().target(), at: add(now, delay) }));
                }
            }
            outcomes.push((id.clone(), outcome));
        }
        self.advance(now);
        match act {
            Fault::Fail { error, .. } => Err(error),
            _ => Ok(BatchResponse { outcomes, request_id: None }),
        }
    }
}
