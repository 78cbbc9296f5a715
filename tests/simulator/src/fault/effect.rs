//! What a fault does to a request or its answer.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::policy::ErrorShape;
use crate::wire::Refusal;

/// What happens. Unless stated otherwise the service acts first (it does a batch, reads a list) and
/// then the fault strikes.
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
    /// 429 APIGW.0308 for each request beyond so many in any span of `per_ms`. Only refused
    /// requests count as struck.
    RateLimit {
        #[serde(default = "one")]
        requests: u32,
        per_ms: u64,
        /// Send `Retry-After`: the seconds until a request is accepted again, rounded up.
        #[serde(default)]
        retry_after: bool,
        /// Act on refused requests all the same.
        #[serde(default)]
        acts: bool,
    },
    /// No answer; the connection stays open.
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
    /// The body arrives in pieces of this many bytes, one each `every_ms`.
    Drip { bytes: usize, every_ms: u64 },
    /// White space follows the body until it has this many bytes: valid JSON for those who read
    /// that far.
    Flood { bytes: u64 },
    /// The first `count` entries are missing; the counts stay.
    MissingIds { count: usize },
    /// These IDs are added to the successes (of a list: as running tasks); the counts grow along.
    ExtraIds { ids: Vec<String> },
    /// The first `count` entries are there twice; the counts stay.
    TwiceIds { count: usize },
    /// The first `count` successes are under `failure` as well; the counts stay. Batches only.
    BothLists { count: usize },
    /// Added to `success_count` and `failure_count` (of a list: to `total` and `size`).
    WrongCounts {
        #[serde(default)]
        success: i64,
        #[serde(default)]
        failure: i64,
    },
    /// Lists have no trace of these tasks, in the counts either; of no task at all when `ids` is
    /// empty.
    Omits {
        #[serde(default)]
        ids: Vec<String>,
    },
    /// Lists without filters have so many more stopped tasks behind the real ones. They exist only
    /// while a page is written and are not in [`crate::Entry::listed`].
    Crowd { tasks: usize },
    /// In lists this field has this value: a `status` of 2, null or "STARTING".
    EntryField {
        /// Only in the entry of this task; in each when absent.
        #[serde(default)]
        entry: Option<String>,
        field: String,
        value: Value,
    },
    /// In lists these bytes stand in place of the field's value, quotes included: text that is not
    /// UTF-8, half a surrogate pair. Each character up to U+00FF stands for the byte of its number.
    EntryRaw {
        #[serde(default)]
        entry: Option<String>,
        field: String,
        raw: String,
    },
    /// In lists this field is there again, with this value, at the end of the object.
    EntryRepeats {
        #[serde(default)]
        entry: Option<String>,
        field: String,
        value: Value,
    },
    /// Lists show every switch as it was this long ago, and no task younger than that.
    StaleFor { ms: u64 },
    /// Lists show what the list request this many requests earlier would have shown; the first
    /// ones, what was there when the fault was set. Its trigger must name an instance.
    StaleBy { calls: usize },
    /// Lists show what was there when the fault was set. Its trigger must name an instance.
    Frozen,
}

fn one() -> u32 {
    1
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

    /// An error of the FDI service itself, flat. A code of digits only is sent as a number.
    pub fn fdi(status: u16, code: &str, message: &str) -> Self {
        Self::answer(status, Refusal::fdi(status, code, message).body(ErrorShape::Flat, "").to_string())
    }

    /// An error of the API gateway, such as `APIGW.0201`.
    pub fn gateway(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"error_msg": message, "error_code": code, "request_id": "{request_id}"});
        Self::answer(status, body.to_string())
    }

    /// 401 APIGW.0301 as for a wrong signature, however right it is. The gateway counts no failure.
    pub fn sign_in_refused() -> Self {
        Self::gateway(401, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail")
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

    /// One request in each span of `per_ms`, all others refused; without `Retry-After`.
    pub fn one_request_per(per_ms: u64) -> Self {
        Self::RateLimit { requests: 1, per_ms, retry_after: false, acts: false }
    }

    /// In lists the field of this task has this value.
    pub fn entry_field(task: &str, field: &str, value: impl Into<Value>) -> Self {
        Self::EntryField { entry: Some(task.to_owned()), field: field.to_owned(), value: value.into() }
    }

    /// In lists these bytes stand in place of the value of this task's field, quotes included.
    pub fn entry_raw(task: &str, field: &str, bytes: &[u8]) -> Self {
        let raw = bytes.iter().copied().map(char::from).collect();
        Self::EntryRaw { entry: Some(task.to_owned()), field: field.to_owned(), raw }
    }

    /// In lists the name of this task has bytes that are not UTF-8.
    pub fn name_not_utf8(task: &str) -> Self {
        Self::entry_raw(task, "task_name", b"\"orders \xff\xfe\"")
    }

    /// In lists the name of this task has the first half of a surrogate pair only.
    pub fn name_with_half_a_surrogate_pair(task: &str) -> Self {
        Self::entry_raw(task, "task_name", br#""orders \ud83d""#)
    }

    /// In lists this task has the field again, with this value.
    pub fn entry_repeats(task: &str, field: &str, value: impl Into<Value>) -> Self {
        Self::EntryRepeats { entry: Some(task.to_owned()), field: field.to_owned(), value: value.into() }
    }

    /// The same, after the service has acted.
    #[must_use]
    pub fn after_acting(mut self) -> Self {
        if let Self::Answer { acts, .. } | Self::RateLimit { acts, .. } | Self::Hang { acts } | Self::Cut { acts } =
            &mut self
        {
            *acts = true;
        }
        self
    }

    /// Whether it makes the state of this task unreadable in lists.
    pub(crate) fn obscures_state_of(&self, task: &str) -> bool {
        match self {
            Self::EntryField { entry, field, .. }
            | Self::EntryRaw { entry, field, .. }
            | Self::EntryRepeats { entry, field, .. } => {
                field == "status" && entry.as_deref().is_none_or(|entry| entry == task)
            }
            _ => false,
        }
    }

    /// Whether it needs to remember what lists showed.
    pub(crate) fn remembers(&self) -> bool {
        matches!(self, Self::Frozen | Self::StaleBy { .. })
    }
}
