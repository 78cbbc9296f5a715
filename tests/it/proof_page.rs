//! `docs/proof.md` names only tests that exist.

use std::fs;
use std::path::Path;

use crate::architecture::ROOT;

/// Every test that the page names, as cargo does: `module::name`.
fn named_tests() -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/proof.md")).unwrap();
    let spans = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter(|span| span.contains("::")).map(str::to_owned).collect()
}

/// Whether the file of this module, or its inline tests, has the test.
fn exists(path: &str) -> bool {
    let (module, name) = path.rsplit_once("::").unwrap();
    let file = module.replace("::", "/");
    let inline = file.trim_end_matches("/tests");
    let files = [format!("tests/it/{file}.rs"), format!("src/{file}.rs"), format!("src/{inline}.rs")];
    let has = |file: &String| {
        let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
        let at = text.find(&format!("fn {name}("));
        at.is_some_and(|at| text[..at].trim_end().trim_end_matches("async").trim_end().ends_with(']'))
    };
    files.iter().any(has)
}

#[test]
fn the_page_of_proof_names_only_tests_that_exist() {
    let named = named_tests();
    assert!(named.len() > 40, "{} tests", named.len());
    let missing: Vec<&String> = named.iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(!exists("crash_sweep::no_such_test") && !exists("broken_watches::wait_stopped"));
}
