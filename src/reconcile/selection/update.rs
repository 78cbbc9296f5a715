//! Compares one group with one list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::chosen::{Change, ChoosingGroup, ChosenBy, Member, NameProblem, Selection, UnresolvedName};
use super::digest::digest;
use super::matcher::{Matcher, NamesInList};
use crate::crd::{Condition, condition_types, find_condition, reasons};
use crate::fdi::TaskId;
use crate::reconcile::ledger::task::Missing;
use crate::reconcile::observation::list::TaskList;

/// What is compared.
pub(super) struct Evaluation<'a> {
    pub group: ChoosingGroup<'a>,
    pub list: &'a TaskList,
    pub names: &'a NamesInList<'a>,
    /// How many more tasks the groups of the instance may choose.
    pub room: usize,
    pub now: Timestamp,
}

impl Evaluation<'_> {
    /// What is chosen now. `known` is what was chosen before; an edit is taken at its word, so
    /// nothing of that stays that the new spec does not match.
    pub fn evaluate(&self, known: Option<&Selection>) -> Selection {
        let before = known.filter(|known| known.generation == self.group.generation);
        let (matched, too_large) = self.matched();
        let mut members = matched;
        for member in before.into_iter().flat_map(|before| &before.members) {
            let stays = match &member.chosen_by {
                // Which of the tasks is meant nobody knows.
                ChosenBy::Name(name) => self.names.tasks(name).len() < 2,
                ChosenBy::Selector => too_large.is_none(),
            };
            // A second list in a row that does not show it.
            let leaves = member.missed && self.is_later(before);
            if stays && !leaves {
                members.entry(member.id.clone()).or_insert((member.chosen_by.clone(), true));
            }
        }
        let members: Vec<Member> =
            members.into_iter().map(|(id, (chosen_by, missed))| Member { id, chosen_by, missed }).collect();
        let unresolved = self.unresolved(&members, before);
        let digest = digest(members.iter().map(|member| &member.id));
        let nothing = members.is_empty() && too_large.is_none() && self.group.spec.task_names.is_empty();
        let empty_since = nothing.then(|| self.empty_since(before));
        let unconfirmed = match (known, before) {
            // After a restart one list may show less than those before it.
            (None, _) => self.group.status.selection.as_ref().is_some_and(|stored| {
                self.group.status.observed_generation == self.group.generation && stored.digest != digest
            }),
            (_, Some(before)) => before.unconfirmed && !self.is_later(Some(before)),
            (Some(_), None) => false,
        };
        let change = match known {
            Some(known) if known.digest == digest => known.change.clone(),
            known => Change::between(known.map_or(&[], |known| &known.members), &members),
        };
        Selection {
            generation: self.group.generation,
            list: self.list.requested_at,
            members,
            unresolved,
            too_large,
            empty_since,
            unconfirmed,
            digest,
            change,
        }
    }

    /// The tasks that this list shows to match; how many a selector matches that are too many.
    fn matched(&self) -> (BTreeMap<TaskId, (ChosenBy, bool)>, Option<usize>) {
        let mut matched = BTreeMap::new();
        for name in &self.group.spec.task_names {
            if let [id] = self.names.tasks(name) {
                matched.insert((*id).clone(), (ChosenBy::Name(Arc::clone(name)), false));
            }
        }
        let Some(selector) = &self.group.spec.selector else { return (matched, None) };
        let compiled = Matcher::new(selector);
        let selected: Vec<&TaskId> =
            self.list.tasks().iter().filter(|task| compiled.matches(task)).map(|task| &task.id).collect();
        let most = selector.max_tasks.get().min(self.room.saturating_sub(matched.len()));
        if selected.len() > most {
            return (matched, Some(selected.len()));
        }
        for id in selected {
            matched.entry(id.clone()).or_insert((ChosenBy::Selector, false));
        }
        (matched, None)
    }

    /// The names that stand for no task, each once.
    fn unresolved(&self, members: &[Member], before: Option<&Selection>) -> Vec<UnresolvedName> {
        let resolved: BTreeSet<&str> = members
            .iter()
            .filter_map(|member| match &member.chosen_by {
                ChosenBy::Name(name) => Some(&**name),
                ChosenBy::Selector => None,
            })
            .collect();
        let mut seen = BTreeSet::new();
        let names = self.group.spec.task_names.iter();
        let unresolved = names.filter(|name| seen.insert(&***name) && !resolved.contains(&***name));
        unresolved.map(|name| UnresolvedName { name: Arc::clone(name), problem: self.problem(name, before) }).collect()
    }

    fn problem(&self, name: &str, before: Option<&Selection>) -> NameProblem {
        let known = before.into_iter().flat_map(|before| &before.unresolved).find(|known| *known.name == *name);
        let known = known.map(|known| &known.problem);
        match self.names.tasks(name) {
            [] | [_] => {
                let missing = known.and_then(|problem| match problem {
                    NameProblem::NotFound(missing) => Some(*missing),
                    NameProblem::Ambiguous { .. } => None,
                });
                NameProblem::NotFound(Missing::after(missing, self.list.requested_at, self.now))
            }
            tasks => {
                let since = known.and_then(|problem| match problem {
                    NameProblem::Ambiguous { since, .. } => Some(*since),
                    NameProblem::NotFound(_) => None,
                });
                let tasks = tasks.iter().map(|&id| id.clone()).collect();
                NameProblem::Ambiguous { tasks, since: since.unwrap_or(self.now) }
            }
        }
    }

    fn empty_since(&self, before: Option<&Selection>) -> Timestamp {
        let known = before.and_then(|before| before.empty_since);
        // What was reported before a restart needs no grace again.
        let reported = before.is_none() && reported_empty(&self.group.status.conditions);
        known.unwrap_or(if reported { Timestamp::MIN } else { self.now })
    }

    /// This is another list than the one that was compared before.
    fn is_later(&self, before: Option<&Selection>) -> bool {
        before.is_some_and(|before| before.list != self.list.requested_at)
    }
}

fn reported_empty(conditions: &[Condition]) -> bool {
    find_condition(conditions, condition_types::STALLED)
        .is_some_and(|stalled| stalled.reason == reasons::NO_TASKS_SELECTED)
}

impl Change {
    /// Both are sorted by ID.
    fn between(before: &[Member], after: &[Member]) -> Self {
        let without = |of: &[Member], others: &[Member]| {
            let is_new = |member: &&Member| others.binary_search_by(|other| other.id.cmp(&member.id)).is_err();
            of.iter().filter(is_new).map(|member| member.id.clone()).collect()
        };
        Self { added: without(after, before), removed: without(before, after) }
    }
}
