//! What goes wrong between the service and its caller: a fault is *which requests* and *what happens to them*.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::Operation;
use crate::task::{Action, Task};

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
        let remembers = matches!(effect, Effect::Frozen | Effect::StaleBy { .. });
        if remembers && (on.project.is_none() || on.instance.is_none()) {
            return Err("this kind of fault must name a project and an instance".to_owned());
        }
        let fault = Self { on, effect };
        let known = serde_json::to_value(&fault).map_err(|error| error.to_string())?;
        let unknown = value.as_object().into_iter().flatten().find(|(name, _)| known.get(name.as_str()).is_none());
        unknown.map_or(Ok(fault), |(name, _)| Err(format!("a fault of this kind has no field {name}")))
    }
}

/// Which requests meet the fault: those that match everything given here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    pub operation: Option<Operation>,
    pub project: Option<String>,
    pub instance: Option<String>,
    /// Batches with this action.
    pub action: Option<Action>,
    /// Requests that name this task: in a batch, or in the path.
    pub task: Option<String>,
    /// Let this many matching requests pass first.
    pub skip: u32,
    /// Then strike this often; until cleared when absent.
    pub times: Option<u32>,
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
}

/// What happens. Unless said otherwise the service acts first (a batch is done, a list is read) and then it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Effect {
    /// Latency before and after acting. The service acts even when the caller has gone by then.
    Delay {
        #[serde(default)]
        before_ms: u64,
        #[serde(default)]
        after_ms: u64,
    },
    /// This answer, whatever it is: a gateway error, HTML, half a JSON, 200 with an error object.
    /// `{request_id}` in the body becomes the request's ID.
    Answer {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        body: String,
        /// Act, then answer this. Otherwise nothing is done.
        #[serde(default)]
        acts: bool,
    },
    /// No answer, the connection stays open.
    Hang {
        #[serde(default)]
        acts: bool,
    },
    /// The connection is closed before any byte of an answer.
    Cut {
        #[serde(default)]
        acts: bool,
    },
    /// The connection is closed after the headers and this many bytes of the body.
    CutBody { bytes: usize },
    /// The body comes in pieces of this many bytes, one each `every_ms`.
    Drip { bytes: usize, every_ms: u64 },
    /// The body is followed by white space until it has this many bytes: valid JSON, if one reads that far.
    Flood { bytes: u64 },
    /// The first `count` entries are left out; the counts stay.
    MissingIds { count: usize },
    /// These IDs are added to the successes (a list: as running tasks); the counts grow along.
    ExtraIds { ids: Vec<String> },
    /// The first `count` entries are there twice; the counts stay.
    TwiceIds { count: usize },
    /// The first `count` successes are under `failure` as well; the counts stay. Batches only.
    BothLists { count: usize },
    /// Added to `success_count` and `failure_count` (a list: to `total` and `size`).
    WrongCounts {
        #[serde(default)]
        success: i64,
        #[serde(default)]
        failure: i64,
    },
    /// Lists show every switch as it was this long ago, and no task younger than that.
    StaleFor { ms: u64 },
    /// Lists show what the list request this many requests earlier would have shown; the first ones, what was there when
    /// the fault was set. Needs an instance in its trigger.
    StaleBy { calls: usize },
    /// Lists show what was there when the fault was set. Needs an instance in its trigger.
    Frozen,
}

impl Effect {
    /// An answer in place of the service's own.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into(), acts: false }
    }

    /// A gateway's HTML page.
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            headers: vec![("content-type".into(), "text/html".into())],
            body: format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"),
            acts: false,
        }
    }

    /// An error of the FDI service itself, flat.
    pub fn fdi(status: u16, code: &str, message: &str) -> Self {
        Self::answer(status, serde_json::json!({"error_code": code, "error_msg": message}).to_string())
    }

    /// An error of the API gateway, such as `APIGW.0201`.
    pub fn gateway(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"error_msg": message, "error_code": code, "request_id": "{request_id}"});
        Self::answer(status, body.to_string())
    }

    /// 429 APIGW.0308, with `Retry-After` in seconds where given.
    pub fn throttled(retry_after: Option<u64>) -> Self {
        let message = "The throttling threshold has been reached: policy domain over ratelimit,limit:1000,time:1 day";
        let mut effect = Self::gateway(429, "APIGW.0308", message);
        if let (Self::Answer { headers, .. }, Some(seconds)) = (&mut effect, retry_after) {
            headers.push(("retry-after".into(), seconds.to_string()));
        }
        effect
    }

    /// The same, after the service has acted.
    #[must_use]
    pub fn after_acting(mut self) -> Self {
        if let Self::Answer { acts, .. } | Self::Hang { acts } | Self::Cut { acts } = &mut self {
            *acts = true;
        }
        self
    }
}

/// A fault in force.
#[derive(Debug, Clone, Serialize)]
pub struct ActiveFault {
    pub id: u64,
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it has struck.
    pub struck: u32,
    #[serde(skip)]
    passed: u32,
    /// What lists showed: at first what was there when the fault was set, then one more for each list request.
    #[serde(skip)]
    pub(crate) snapshots: std::collections::VecDeque<Vec<Task>>,
}

/// What a fault is matched with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub operation: Operation,
    pub project: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub action: Option<Action>,
    pub ids: &'a [std::sync::Arc<str>],
}

impl ActiveFault {
    pub(crate) fn new(id: u64, fault: Fault, snapshot: Option<Vec<Task>>) -> Self {
        Self { id, fault, struck: 0, passed: 0, snapshots: snapshot.into_iter().collect() }
    }

    /// Whether it strikes this request; counted.
    pub(crate) fn strikes(&mut self, facts: Facts<'_>) -> bool {
        let on = &self.fault.on;
        let matches = on.operation.is_none_or(|operation| operation == facts.operation)
            && on.project.as_deref().is_none_or(|project| facts.project == Some(project))
            && on.instance.as_deref().is_none_or(|instance| facts.instance == Some(instance))
            && on.action.is_none_or(|action| facts.action == Some(action))
            && on.task.as_deref().is_none_or(|task| facts.ids.iter().any(|id| &**id == task))
            && on.times.is_none_or(|times| self.struck < times);
        if !matches {
            return false;
        }
        if self.passed < on.skip {
            self.passed += 1;
            return false;
        }
        self.struck += 1;
        true
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
