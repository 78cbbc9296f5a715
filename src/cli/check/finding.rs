//! What one check found.

use serde::Serialize;

use crate::cli::tone::Tone;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    Ok,
    /// It works, but something is not possible or not known.
    Limited,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    #[serde(rename = "result")]
    pub mark: Mark,
    /// What was checked.
    pub check: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Finding {
    fn new(mark: Mark, check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { mark, check: check.into(), message: message.into() }
    }

    pub fn ok(check: impl Into<String>) -> Self {
        Self::new(Mark::Ok, check, "")
    }

    /// `message` says what is not possible, and what to do.
    pub fn limited(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Mark::Limited, check, message)
    }

    /// `message` says what is wrong, and what to do.
    pub fn failed(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Mark::Failed, check, message)
    }

    /// A tick or a cross, and what to do below.
    pub fn lines(&self) -> Vec<String> {
        let (mark, tone) = match self.mark {
            Mark::Ok => ("✓", Tone::Good),
            Mark::Limited => ("!", Tone::Busy),
            Mark::Failed => ("✗", Tone::Bad),
        };
        let mut lines = vec![format!("{} {}", tone.paint(mark), self.check)];
        if !self.message.is_empty() {
            lines.push(format!("  {}", self.message));
        }
        lines
    }
}
