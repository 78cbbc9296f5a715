//! Which tasks of a list a spec matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::glob::Glob;
use crate::crd::TaskSelector;
use crate::fdi::{self, Task, TaskId};
use crate::reconcile::observation::list::TaskList;

/// The tasks of a list by name.
#[derive(Debug)]
pub struct NamesInList<'a>(BTreeMap<&'a str, Vec<&'a TaskId>>);

impl<'a> NamesInList<'a> {
    pub fn of(list: &'a TaskList) -> Self {
        let mut names: BTreeMap<&str, Vec<&TaskId>> = BTreeMap::new();
        // A task without a readable name has none that anybody could mean.
        for task in list.tasks().iter().filter(|task| !task.name.is_empty()) {
            names.entry(&task.name).or_default().push(&task.id);
        }
        Self(names)
    }

    /// The tasks that have this name.
    pub fn tasks(&self, name: &str) -> &[&'a TaskId] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A selector that is ready to match many tasks.
#[derive(Debug)]
pub struct Matcher<'a> {
    selector: &'a TaskSelector,
    names: Vec<Glob>,
    excluded_names: Vec<Glob>,
}

impl<'a> Matcher<'a> {
    pub fn new(selector: &'a TaskSelector) -> Self {
        let globs = |patterns: &[Arc<str>]| patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        let excluded_names = selector.exclude.as_ref().map(|exclude| globs(&exclude.names)).unwrap_or_default();
        Self { selector, names: globs(&selector.names), excluded_names }
    }

    /// Whether the task matches every field that is set, and nothing excludes it. A task that the
    /// list shows without attributes matches no attribute.
    pub fn matches(&self, task: &Task) -> bool {
        let Self { selector, names, .. } = self;
        let attributes = task.attributes.as_deref();
        let of = |wanted: &[Arc<str>], text: Option<&str>| {
            wanted.is_empty() || text.is_some_and(|text| wanted.iter().any(|wanted| **wanted == *text))
        };
        let is_of = |wanted: &crate::crd::TaskType| task.type_ == Some(fdi::TaskType::from(*wanted));
        (names.is_empty() || names.iter().any(|glob| glob.matches(&task.name)))
            && of(&selector.tags, attributes.map(|attributes| &*attributes.tag))
            && (selector.types.is_empty() || selector.types.iter().any(is_of))
            && of(&selector.source_apps, attributes.map(|attributes| &*attributes.source_app))
            && of(&selector.target_apps, attributes.map(|attributes| &*attributes.target_app))
            && !self.excludes(task)
    }

    fn excludes(&self, task: &Task) -> bool {
        let Some(exclude) = &self.selector.exclude else { return false };
        let tag = task.attributes.as_deref().map(|attributes| &*attributes.tag);
        self.excluded_names.iter().any(|glob| glob.matches(&task.name))
            || exclude.task_ids.iter().any(|id| **id == *task.id.as_str())
            || exclude.tags.iter().any(|excluded| tag == Some(&**excluded))
    }
}
