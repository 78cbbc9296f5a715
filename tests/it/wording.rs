//! Text for users is in plain, standard words: pages, manifests, messages, `--help`, `kubectl
//! explain`.

use std::path::Path;

use crate::architecture::{ROOT, files, is_test_file, root_pages, shipped};

/// Files and folders that are not in plain words yet.
const PENDING: [&str; 0] = [];

/// Vague or private words, each with the words to use instead.
const BANNED: [(&str, &str); 16] = [
    ("look", "list, observe, check"),
    ("looks", "lists, observes, checks"),
    ("looked", "listed, observed, checked"),
    ("looking", "listing, observing, checking"),
    ("pass", "reconcile"),
    ("passes", "reconciles"),
    ("told", "reported, requested, called"),
    ("wish", "desired state, edit"),
    ("wishes", "desired states, edits"),
    ("moved", "started, stopped"),
    ("waits", "back-offs, delays; or say who acts"),
    ("permit", "permission, leadership; the type in a code span"),
    ("twin", "duplicate, counterpart"),
    ("rights", "permissions"),
    ("without sense", "malformed"),
    ("lets go", "removes the finalizer"),
];

/// Sources whose doc comments users read: `kubectl explain` and `--help`.
const EXPLAINED: [&str; 6] = [
    "src/crd/desired_state.rs",
    "src/crd/group.rs",
    "src/crd/group/",
    "src/crd/instance.rs",
    "src/config/flags.rs",
    "src/cli",
];

/// Words of a text in lower case, with their lines. Code spans are left out, because they hold
/// names; each counts as one word. A span may go on in the next line, but ends with its paragraph.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("```")) {
        in_code &= !line.trim().is_empty();
        for (position, part) in line.split('`').enumerate() {
            if position > 0 {
                in_code = !in_code;
                words.push((index + 1, "`".to_owned()));
            }
            let split = part.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let split = split.filter(|word| !in_code && !word.is_empty());
            words.extend(split.map(|word| (index + 1, word.to_lowercase())));
        }
    }
    words
}

/// What a text says in banned words, with the lines.
fn violations(text: &str) -> Vec<(usize, String)> {
    let words = words(text);
    let word = |index: usize| words.get(index).map_or("", |(_, word)| word.as_str());
    let mut found = Vec::new();
    for (index, (line, _)) in words.iter().enumerate() {
        for (banned, instead) in BANNED {
            if banned.split(' ').enumerate().all(|(offset, part)| word(index + offset) == part) {
                found.push((*line, format!("\"{banned}\" (better: {instead})")));
            }
        }
        if word(index) == "definitions" && (index == 0 || word(index - 1) != "api") {
            found.push((*line, "\"definitions\" (better: CRDs)".to_owned()));
        }
        let number = !word(index + 1).is_empty() && word(index + 1).bytes().all(|byte| byte.is_ascii_digit());
        if matches!(word(index), "row" | "rows") && number {
            found.push((*line, "a row number (better: what the row is about)".to_owned()));
        }
    }
    found
}

/// A Rust source reduced to its string literals, or to its doc comments, on their lines.
fn reduced(source: &str, keep_literals: bool, keep_docs: bool) -> String {
    let mut kept = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let comment = rest.starts_with("//").then(|| rest.find('\n').unwrap_or(rest.len()));
        let raw = rest.starts_with("r\"") || rest.starts_with("r#");
        if let Some(end) = comment {
            let doc = (rest.starts_with("///") || rest.starts_with("//!")) && keep_docs;
            kept.push_str(if doc { &rest[3..end] } else { "" });
            rest = &rest[end..];
        } else if c == '"' || (raw && rest.trim_start_matches(['r', '#']).starts_with('"')) {
            let start = rest.find('"').unwrap_or_default() + 1;
            let end = literal_end(rest, start);
            for (index, line) in rest[start..end].split('\n').enumerate() {
                kept.push_str(if index > 0 { "\n" } else { "" });
                kept.push_str(if keep_literals { line } else { "" });
            }
            kept.push(' ');
            rest = &rest[(end + (start - 1).max(1)).min(rest.len())..];
        } else if let Some(quoted) = char_literal(rest) {
            rest = &rest[quoted..];
        } else {
            kept.push_str(if c == '\n' { "\n" } else { "" });
            rest = &rest[c.len_utf8()..];
        }
    }
    kept
}

