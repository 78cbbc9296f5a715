//! Puts the commit into the binary, for `--version` and `fdi_operator_build_info`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FDI_OPERATOR_REVISION");
    // The image is built without the repository, and its build sets the variable.
    let given = env::var("FDI_OPERATOR_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(head).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=FDI_OPERATOR_REVISION={revision}");
}

/// The commit that is checked out. None outside a repository: a crate that is unpacked inside
/// another repository must not take that one's.
fn head() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Its log grows with each commit and checkout, in linked work trees too.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
