//! Every command of the pages: the operator's own are parsed by it, kubectl's by kubectl, make's
//! targets exist. Others are named here with the reason why nothing runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Block, blocks, pages};
use crate::architecture::{ROOT, files};
use crate::harness::kubectl;

/// Programs whose commands are not run here, and why.
const NOT_RUN: [(&str, &str); 18] = [
    ("amtool", "needs an Alertmanager"),
    ("argocd", "needs an Argo CD"),
    ("cargo", "builds or tests this repository"),
    ("cosign", "needs a published release"),
    ("curl", "needs a running server"),
    ("docker", "needs Docker"),
    ("etcdutl", "needs a snapshot of etcd"),
    ("flux", "needs a Flux"),
    ("gh", "needs a published release"),
    ("git", "changes a repository"),
    ("hcloud", "needs an account"),
    ("helm", "the tests of the chart run Helm itself"),
    ("kind", "the end-to-end tests run kind, where it is installed"),
    ("mdbook", "builds the site"),
    ("promtool", "the monitoring tests run it"),
    ("read", "a builtin of the shell"),
    ("tests/controlplane/k8s/pin", "downloads Go modules"),
    ("umask", "a builtin of the shell"),
];

/// The words of a command line of a shell, without comments, redirections and what follows a pipe.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => (quote, started) = (Some(c), true),
            (None, '#') if word.is_empty() && !started => break,
            (None, '|' | '>' | ';' | '&') => break,
            (None, ' ') => {
                if !word.is_empty() || started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (_, c) => word.push(c),
        }
    }
    if !word.is_empty() || started {
        words.push(word);
    }
    words
}

/// The command lines of a block. In a transcript only lines that begin with `$` are commands.
fn commands(block: &Block<'_>) -> Vec<(usize, String)> {
    if !matches!(block.language, "" | "sh" | "bash") || block.before.starts_with("<!-- not run: ") {
        return Vec::new();
    }
    let transcript = block.lines.iter().any(|line| line.starts_with("$ "));
    let mut commands: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (index, line) in block.lines.iter().enumerate() {
        let text = line.trim_end_matches('\\').trim();
        match (continued, line.strip_prefix("$ ")) {
            (true, _) => commands.last_mut().unwrap().1.extend([" ", text]),
            (false, Some(_)) => commands.push((block.first + index, text.trim_start_matches("$ ").to_owned())),
            (false, None) if !transcript && !text.is_empty() => commands.push((block.first + index, text.to_owned())),
            _ => {}
        }
        continued = line.ends_with('\\');
    }
    commands
}

/// Code spans of the prose that are commands of the operator.
fn spans(text: &str) -> Vec<(usize, String)> {
    let mut spans = Vec::new();
    let mut line = 1;
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 && part.starts_with("fdi-operator ") {
            spans.push((line, part.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        line += part.matches('\n').count();
    }
    spans
}

/// The operator itself reads the line: with `--help` at the end it checks all before and does
/// nothing.
fn operator_accepts(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "…").collect();
    if words.first().is_some_and(|word| word.chars().all(|c| c.is_ascii_uppercase())) {
        return Ok(()); // `fdi-operator COMMAND`
    }
    let output = Command::new(env!("CARGO_BIN_EXE_fdi-operator")).args(&words).arg("--help").output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn makes(target: &str) -> bool {
    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap();
    let others = ["deploy", "tests", "benches"].into_iter().flat_map(|folder| files(folder, "mk"));
    others
        .map(|(_, text)| text)
        .chain([makefile])
        .any(|text| text.lines().any(|line| line.starts_with(&format!("{target}:"))))
}

async fn verdict(words: &[String]) -> Result<(), String> {
    if words.first().is_some_and(|word| word.contains("=http://$(")) {
        return Ok(()); // an assignment
    }
    let assigned = words
        .iter()
        .take_while(|word| {
            word.split('=').next().is_some_and(|name| {
                word.contains('=')
                    && !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            })
        })
        .count();
    let Some((program, rest)) = words[assigned..].split_first() else { return Ok(()) };
    match program.as_str() {
        "fdi-operator" => operator_accepts(rest),
        // The plugin is the operator itself.
        "kubectl" if rest.first().is_some_and(|word| word == "fdi") => operator_accepts(&rest[1..]),
        "kubectl" => {
            let arguments: Vec<&str> = rest.iter().map(String::as_str).chain(["--help"]).collect();
            let answer = kubectl(&arguments, "").await;
            if answer.status.success() { Ok(()) } else { Err(answer.stderr) }
        }
        "make" => {
            let target = rest.iter().find(|word| !word.contains('='));
            let known = target.is_none_or(|target| makes(target));
            if known { Ok(()) } else { Err("no such target".to_owned()) }
        }
        program if NOT_RUN.iter().any(|(name, _)| *name == program) => Ok(()),
        program => Err(format!("nothing runs {program}: run it here, or say why not")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_pages_is_one_that_its_program_accepts() {
    let mut refused = Vec::new();
    let mut count = 0;
    for (name, text) in pages().into_iter().filter(|(name, _)| name != "CHANGELOG.md") {
        let in_blocks = blocks(&text).iter().flat_map(commands).collect::<Vec<_>>();
        for (line, command) in in_blocks.into_iter().chain(spans(&text)) {
            count += 1;
            if let Err(reason) = verdict(&words(&command)).await {
                let reason = reason.lines().next().unwrap_or_default().to_owned();
                refused.push(format!("{name}:{line}: {command}\n    {reason}"));
            }
        }
    }
    assert!(count > 40, "only {count} commands were found");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn a_line_is_split_as_a_shell_splits_it() {
    assert_eq!(words("kubectl get x -o 'a b' \"c d\"e  # comment"), ["kubectl", "get", "x", "-o", "a b", "c de"]);
    assert_eq!(words("a --b=c '' | grep d > e"), ["a", "--b=c", ""]);
    let block = Block { before: "", language: "", first: 5, lines: vec!["$ one \\", "  two", "output", "$ three"] };
    assert_eq!(commands(&block), [(5, "one two".to_owned()), (8, "three".to_owned())]);
}
