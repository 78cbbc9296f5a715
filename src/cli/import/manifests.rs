//! The groups as YAML that people read, review and edit.

use std::fmt::Write as _;

use super::choice::{ChosenBy, NewGroup};
use crate::fdi::text::{counted, single_line};

/// Longest comment.
const COMMENT_MAX: usize = 200;

/// A file name and a manifest for each group.
pub fn documents(instance: &str, groups: &[NewGroup<'_>]) -> Vec<(String, String)> {
    groups.iter().map(|group| (format!("{}.yaml", group.name), document(instance, group))).collect()
}

fn document(instance: &str, group: &NewGroup<'_>) -> String {
    let mut text = format!(
        "apiVersion: fdi.romaconnect.dev/v1alpha1\nkind: FdiTaskGroup\nmetadata:\n  name: {}\nspec:\n  instanceRef:\n    \
         name: {}\n  desiredState: {}\n",
        group.name, instance, group.state
    );
    match &group.chosen_by {
        ChosenBy::Ids => {
            text.push_str("  taskIds:\n");
            for task in &group.tasks {
                let _ = writeln!(text, "  - {}{}", quoted(task.id.as_str()), comment(&task.name));
            }
        }
        ChosenBy::Names => {
            text.push_str("  taskNames:\n");
            for task in &group.tasks {
                let _ = writeln!(text, "  - {}", quoted(&task.name));
            }
        }
        ChosenBy::Selector(field, values) => {
            let _ = writeln!(text, "  selector:\n    {field}:");
            for value in values {
                let _ = writeln!(text, "    - {}", quoted(value));
            }
            let _ = writeln!(text, "  # {} when this was written:", counted(group.tasks.len(), "task"));
            for task in &group.tasks {
                let _ = writeln!(text, "  #{}", comment(&task.name).trim_start_matches("  #"));
            }
        }
    }
    text
}

/// Always in quotes: a name may be a number, or begin with what YAML takes for something else.
fn quoted(text: &str) -> String {
    // A JSON text is a YAML text.
    serde_json::to_string(text).unwrap_or_default()
}

fn comment(text: &str) -> String {
    let line = single_line(text, COMMENT_MAX);
    if line.is_empty() { String::new() } else { format!("  # {line}") }
}

/// What `kubectl apply --kustomize` and Flux read.
pub fn kustomization(files: &[&str]) -> String {
    let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    for file in files {
        let _ = writeln!(text, "- {file}");
    }
    text
}
