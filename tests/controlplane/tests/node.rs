//! A node, and that nothing of it stays behind.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn node() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controlplane"));
    command.arg("node");
    command
}

/// A node that is ready, and its folder.
fn running() -> (Child, PathBuf) {
    let mut child = node().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let kubeconfig =
        lines.into_iter().find_map(|line| line.trim().strip_prefix("export KUBECONFIG=").map(PathBuf::from)).unwrap();
    let folder = kubeconfig.ancestors().find(|folder| is_node(folder)).unwrap().to_owned();
    assert!(processes(&folder).len() > 5, "the servers run");
    assert!(!control_groups(&folder).is_empty(), "the pods have control groups");
    (child, folder)
}

fn is_node(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fdi-node-"))
}

fn processes(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder.to_str().unwrap())).map(|line| line.replace('\0', " ")).collect()
}

fn control_groups(folder: &Path) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let trees = std::fs::read_dir(root).unwrap().filter_map(Result::ok).map(|tree| tree.path());
    let groups = trees.chain([root.to_owned()]).map(|tree| tree.join(folder.file_name().unwrap()));
    groups.filter(|group| group.exists()).collect()
}

fn left(folder: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|mount| mount.contains(folder.to_str().unwrap())).map(str::to_owned);
    let groups = control_groups(folder).into_iter().map(|group| group.display().to_string());
    let folders = folder.exists().then(|| folder.display().to_string());
    processes(folder).into_iter().chain(mounts).chain(groups).chain(folders).collect()
}

#[test]
fn a_holder_killed_by_sigkill_leaves_nothing_behind() {
    let (mut holder, folder) = running();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !left(&folder).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", left(&folder));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_end_of_its_input_ends_a_node_and_removes_everything() {
    let (mut holder, folder) = running();
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_eq!(left(&folder), Vec::<String>::new());
}

#[test]
fn a_node_exits_with_the_status_of_its_command() {
    let ended = node().args(["--", "sh", "-c", "kubectl get node node --output=name; exit 7"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(7), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "node/node\n");
}

#[test]
fn an_invalid_archive_is_an_error_and_leaves_nothing() {
    let ended = node().args(["--image", "/dev/null", "--", "true"]).output().unwrap();
    assert!(!ended.status.success());
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("images import") && stderr.contains("/dev/null"), "{stderr}");
}
