//! Rules of the tree that the compiler does not hold us to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The root modules from top to bottom. A module may use only modules of layers below its own.
const LAYERS: [&[&str]; 10] = [
    &["cli"],
    &["controller"],
    &["runtime"],
    &["config"],
    &["reconcile"],
    &["k8s"],
    &["crd", "metrics"],
    &["fdi"],
    &["time"],
    &["telemetry"],
];

/// Files and folders that decide and do no I/O.
const PURE: [&str; 17] = [
    "reconcile/desired",
    "reconcile/idle",
    "reconcile/instance_state",
    "reconcile/ledger",
    "k8s/status_writer/queue",
    "k8s/status_writer/update",
    "reconcile/observation",
    "reconcile/outcome",
    "reconcile/plan",
    "reconcile/schedule",
    "reconcile/selection",
    "reconcile/status",
    "reconcile/timings",
    "reconcile/unchanged",
    "k8s/leader_election/record",
    "k8s/quota",
    "time/backoff",
];

pub fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// Name and text of the pages in the root folder.
pub fn root_pages() -> Vec<(String, String)> {
    let names = fs::read_dir(ROOT).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| Path::new(name).extension().is_some_and(|found| found == "md"));
    pages.map(|name| (name.clone(), fs::read_to_string(Path::new(ROOT).join(name)).unwrap())).collect()
}

/// The source without its tests.
pub fn shipped(text: &str) -> String {
    let inline = text.split("\n#[cfg(test)]\nmod tests {\n").next().unwrap();
    inline.replace("#[cfg(test)]\nmod tests;\n", "")
}

pub fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

/// Source files of the operator by module path (`reconcile::plan`), without tests.
fn product() -> BTreeMap<String, String> {
    let module = |name: &str| name.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
    let product = files("src", "rs").into_iter().filter(|(name, _)| !is_test_file(name));
    product.map(|(name, text)| (module(&name), shipped(&text))).collect()
}

/// Absolute paths of modules and items that a file names, as far as they are in this crate.
fn named(module: &str, text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut paths = BTreeSet::new();
    let mut collect = |base: &str, rest: &str| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches("::");
        let full = [base, path].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("::");
        if let Some(items) = rest[end..].strip_prefix('{') {
            let items = &items[..items.find('}').unwrap_or(items.len())];
            paths.extend(items.split(',').map(|item| {
                let first = item.trim().split([':', ' ', '{']).next().unwrap_or_default();
                format!("{full}::{first}")
            }));
        } else {
            paths.insert(full);
        }
    };
    for (keyword, base) in [("crate::", ""), ("super::", parent), ("self::", module)] {
        for (at, _) in code.match_indices(keyword) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                collect(base, &code[at + keyword.len()..]);
            }
        }
    }
    for line in code.lines() {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let Some(path) = line.strip_prefix("use ") else { continue };
        let first = path.split("::").next().unwrap_or_default();
        if modules.contains(&format!("{module}::{first}")) {
            collect(module, path);
        }
    }
    paths
}

/// The file in which a path is defined: the longest part of it that is a module.
fn file_of(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path.to_owned();
    while !modules.contains(&path) {
        path.truncate(path.rfind("::")?);
    }
    Some(path)
}

#[test]
fn each_module_uses_only_modules_of_layers_below_its_own() {
    let product = product();
    let modules: BTreeSet<String> = product.keys().cloned().collect();
    let layer = |root: &str| LAYERS.iter().position(|layer| layer.contains(&root));
    let roots: BTreeSet<&str> = modules.iter().map(|module| module.split("::").next().unwrap()).collect();
    let listed: BTreeSet<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
    assert_eq!(&roots - &BTreeSet::from(["lib", "main"]), listed, "LAYERS lists the root modules");
    for (module, text) in &product {
        let own = module.split("::").next().unwrap();
        let Some(own_layer) = layer(own) else { continue };
        for path in named(module, text, &modules) {
            let used = path.split("::").next().unwrap();
            let Some(used_layer) = layer(used) else { continue };
            assert!(used == own || used_layer > own_layer, "{module} must not use {path}");
        }
    }
}

