//! The pages: what is generated is that of this version, every link leads somewhere, every page is
//! in the table of contents, and every block of commands and manifests holds.

mod commands;
mod manifests;
mod recipes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::architecture::{ROOT, constants, files, is_test_file, root_pages, shipped};

/// Name and text of every page of the repository.
fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> =
        ["docs", "deploy", "tests", "benches", ".github"].into_iter().flat_map(|folder| files(folder, "md")).collect();
    pages.retain(|(name, _)| !name.contains("/target/"));
    pages.extend(root_pages());
    pages.sort();
    pages
}

/// A fenced block: the line before it, what follows the fence, and its lines with the number of the
/// first.
struct Block<'t> {
    before: &'t str,
    language: &'t str,
    first: usize,
    lines: Vec<&'t str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { before, language: language.trim(), first: index + 2, lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
            (None, None) => before = line,
        }
    }
    blocks
}

/// The text without its fenced blocks and code spans, which may hold brackets of their own.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The targets of all links of a page.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut links = Vec::new();
    for (at, _) in prose.match_indices("](") {
        links.push(prose[at + 2..].split(')').next().unwrap_or_default().to_owned());
    }
    links
}

/// The anchors of a page, as GitHub and mdBook make them from its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut in_block = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_block) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let before = counts.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_every_anchor_to_a_heading() {
    let mut broken = Vec::new();
    for (name, text) in pages() {
        let folder = Path::new(&name).parent().unwrap();
        for link in links(&text).iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { PathBuf::from(&name) } else { plain(&folder.join(path)) };
            let file = Path::new(ROOT).join(&target);
            let found = match anchor {
                "" => file.exists(),
                anchor => fs::read_to_string(&file).is_ok_and(|page| anchors(&page).contains(anchor)),
            };
            if !found {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{} links lead nowhere:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_page_of_the_book_is_in_its_table_of_contents_once() {
    let summary = fs::read_to_string(Path::new(ROOT).join("docs/SUMMARY.md")).unwrap();
    let mut listed = links(&summary);
    listed.sort();
    let mut written: Vec<String> =
        files("docs", "md").into_iter().map(|(name, _)| name.trim_start_matches("docs/").to_owned()).collect();
    written.retain(|name| name != "SUMMARY.md");
    written.sort();
    assert_eq!(listed, written);
}

#[test]
fn the_generated_pages_are_those_of_this_version() {
    for page in ["flags", "reference"] {
        let committed = fs::read(Path::new(ROOT).join(format!("docs/{page}.md"))).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_fdi-operator")).args(["docs", page]).output().unwrap();
        assert!(output.status.success() && output.stdout == committed, "docs/{page}.md is outdated: run make docs");
    }
}

#[test]
fn every_reason_and_code_is_on_the_page_of_errors_in_both_languages() {
    let vocabulary = ["reasons", "event_reasons", "failure_codes"];
    for page in ["docs/errors.md", "docs/errors.zh-CN.md"] {
        let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        for word in vocabulary.iter().flat_map(|module| constants("src/crd/conditions.rs", module)) {
            let named = text.contains(&format!("| `{word}` |")) || text.contains(&format!("`{word}`"));
            assert!(named, "{page} does not name {word}");
        }
    }
}

/// The messages of the log lines of a source with this macro: the last text of each call.
fn logged(source: &str, name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for (at, _) in source.match_indices(&format!("{name}!(")) {
        let call =
            source[at..].split(");").next().unwrap_or_default().split(",\n        ),").next().unwrap_or_default();
        let text = call.replace("\\\n", "");
        let texts: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let long = texts.into_iter().max_by_key(|text| text.len()).unwrap_or_default();
        messages.push(long.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    messages
}

#[test]
fn every_warning_and_error_of_the_log_is_found_on_the_page_of_symptoms() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let mut missing = Vec::new();
    for (name, text) in files("src", "rs").into_iter().filter(|(name, _)| !is_test_file(name)) {
        for message in ["warn", "error"].iter().flat_map(|level| logged(&shipped(&text), level)) {
            // The first words that hold no value.
            let fixed = message.split(['{', '}', ';', ':']).map(str::trim).find(|part| part.len() > 8);
            let fixed = fixed.unwrap_or_default();
            if !page.contains(fixed) {
                missing.push(format!("{name}: {fixed}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/troubleshooting.md lacks:\n{}", missing.join("\n"));
}

#[test]
fn the_version_names_the_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_fdi-operator")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let commit = text.trim().strip_prefix(&format!("fdi-operator {} (commit ", env!("CARGO_PKG_VERSION")));
    let commit = commit.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{text}"));
    let hash = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(hash || commit == "unknown", "{text}");
}

#[test]
fn anchors_and_links_are_read_as_github_reads_them() {
    let page =
        "# Who owns a task?\n## `a`, b & c\n## `a`, b & c\n```\n# not a heading\n```\n[x](y.md#z) `[no](link)`\n";
    assert_eq!(anchors(page), ["who-owns-a-task", "a-b--c", "a-b--c-1"].map(str::to_owned).into());
    assert_eq!(links(page), ["y.md#z"]);
    assert_eq!(plain(Path::new("docs/../deploy/./x.md")), Path::new("deploy/x.md"));
}
