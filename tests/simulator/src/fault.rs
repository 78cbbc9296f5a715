//! What goes wrong between the service and its caller: a fault is *which requests* and *what
//! happens to them*.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Millis, millis};
use crate::log::{Identity, Operation};
use crate::task::{Action, Task};

mod effect;

pub use effect::Effect;

/// A fault as it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Fault {
    #[serde(flatten)]
    pub on: Trigger,
    #[serde(flatten)]
    pub effect: Effect,
}

impl TryFrom<Value> for Fault {
    type Error = String;

    /// A misspelt trigger would make a fault strike everything, so unknown fields are refused.
    fn try_from(value: Value) -> Result<Self, String> {
        let on: Trigger = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        let effect: Effect = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        if effect.remembers() && (on.project.is_none() || on.instance.is_none()) {
            return Err("this kind of fault must name a project and an instance".to_owned());
        }
        if let Effect::EntryRaw { raw, .. } = &effect
            && !raw.chars().all(|letter| u8::try_from(letter).is_ok())
        {
            return Err("raw has characters beyond U+00FF, which stand for no byte".to_owned());
        }
        let fault = Self { on, effect };
        let known = serde_json::to_value(&fault).map_err(|error| error.to_string())?;
        let unknown = value.as_object().into_iter().flatten().find(|(name, _)| known.get(name.as_str()).is_none());
        unknown.map_or(Ok(fault), |(name, _)| Err(format!("a fault of this kind has no field {name}")))
    }
}

/// Which requests a fault strikes: those that match everything given here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    pub operation: Option<Operation>,
    /// Sign-ins at IAM are of no project and no instance.
    pub project: Option<String>,
    pub instance: Option<String>,
    /// Batches with this action.
    pub action: Option<Action>,
    /// Requests that name this task: in a batch, or in the path.
    pub task: Option<String>,
    /// Requests of this caller, as the log names it: an access key, `domain/user` at IAM, the
    /// beginning of a token's SHA-256.
    pub identity: Option<String>,
    /// The first so many matching requests are spared.
    pub skip: u32,
    /// Then it strikes this often; until cleared when absent.
    pub times: Option<u32>,
    /// It ends this long after it was set; when cleared when absent.
    pub for_ms: Option<u64>,
}

impl Trigger {
    /// Every request of this operation.
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::default() }
    }

    /// Every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only the next `times`.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Not the first `skip`.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Only batches with this action.
    #[must_use]
    pub fn action(self, action: Action) -> Self {
        Self { action: Some(action), ..self }
    }

    /// Only requests that name this task.
    #[must_use]
    pub fn task(self, id: &str) -> Self {
        Self { task: Some(id.to_owned()), ..self }
    }

    /// Only requests of this caller.
    #[must_use]
    pub fn identity(self, identity: &str) -> Self {
        Self { identity: Some(identity.to_owned()), ..self }
    }

    /// Only for so long after it was set.
    #[must_use]
    pub fn lasting(self, span: Duration) -> Self {
        Self { for_ms: Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)), ..self }
    }

    fn matches(&self, facts: Facts<'_>) -> bool {
        self.operation.is_none_or(|operation| operation == facts.operation)
            && self.project.as_deref().is_none_or(|project| facts.project == Some(project))
            && self.instance.as_deref().is_none_or(|instance| facts.instance == Some(instance))
            && self.action.is_none_or(|action| facts.action == Some(action))
            && self.task.as_deref().is_none_or(|task| facts.ids.iter().any(|id| &**id == task))
            && self.identity.as_deref().is_none_or(|identity| facts.identity.name() == Some(identity))
    }
}

/// What a fault is matched with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub operation: Operation,
    pub project: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub action: Option<Action>,
    pub ids: &'a [Arc<str>],
    pub identity: &'a Identity,
}

/// A fault that is set.
#[derive(Debug, Clone, Serialize)]
pub struct ActiveFault {
    pub id: u64,
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it has struck.
    pub struck: u32,
    #[serde(skip)]
    spared: u32,
    #[serde(skip)]
    ends_at: Option<Millis>,
    /// When a rate limit accepted the latest requests.
    #[serde(skip)]
    accepted: VecDeque<Millis>,
    /// What lists showed: at first what was there when the fault was set, then one more for each
    /// list request.
    #[serde(skip)]
    snapshots: VecDeque<Vec<Task>>,
}

impl ActiveFault {
    pub(crate) fn new(id: u64, fault: Fault, now: Millis) -> Self {
        let ends_at = fault.on.for_ms.map(|ms| now.saturating_add(millis(Duration::from_millis(ms))));
        Self { id, fault, struck: 0, spared: 0, ends_at, accepted: VecDeque::new(), snapshots: VecDeque::new() }
    }

    /// The project and the instance whose tasks must be remembered with [`Self::remember`].
    pub(crate) fn remembers(&self) -> Option<(&str, &str)> {
        let on = &self.fault.on;
        let named = on.project.as_deref().zip(on.instance.as_deref());
        named.filter(|_| self.fault.effect.remembers())
    }

    pub(crate) fn remember(&mut self, tasks: Vec<Task>) {
        self.snapshots.push_back(tasks);
    }

    /// What it does to this request, if it strikes; counted.
    pub(crate) fn strike(&mut self, facts: Facts<'_>, now: Millis) -> Option<Effect> {
        let on = &self.fault.on;
        let over = self.ends_at.is_some_and(|end| end <= now) || on.times.is_some_and(|times| self.struck >= times);
        if over || !on.matches(facts) {
            return None;
        }
        if self.spared < on.skip {
            self.spared += 1;
            return None;
        }
        let effect = match self.fault.effect {
            Effect::RateLimit { requests, per_ms, retry_after, acts } => {
                let seconds = self.refused_for(requests, millis(Duration::from_millis(per_ms)), now)?;
                let throttled = Effect::throttled(retry_after.then_some(seconds));
                if acts { throttled.after_acting() } else { throttled }
            }
            _ => self.fault.effect.clone(),
        };
        self.struck += 1;
        Some(effect)
    }

    /// The seconds, rounded up, until a rate limit accepts a request again; `None` when it accepts
    /// this one.
    fn refused_for(&mut self, requests: u32, per: Millis, now: Millis) -> Option<u64> {
        while self.accepted.front().is_some_and(|at| *at <= now - per) {
            self.accepted.pop_front();
        }
        if self.accepted.len() < usize::try_from(requests).unwrap_or(usize::MAX) {
            self.accepted.push_back(now);
            return None;
        }
        let left = self.accepted.front().map_or(per, |oldest| oldest + per - now);
        Some(u64::try_from(left).unwrap_or(0).div_ceil(1_000))
    }

    /// What the list shows in place of `tasks`, for the two effects that remember.
    pub(crate) fn remembered(&mut self, tasks: &[Task]) -> Option<Vec<Task>> {
        match self.fault.effect {
            Effect::Frozen => self.snapshots.front().cloned(),
            Effect::StaleBy { calls } => {
                self.snapshots.push_back(tasks.to_vec());
                while self.snapshots.len() > calls + 1 {
                    self.snapshots.pop_front();
                }
                self.snapshots.front().cloned()
            }
            _ => None,
        }
    }
}
