//! Which groups there are to be, and how each chooses its tasks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;

use crate::fdi::{RunState, Task};

/// Most tasks that a group can list.
const LISTED_MAX: usize = 1000;
/// Longest name of a group without the parts that are added to it.
const NAME_MAX: usize = 40;
/// Characters that end the first word of a name.
const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// What tasks of one group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    Name,
    Tag,
    App,
    Type,
    State,
}

/// How a group chooses its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Ids,
    Names,
    Selector,
}

/// A group to write.
#[derive(Debug, PartialEq, Eq)]
pub struct NewGroup<'a> {
    pub name: String,
    pub state: RunState,
    pub chosen_by: ChosenBy,
    /// What it is to own, sorted by name.
    pub tasks: Vec<&'a Task>,
}

/// How a group chooses its tasks.
#[derive(Debug, PartialEq, Eq)]
pub enum ChosenBy {
    Ids,
    Names,
    /// The field of the selector, and its values.
    Selector(&'static str, Vec<String>),
}

/// The groups for these tasks: the same for the same tasks, whatever their order. No group gets a
/// name that is `taken`. Tasks of an unknown state are left out, for no group could leave them as
/// they are.
pub fn choose(tasks: &[Task], by: By, choice: Choice, mut taken: BTreeSet<String>) -> Vec<NewGroup<'_>> {
    let mut sorted: BTreeMap<String, BTreeMap<RunState, Vec<&Task>>> = BTreeMap::new();
    for task in tasks {
        if let Some(state) = task.state {
            sorted.entry(property(task, by)).or_default().entry(state).or_default().push(task);
        }
    }
    let ambiguous = ambiguous_names(tasks);
    let mut groups = Vec::new();
    for (property, states) in sorted {
        let most = states.values().map(Vec::len).max().unwrap_or_default();
        let mut selector = (choice == Choice::Selector).then(|| selector(&property, by, tasks)).flatten();
        for (state, mut tasks) in states {
            tasks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
            let name = group_name(&property, by, state);
            let is_most = tasks.len() == most;
            if let Some((field, values)) = selector.take_if(|_| is_most && tasks.len() <= LISTED_MAX) {
                let chosen_by = ChosenBy::Selector(field, values);
                groups.push(NewGroup { name: unique(&name, &mut taken), state, chosen_by, tasks });
                continue;
            }
            let by_name =
                |task: &&Task| choice != Choice::Ids && !task.name.is_empty() && !ambiguous.contains(&task.name);
            let (with_name, others): (Vec<&Task>, Vec<&Task>) = tasks.into_iter().partition(by_name);
            for (chosen_by, tasks) in [(true, with_name), (false, others)] {
                for part in tasks.chunks(LISTED_MAX) {
                    let chosen_by = if chosen_by { ChosenBy::Names } else { ChosenBy::Ids };
                    groups.push(NewGroup { name: unique(&name, &mut taken), state, chosen_by, tasks: part.to_vec() });
                }
            }
        }
    }
    groups
}

/// What the tasks of a group have in common.
fn property(task: &Task, by: By) -> String {
    let attributes = task.attributes.as_deref();
    match by {
        By::Name => task.name.split(SEPARATORS).next().unwrap_or_default().to_owned(),
        By::Tag => attributes.map(|attributes| attributes.tag.to_string()).unwrap_or_default(),
        By::App => attributes.map(|attributes| attributes.source_app.to_string()).unwrap_or_default(),
        By::Type => task.type_.map(|type_| type_.as_str().to_owned()).unwrap_or_default(),
        By::State => String::new(),
    }
}

/// The selector that matches just the tasks with this property; `None` where none can.
fn selector(property: &str, by: By, tasks: &[Task]) -> Option<(&'static str, Vec<String>)> {
    if property.is_empty() || property.contains(['*', '?']) {
        return None;
    }
    let exactly = |field| Some((field, vec![property.to_owned()]));
    match by {
        By::Tag => exactly("tags"),
        By::App => exactly("sourceApps"),
        By::Type => exactly("types"),
        By::Name => {
            let rest = |task: &Task| task.name.strip_prefix(property).map(|rest| rest.chars().next());
            let next: BTreeSet<Option<char>> = tasks.iter().filter_map(rest).collect();
            let glob = |next: Option<char>| match next {
                None => Some(property.to_owned()),
                Some(separator) => SEPARATORS.contains(&separator).then(|| format!("{property}{separator}*")),
            };
            Some(("names", next.into_iter().filter_map(glob).collect()))
        }
        By::State => None,
    }
}

fn ambiguous_names(tasks: &[Task]) -> BTreeSet<Box<str>> {
    let mut seen = BTreeSet::new();
    tasks.iter().filter(|task| !seen.insert(&task.name)).map(|task| task.name.clone()).collect()
}

/// A name that the API server accepts.
fn group_name(property: &str, by: By, state: RunState) -> String {
    let lower = property.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-");
    name.truncate(NAME_MAX);
    let state = if state == RunState::Running { "running" } else { "stopped" };
    match (name.trim_matches('-'), by) {
        ("", By::State) => state.to_owned(),
        ("", By::Name) => format!("unnamed-{state}"),
        ("", By::Tag) => format!("untagged-{state}"),
        ("", By::App) => format!("no-app-{state}"),
        ("", By::Type) => format!("other-{state}"),
        (name, By::App) => format!("app-{name}-{state}"),
        (name, _) => format!("{name}-{state}"),
    }
}

/// The name, with a number where it is taken.
fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}-{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests;
