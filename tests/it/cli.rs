//! The command line as users run it: the real binary with a kubeconfig, a real API server, and the
//! simulator as FDI.

mod check;
mod edits;
mod import;
mod plugin;
mod session;
mod status;
mod tasks;

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::{TestEnv, kubeconfig};

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary, for the namespace of `env` and with a simulator as a permitted endpoint.
pub async fn command(env: &TestEnv, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdi-operator"));
    command.args(args).args(["-n", &env.namespace]).env("KUBECONFIG", kubeconfig().await);
    command.env("FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS", "true").stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub async fn finish(mut command: Command) -> Done {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a command to its end.
pub async fn run(env: &TestEnv, args: &[&str]) -> Done {
    finish(command(env, args).await).await
}

/// Runs a command that must succeed.
pub async fn printed(env: &TestEnv, args: &[&str]) -> String {
    let done = run(env, args).await;
    assert_eq!(done.code, 0, "{args:?}: {done:#?}");
    done.stdout
}
