//! The size of the node does not change what the process uses of it.

use std::process::Command;

use crate::harness::{Process, kubeconfig_for};

async fn threads(flags: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let flags = [&["--leader-election=false"], flags].concat();
    let process = Process::with_kubeconfig(&kubeconfig_for(&folder, "http://127.0.0.1:1"), &flags);
    process.logged("watch failed").await;
    std::fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_threads_is_that_of_the_flag() {
    // The main thread, the workers, and threads that resolve names.
    let (few, many) = (threads(&[]).await, threads(&["--worker-threads=9"]).await);
    assert!((3..=5).contains(&few), "{few}");
    assert_eq!(many, few + 7);
}

#[test]
fn the_allocator_has_as_many_arenas_as_there_are_threads() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    let output = command.arg("crds").env("_RJEM_MALLOC_CONF", "stats_print:true").output().unwrap();
    let stats = String::from_utf8(output.stderr).unwrap();
    assert!(stats.contains("opt.narenas: 2\n"), "{stats}");
}
