//! kubectl, and waiting.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long anything may take that is not about time. A pod of a busy machine with two cores is the
/// slowest.
pub const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What kubectl says, or its complaint.
pub async fn try_kubectl(args: &str, input: &str) -> Result<String, String> {
    let mut child = Command::new("kubectl")
        .args(args.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What kubectl says; it must succeed.
pub async fn kubectl(args: &str) -> String {
    try_kubectl(args, "").await.unwrap_or_else(|told| panic!("kubectl {args}: {told}"))
}

/// Applies these objects.
pub async fn apply(manifest: &Value) {
    let args = "apply --server-side --filename=-";
    try_kubectl(args, &manifest.to_string()).await.unwrap_or_else(|told| panic!("{manifest}: {told}"));
}

/// Objects as they are now.
pub async fn get(what: &str) -> Value {
    serde_json::from_str(&kubectl(&format!("get {what} --output=json")).await).unwrap()
}

/// Asks until the answer is the right one.
pub async fn wait<T: Debug>(
    wish: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> T,
    right: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if right(&answer) {
            return answer;
        }
        assert!(started.elapsed() < within, "not within {} s: {wish}; it is {answer:?}", within.as_secs());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until `kubectl get` finds nothing.
pub async fn wait_gone(what: &str) {
    let ask = async || kubectl(&format!("get {what} --output=name --ignore-not-found")).await;
    wait(&format!("{what} is gone"), PATIENCE, ask, String::is_empty).await;
}