/// Where the literal ends that begins with the text; its content begins at `start`.
fn literal_end(text: &str, start: usize) -> usize {
    let closing = format!("\"{}", "#".repeat(start.saturating_sub(2)));
    if start > 1 {
        return text[start..].find(&closing).map_or(text.len(), |end| start + end);
    }
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return index,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of the character literal that begins the text, such as `'"'`; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let quoted = text.strip_prefix('\'')?;
    let end = if quoted.starts_with('\\') { quoted[2..].find('\'')? + 2 } else { quoted.find('\'')? };
    (end <= 10 && (quoted.starts_with('\\') || quoted[..end].chars().count() == 1)).then_some(end + 2)
}

/// Name and text of everything that users read.
fn user_facing() -> Vec<(String, String)> {
    let markdown = files("docs", "md").into_iter().chain(root_pages());
    let deployed = ["yaml", "txt", "md", "json", "tpl"].into_iter().flat_map(|extension| files("deploy", extension));
    let sources = files("src", "rs").into_iter().filter(|(name, _)| !is_test_file(name)).map(|(name, text)| {
        let explained = EXPLAINED.iter().any(|path| name.starts_with(path));
        (name, reduced(&shipped(&text), true, explained))
    });
    let deployed = deployed.filter(|(name, _)| !name.contains("/testdata/"));
    // Argo CD's name of a key.
    let deployed = deployed.map(|(name, text)| (name, text.replace("\n    definitions:\n", "\n\n")));
    markdown.chain(deployed).chain(sources).collect()
}

#[test]
fn text_for_users_is_in_plain_words() {
    let mut found = Vec::new();
    for (name, text) in user_facing().into_iter().filter(|(name, _)| !PENDING.iter().any(|path| name.starts_with(path)))
    {
        found.extend(violations(&text).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    assert!(found.is_empty(), "{} times:\n{}", found.len(), found.join("\n"));
}

#[test]
fn banned_words_are_found_in_prose_and_literals_but_not_in_code() {
    let lines = |text: &str| violations(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(lines("The operator\nlooks, then it\nlets go. See row 3."), [2, 3, 3]);
    assert_eq!(lines("API definitions, `Permit`, passed, overlook, fdi_operator_passes_total"), [0_usize; 0]);
    assert_eq!(lines("the definitions `told\ntold` told"), [1, 2]);

    let source = "/// A wish.\nfn f<'a>(q: char) {\n  let x = \"told \\\" told\"; // a pass\n  g('\"', r#\"a \"twin\"\n of\"#);\n}";
    assert_eq!(lines(&reduced(source, true, false)), [3, 3, 4]);
    assert_eq!(lines(&reduced(source, false, true)), [1]);
}

#[test]
fn pages_name_only_files_that_exist() {
    let folders = ["src/", "tests/", "docs/", "deploy/", "benches/", "crds/"];
    let is_page = |(name, _): &(String, String)| Path::new(name).extension().is_some_and(|found| found == "md");
    let mut missing = Vec::new();
    for (name, text) in user_facing().into_iter().filter(is_page) {
        for span in
            text.lines().filter(|line| !line.contains("://")).flat_map(|line| line.split('`').skip(1).step_by(2))
        {
            let path = folders.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '*', '<', '…']);
            let example = span.chars().any(|c| c.is_ascii_uppercase()) && !span.ends_with("README.md");
            if path && !example && !Path::new(ROOT).join(span).exists() {
                missing.push(format!("{name}: {span}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
