//! Any selector against any name: it chooses what the page of the fields says.

use std::sync::Arc;

use super::matcher::Matcher;
use crate::crd::{TaskExclusion, TaskSelector};
use crate::fdi::{LastRun, RunState, Task, TaskId};

/// Longest pattern and name, as the schema has it.
const TEXT_MAX: usize = 256;

/// Lines: a name, patterns; those after an empty line exclude.
pub fn selector(data: &[u8]) {
    let (Ok(text), Ok(id)) = (std::str::from_utf8(data), TaskId::new("a")) else { return };
    let mut lines = text.split('\n').filter(|line| line.len() <= TEXT_MAX);
    let name = lines.next().unwrap_or_default();
    let names: Vec<Arc<str>> = lines.by_ref().take_while(|line| !line.is_empty()).map(Arc::from).collect();
    let excluded: Vec<Arc<str>> = lines.filter(|line| !line.is_empty()).map(Arc::from).collect();
    let matches_any = |patterns: &[Arc<str>]| patterns.iter().any(|pattern| matches(pattern, name));
    let expected = (names.is_empty() || matches_any(&names)) && !matches_any(&excluded);
    let exclude = Some(TaskExclusion { names: excluded, ..TaskExclusion::default() });
    let selector = TaskSelector { names, exclude, ..TaskSelector::default() };
    let task = Task {
        id,
        name: name.into(),
        state: Some(RunState::Running),
        last_run: LastRun::Success,
        type_: None,
        attributes: None,
    };
    assert_eq!(Matcher::new(&selector).matches(&task), expected, "{selector:?} and {name:?}");
}

/// `*` is any characters, `?` is one: the same by a table of all beginnings of both.
fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for wanted in pattern.chars() {
        if wanted == '*' {
            let first = fits.iter().position(|fits| *fits).unwrap_or(fits.len());
            fits[first..].fill(true);
        } else {
            for end in (0..name.len()).rev() {
                fits[end + 1] = fits[end] && (wanted == '?' || wanted == name[end]);
            }
            fits[0] = false;
        }
    }
    fits[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::corpus;

    #[test]
    fn a_selector_chooses_what_its_patterns_say() {
        corpus::replay("selectors", 100_000, selector);
    }
}
