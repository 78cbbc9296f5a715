//! The call log: every request that arrived, in the order of arrival. It only grows (an entry is
//! completed when its request is answered) and is the oracle of tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::task::Action;

/// The operation that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// FDI `BatchStartOrStopTasks`.
    Batch,
    /// FDI `ListTasks`.
    List,
    /// FDI `ShowTask`.
    Show,
    /// FDI `RunTask`.
    Run,
    /// FDI `StopTask`, whose path ends in `terminate`.
    Terminate,
    /// FDI `CountTasks`.
    Count,
    /// FDI `ListMonitorInfos`.
    MonitorInfos,
    /// FDI `ListMonitorLog`.
    MonitorLogs,
    /// FDI `ShowMonitorLogDetail`.
    MonitorLogDetail,
    /// IAM `POST /v3/auth/tokens`.
    Token,
    /// IAM `GET /v3/auth/tokens`.
    TokenCheck,
    /// IAM `GET /v3/projects`.
    Projects,
    /// Anything else: answered 404 APIGW.0101.
    Other,
}

/// Who the caller claims to be, whether the sign-in succeeded or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Identity {
    None,
    /// The first 12 hexadecimal characters of the token's SHA-256: distinguishes tokens without
    /// revealing them.
    Token(String),
    /// The access key.
    AccessKey(String),
    /// `domain/user`.
    User(String),
}

impl Identity {
    /// The access key, `domain/user`, or the token's 12 characters.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Token(name) | Self::AccessKey(name) | Self::User(name) => Some(name),
        }
    }
}

/// The outcome of one ID of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub id: Arc<str>,
    /// `None`: success.
    pub error_code: Option<String>,
}

/// A task as a list answer showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTask {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub running: bool,
}

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// 1, 2, 3 … in order of arrival.
    pub seq: u64,
    pub arrived_at: Millis,
    /// When the service did what was asked, or refused it. `None`: not yet, or never.
    pub acted_at: Option<Millis>,
    /// When the headers of the answer were handed to the connection. `None`: not yet, cut, hung, or
    /// the caller had gone (one who leaves at the last moment may count as answered).
    pub answered_at: Option<Millis>,
    pub operation: Operation,
    pub method: String,
    pub path: String,
    pub query: String,
    pub project: Option<String>,
    pub instance: Option<String>,
    pub action: Option<Action>,
    /// The IDs that a batch names, as sent, or the task that the path names.
    pub ids: Vec<Arc<str>>,
    pub identity: Identity,
    pub user_agent: Option<String>,
    /// All headers with secrets masked, when [`crate::Options::record_headers`] is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<(String, String)>>,
    pub request_id: String,
    /// Of the answer, when there was one.
    pub status: Option<u16>,
    /// The service's own error code, before any fault changed the answer.
    pub error_code: Option<String>,
    /// The outcome of each ID of a batch, before any fault changed the answer.
    pub told: Vec<Told>,
    /// The IDs whose command was accepted, whatever was answered.
    pub applied: Vec<Arc<str>>,
    /// The tasks that a list answer showed.
    #[serde(skip)]
    pub listed: Arc<[ListedTask]>,
    /// The faults that struck, by their IDs.
    pub faults: Vec<u64>,
}

/// Selects log entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only entries after this `seq`.
    pub since: u64,
    pub operation: Option<Operation>,
    pub project: Option<String>,
    pub instance: Option<String>,
    /// At most so many, the oldest first.
    pub limit: Option<usize>,
}

impl Filter {
    pub(crate) fn select<'a>(&'a self, log: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
        let start = usize::try_from(self.since).unwrap_or(usize::MAX).min(log.len());
        log[start..]
            .iter()
            .filter(|entry| {
                self.operation.is_none_or(|operation| entry.operation == operation)
                    && self.project.as_deref().is_none_or(|project| entry.project.as_deref() == Some(project))
                    && self.instance.as_deref().is_none_or(|instance| entry.instance.as_deref() == Some(instance))
            })
            .take(self.limit.unwrap_or(usize::MAX))
    }
}

/// Header names whose values are secrets.
const SECRET_HEADERS: [&str; 4] = ["authorization", "x-auth-token", "x-security-token", "x-subject-token"];

/// The headers with secret values masked; of a signature everything but the part derived from the
/// secret is kept.
pub(crate) fn redacted(headers: &[(String, String)]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let secret = SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            let shown = match value.split_once("Signature=") {
                Some((open, _)) if secret => format!("{open}Signature=…"),
                _ if secret => "…".to_owned(),
                _ => value.clone(),
            };
            (name.clone(), shown)
        })
        .collect()
}

/// Sums over log entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests by operation.
    pub requests: BTreeMap<Operation, u64>,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Task IDs in batches with `start` and `stop`.
    pub started_ids: u64,
    pub stopped_ids: u64,
    /// Accepted commands.
    pub applied: u64,
    /// 401, and 400 ROMA.1000, ROMA.1002 and ROMA.1006.
    pub sign_ins_refused: u64,
    /// Requests without an answer so far: cut, hung, or in flight.
    pub unanswered: u64,
}

impl Counts {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut counts = Self::default();
        for entry in entries {
            *counts.requests.entry(entry.operation).or_default() += 1;
            if let Some(status) = entry.status {
                *counts.statuses.entry(status).or_default() += 1;
            }
            match entry.action {
                Some(Action::Start) => counts.started_ids += entry.ids.len() as u64,
                Some(Action::Stop) => counts.stopped_ids += entry.ids.len() as u64,
                None => {}
            }
            counts.applied += entry.applied.len() as u64;
            let roma = entry.error_code.as_deref().is_some_and(|code| code.starts_with("ROMA.100"));
            counts.sign_ins_refused += u64::from(entry.status == Some(401) || roma);
            counts.unanswered += u64::from(entry.answered_at.is_none());
        }
        counts
    }
}
