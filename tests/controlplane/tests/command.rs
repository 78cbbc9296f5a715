//! The command `controlplane`, and that nothing stays behind however its process ends.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn controlplane() -> Command {
    Command::new(env!("CARGO_BIN_EXE_controlplane"))
}

/// A ready `controlplane run` whose input is open, and its data folder.
fn running() -> (Child, PathBuf) {
    let mut child = controlplane().arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let kubeconfig =
        lines.into_iter().find_map(|line| line.trim().strip_prefix("export KUBECONFIG=").map(PathBuf::from));
    let folder = kubeconfig.unwrap().parent().unwrap().to_owned();
    assert!(servers(&folder).len() >= 2, "etcd and kube-apiserver run");
    (child, folder)
}

/// The command lines of all processes that use `folder`: servers and their supervisors.
fn servers(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|line| line.contains(folder.to_str().unwrap()))
        .map(|line| line.replace('\0', " "))
        .collect()
}

fn assert_nothing_is_left(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !servers(folder).is_empty() || folder.exists() {
        assert!(Instant::now() < deadline, "left: {:?}, folder there: {}", servers(folder), folder.exists());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_holder_killed_by_sigkill_leaves_nothing_behind() {
    let (mut holder, folder) = running();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_nothing_is_left(&folder);
}

#[test]
fn the_end_of_its_input_ends_a_run() {
    let (mut holder, folder) = running();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert!(servers(&folder).is_empty() && !folder.exists(), "everything is removed before the command ends");
}

#[test]
fn sigterm_ends_a_run() {
    let (mut holder, folder) = running();
    let kill = Command::new("kill").arg(holder.id().to_string()).status().unwrap();
    assert!(kill.success());
    assert!(holder.wait().unwrap().success());
    assert!(servers(&folder).is_empty() && !folder.exists(), "everything is removed before the command ends");
}

#[test]
fn a_run_goes_on_when_nobody_reads_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let mut child = controlplane();
    let child = child.arg("run").arg("--kubeconfig").arg(&kubeconfig).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = child.spawn().unwrap();
    drop(holder.stdout.take());
    let deadline = Instant::now() + Duration::from_mins(1);
    while !kubeconfig.exists() {
        assert!(Instant::now() < deadline && holder.try_wait().unwrap().is_none(), "it ended or was not ready in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}

#[test]
fn the_assets_variable_takes_precedence_and_the_error_names_the_missing_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["etcd", "kubectl"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for command in ["run", "build", "path"] {
        let output = controlplane().arg(command).env("KUBEBUILDER_ASSETS", folder.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            stderr.contains("no executable kube-apiserver") && stderr.contains(folder.path().to_str().unwrap()),
            "{stderr}"
        );
    }
}

#[test]
fn a_server_that_ends_at_once_is_reported_with_the_tail_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("etcd", "#!/bin/sh\necho no space left on device >&2\n"),
        ("kube-apiserver", "#!/bin/sh\nexec sleep 60\n"),
        ("kubectl", "#!/bin/sh\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = controlplane().arg("run").env("KUBEBUILDER_ASSETS", folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(stderr.contains("etcd ended before") && stderr.contains("no space left on device"), "{stderr}");
}

#[test]
fn path_names_the_cure_when_nothing_is_built() {
    let empty = tempfile::tempdir().unwrap();
    let output = controlplane()
        .arg("path")
        .env_remove("KUBEBUILDER_ASSETS")
        .env("XDG_CACHE_HOME", empty.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("run `controlplane build`"));
}

#[test]
fn a_kubernetes_that_is_not_pinned_is_rejected() {
    let output = controlplane().arg("path").env("K8S", "1.2").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("K8S=1.2 is not a Kubernetes minor"));
}
