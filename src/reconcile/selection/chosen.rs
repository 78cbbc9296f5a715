//! What one group chooses.

use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::{FdiTaskGroupSpec, FdiTaskGroupStatus};
use crate::fdi::TaskId;
use crate::reconcile::ledger::task::Missing;

/// A group with names or a selector.
#[derive(Debug, Clone, Copy)]
pub struct ChoosingGroup<'a> {
    pub uid: &'a str,
    pub generation: i64,
    pub spec: &'a FdiTaskGroupSpec,
    pub status: &'a FdiTaskGroupStatus,
}

/// What one group chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The generation of the spec that chose.
    pub(super) generation: i64,
    /// When the list was requested from which it chose.
    pub(super) list: Timestamp,
    /// What it has chosen, sorted by ID.
    pub(super) members: Vec<Member>,
    pub unresolved: Vec<UnresolvedName>,
    /// How many tasks the selector matches, where these are more than it may choose: it then
    /// chooses none.
    pub too_large: Option<usize>,
    /// Since when nothing at all is chosen.
    pub empty_since: Option<Timestamp>,
    /// The first list after a restart chooses otherwise than the status says: a second one decides.
    pub unconfirmed: bool,
    /// Stands for the chosen IDs.
    pub digest: String,
    /// What the last change of the digest brought and took.
    pub change: Change,
}

/// A chosen task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: TaskId,
    pub chosen_by: ChosenBy,
    /// The last list did not show that it matches.
    pub(super) missed: bool,
}

/// What chooses a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChosenBy {
    /// This entry of `spec.taskNames`.
    Name(Arc<str>),
    Selector,
}

/// An entry of `spec.taskNames` that stands for no task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedName {
    pub name: Arc<str>,
    pub problem: NameProblem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameProblem {
    /// No task has it.
    NotFound(Missing),
    /// Several tasks have it.
    Ambiguous { tasks: Vec<TaskId>, since: Timestamp },
}

/// Tasks that came and went, by ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub added: Vec<TaskId>,
    pub removed: Vec<TaskId>,
}

impl Selection {
    /// How many tasks are chosen.
    pub fn matched(&self) -> usize {
        self.too_large.unwrap_or(0) + self.members.len()
    }

    /// Tasks that names stand for, in the order of their IDs.
    pub fn named(&self) -> impl Iterator<Item = &TaskId> {
        self.members.iter().filter(|member| member.chosen_by != ChosenBy::Selector).map(|member| &member.id)
    }

    /// Tasks that only the selector chooses, in the order of their IDs.
    pub fn selected(&self) -> impl Iterator<Item = &TaskId> {
        self.members.iter().filter(|member| member.chosen_by == ChosenBy::Selector).map(|member| &member.id)
    }

    /// Whether a further list that shows the same changes nothing.
    pub(super) fn is_settled(&self) -> bool {
        let pending =
            |name: &UnresolvedName| matches!(name.problem, NameProblem::NotFound(Missing { lists: 0..2, .. }));
        !self.unconfirmed
            && self.too_large.is_none()
            && !self.members.iter().any(|member| member.missed)
            && !self.unresolved.iter().any(pending)
    }

    /// Whether the same follows from both: which list was compared last makes no difference.
    pub(super) fn desires_the_same(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.members == other.members
            && self.unresolved == other.unresolved
            && (self.too_large, self.empty_since, self.unconfirmed)
                == (other.too_large, other.empty_since, other.unconfirmed)
    }
}