#[test]
fn no_file_imports_itself_through_others() {
    let product = product();
    let modules: BTreeSet<String> = product.keys().cloned().collect();
    let mut imports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in product.iter().filter(|(module, _)| *module != "lib") {
        let files = named(module, text, &modules).into_iter().filter_map(|path| file_of(&path, &modules));
        imports.insert(module, files.filter(|file| file != module).collect());
    }
    // Take away files that import nothing that is left, or that nothing left imports, until all are
    // gone or those in circles remain.
    loop {
        let used: BTreeSet<String> = imports.values().flatten().cloned().collect();
        let outside = |module: &str, imports: &BTreeSet<String>| imports.is_empty() || !used.contains(module);
        let done: Vec<&str> =
            imports.iter().filter(|(module, used)| outside(module, used)).map(|(module, _)| *module).collect();
        if done.is_empty() {
            break;
        }
        for module in done {
            imports.remove(module);
            for used in imports.values_mut() {
                used.retain(|file| file != module);
            }
        }
    }
    assert!(imports.is_empty(), "these files import each other: {imports:#?}");
}

#[test]
fn pure_files_know_no_client_no_network_no_runtime_and_no_clock() {
    let forbidden =
        ["kube::Client", "kube::Api", "reqwest", "tokio::", "Instant::now", "Timestamp::now", "::clock", "async "];
    for pure in PURE {
        let mut seen = 0;
        for (module, text) in product() {
            let name = module.replace("::", "/");
            if name != pure && !name.starts_with(&format!("{pure}/")) {
                continue;
            }
            seen += 1;
            for word in forbidden {
                // The record of the Lease counts on the monotonic clock's type; it never reads the
                // clock.
                let type_only = word == "tokio::" && name == "k8s/leader_election/record";
                assert!(type_only || !text.contains(word), "{name} is pure and must not mention {word}");
            }
        }
        assert!(seen > 0, "{pure} was not found: was it renamed?");
    }
}

#[test]
fn the_client_knows_nothing_of_kubernetes() {
    for (name, text) in files("src/fdi", "rs") {
        for word in ["kube::", "k8s_openapi"] {
            assert!(!text.contains(word), "{name} must not mention {word}");
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read_at_a_sitting() {
    for (name, text) in files("src", "rs") {
        let (lines, most) = (shipped(&text).lines().count(), if is_test_file(&name) { 470 } else { 400 });
        assert!(lines <= most, "{name} has {lines} lines: which idea needs a file of its own?");
    }
    for folder in ["tests/it", "tests/simulator/src", "tests/controlplane/src", "tests/demo"] {
        for (name, text) in files(folder, "rs") {
            let lines = shipped(&text).lines().count();
            assert!(lines <= 450, "{name} has {lines} lines: which idea needs a file of its own?");
        }
    }
}

/// `rustfmt` wraps code and not comments.
#[test]
fn comments_and_prose_are_at_most_a_hundred_columns_wide() {
    let mut wide = Vec::new();
    let folders = [
        "src",
        "tests/it",
        "tests/demo",
        "tests/e2e/suite",
        "tests/simulator/src",
        "tests/controlplane/src",
        "benches",
    ];
    for (name, text) in folders.into_iter().flat_map(|folder| files(folder, "rs")) {
        for (number, line) in text.lines().enumerate() {
            let prose = line.trim_start().starts_with("//") && !line.contains("http") && !line.contains("| ");
            if prose && line.chars().count() > 100 + 10 * usize::from(line.starts_with("//! │")) {
                wide.push(format!("{name}:{}", number + 1));
            }
        }
    }
    for (name, text) in files("docs", "md").into_iter().chain(root_pages()) {
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let exempt = in_code || line.starts_with('|') || line.contains("](") || line.contains("://");
            if !exempt && line.chars().count() > 100 {
                wide.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "{} lines are wider than 100 columns: {}", wide.len(), wide.join(" "));
}

#[test]
fn the_crds_in_the_repository_are_those_of_this_version() {
    let committed = fs::read_to_string(Path::new(ROOT).join("crds/fdi.romaconnect.dev.yaml")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fdi-operator")).arg("crds").output().unwrap();
    // Not `assert_eq`: two whole definitions say nothing that `git diff` would not say better.
    assert!(output.stdout == committed.into_bytes(), "run: make crds manifests");
}

/// String constants of a module of `src/crd/conditions.rs`.
pub fn constants(file: &str, module: &str) -> Vec<String> {
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
    let codes = constants("src/crd/conditions.rs", "failure_codes");
    let pending = constants("src/crd/conditions.rs", "pending_reasons");
    assert!(reasons.len() > 15 && events.len() > 5 && codes.len() >= 5 && pending.len() > 5);
    for word in reasons.iter().chain(&events).chain(&codes).chain(&pending) {
        let row = format!("| `{word}` |");
        assert!(
            group.contains(&row) || instance.contains(&row),
            "neither page of a kind has a row that begins with {row}"
        );
    }
}
