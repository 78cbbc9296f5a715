//! Rules of the tree that the compiler does not hold us to.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(ROOT).unwrap().to_owned(), text));
            }
        }
    }
    found
}

/// The text before the tests in it.
fn shipped(text: &str) -> &str {
    text.split("\n#[cfg(test)]\n").next().unwrap()
}

#[test]
fn pure_steps_know_no_client_no_network_no_runtime_and_no_clock() {
    let pure = [
        "reconcile/desired",
        "reconcile/plan",
        "reconcile/status",
        "reconcile/schedule",
        "reconcile/ledger",
        "reconcile/observation",
        "reconcile/outcome",
        "reconcile/instance_state",
        "reconcile/mutation_cache",
        "reconcile/timings",
        "time/backoff",
    ];
    let forbidden =
        ["kube::Client", "kube::Api", "reqwest", "tokio", "Instant::now", "Timestamp::now", "clock", "async "];
    let mut seen = 0;
    for (path, text) in sources("src") {
        let name = path.to_str().unwrap().trim_start_matches("src/").to_owned();
        if !pure.iter().any(|pure| name == format!("{pure}.rs") || name.starts_with(&format!("{pure}/"))) {
            continue;
        }
        seen += 1;
        for word in forbidden {
            assert!(!shipped(&text).contains(word), "{name} is pure and must not mention {word}");
        }
    }
    assert!(seen >= 12, "only {seen} pure files found: were they moved?");
}

#[test]
fn the_client_knows_nothing_of_kubernetes() {
    for (path, text) in sources("src/fdi") {
        for word in ["kube::", "k8s_openapi", "crate::crd", "crate::reconcile"] {
            assert!(!text.contains(word), "{} must not mention {word}", path.display());
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read_at_a_sitting() {
    let folders = ["src", "tests/it", "tests/simulator/src", "tests/controlplane/src", "tests/demo"];
    for (path, text) in folders.into_iter().flat_map(sources) {
        let lines = shipped(&text).lines().count();
        assert!(lines <= 450, "{} has {lines} lines: which idea wants a file of its own?", path.display());
    }
}

#[test]
fn the_definitions_in_crds_are_those_of_this_version() {
    let committed = fs::read_to_string(Path::new(ROOT).join("crds/fdi.romaconnect.dev.yaml")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fdi-operator")).arg("crds").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), committed, "run: make crds manifests");
}

/// String constants of a module of `src/crd/conditions.rs` or `src/ledger.rs`.
fn constants(file: &str, module: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let module = text.split(&format!("pub mod {module} {{")).nth(1).unwrap().split("\n}").next().unwrap();
    module.lines().filter_map(|line| line.split(" = \"").nth(1)?.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn every_reason_and_code_in_the_source_has_its_row_in_the_docs() {
    let group = fs::read_to_string(Path::new(ROOT).join("docs/fditaskgroup.md")).unwrap();
    let instance = fs::read_to_string(Path::new(ROOT).join("docs/fdiinstance.md")).unwrap();
    let reasons = constants("src/crd/conditions.rs", "reasons");
    let events = constants("src/crd/conditions.rs", "event_reasons");
    let codes = constants("src/ledger.rs", "codes");
    assert!(reasons.len() > 15 && events.len() > 5 && codes.len() >= 5);
    for word in reasons.iter().chain(&events).chain(&codes) {
        let row = format!("| `{word}` |");
        assert!(
            group.contains(&row) || instance.contains(&row),
            "neither page of a kind has a row that begins with {row}"
        );
    }
}
