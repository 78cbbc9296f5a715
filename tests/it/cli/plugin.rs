//! `kubectl fdi`: the plugin mechanism of the real kubectl, completions and man pages.

use std::path::Path;
use std::process::Command as Blocking;

use tempfile::TempDir;
use tokio::process::Command;

use super::{Done, finish, printed};
use crate::harness::{TestEnv, kubeconfig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fdi-operator");

/// A folder with the program under the names that kubectl knows.
fn installed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kubectl-fdi", "kubectl_complete-fdi"] {
        std::os::unix::fs::symlink(PROGRAM, folder.path().join(name)).unwrap();
    }
    folder
}

async fn kubectl(env: &TestEnv, folder: &Path, args: &[&str]) -> Done {
    let mut command = Command::new(env.cluster.plane().kubectl().path());
    command.args(args).env("PATH", folder).env("KUBECONFIG", kubeconfig().await).env("KUBERC", "off");
    command.env("FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS", "true");
    finish(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_the_plugin_and_passes_arguments_and_exit_code_on() {
    let (env, ids) = TestEnv::new(1).await;
    env.group("orders", "Running", &ids).await;
    let folder = installed();
    let plugins = kubectl(&env, folder.path(), &["plugin", "list"]).await;
    assert!(plugins.stdout.contains("kubectl-fdi"), "{plugins:#?}");
    let status = kubectl(&env, folder.path(), &["fdi", "status", "orders", "-n", &env.namespace]).await;
    assert!(status.code == 2 && status.stdout.contains("orders: LatestGenerationNotObserved"), "{status:#?}");
    let help = kubectl(&env, folder.path(), &["fdi", "status", "--help"]).await;
    assert!(help.code == 0 && help.stdout.contains("Usage: kubectl fdi status [OPTIONS] [GROUP]"), "{help:#?}");
    let help = kubectl(&env, folder.path(), &["fdi", "--help"]).await;
    assert!(help.stdout.contains("Usage: kubectl fdi <COMMAND>") && !help.stdout.contains("  run "), "{help:#?}");
    let wrong = kubectl(&env, folder.path(), &["fdi", "status", "--nonsense"]).await;
    assert!(wrong.code == 1 && wrong.stderr.contains("'--nonsense'"), "{wrong:#?}");
    let suspended = kubectl(&env, folder.path(), &["fdi", "suspend", "orders", "-n", &env.namespace]).await;
    assert_eq!(suspended.code, 0, "{suspended:#?}");
    let stopped = kubectl(&env, folder.path(), &["fdi", "stop", "orders", "-n", &env.namespace]).await;
    assert!(stopped.stderr.contains("until 'kubectl fdi resume'"), "{stopped:#?}");
    let tasks = kubectl(&env, folder.path(), &["fdi", "tasks", "roma", "-o=name", "-n", &env.namespace]).await;
    assert_eq!(tasks.stdout, format!("{}\n", ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_commands_flags_and_names_of_objects() {
    let (env, ids) = TestEnv::new(1).await;
    env.group("orders", "Running", &ids).await;
    let folder = installed();
    let complete = async |args: &[&str]| {
        let done = kubectl(&env, folder.path(), &[&["__complete", "fdi"], args].concat()).await;
        let values = done.stdout.lines().take_while(|line| !line.starts_with(':'));
        values.map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["st"]).await, ["status", "start", "stop"]);
    assert_eq!(complete(&["status", "--field"]).await, ["--field-selector"]);
    assert_eq!(complete(&["status", "-n", &env.namespace, "o"]).await, ["orders"]);
    assert_eq!(complete(&["suspend", "--namespace", &env.namespace, "--instance", "ro"]).await, ["roma"]);
    assert_eq!(complete(&["tasks", "roma", "--state", ""]).await, ["Running", "Stopped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shell_has_a_script_and_each_command_a_man_page() {
    let (env, _) = TestEnv::bare(0).await;
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = Blocking::new(PROGRAM).args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("fdi-operator") && script.contains("reconcile"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Blocking::new(PROGRAM).args(["docs", "man", "--folder"]).arg(folder.path()).status().unwrap();
    let page = std::fs::read_to_string(folder.path().join("fdi-operator-status.1")).unwrap();
    assert!(status.success() && page.contains("SYNOPSIS") && !folder.path().join("fdi-operator-docs.1").exists());
    let help = printed(&env, &["status", "--help"]).await;
    assert!(help.contains("Usage: fdi-operator status"), "{help}");
}

#[test]
fn wrong_arguments_end_a_command_with_1_and_the_operator_with_2() {
    let code = |args: &[&str]| Blocking::new(PROGRAM).args(args).output().unwrap().status.code();
    assert_eq!(code(&["status", "--nonsense"]), Some(1));
    assert_eq!(code(&["suspend"]), Some(1));
    assert_eq!(code(&[]), Some(1));
    assert_eq!(code(&["run", "--nonsense"]), Some(2));
    assert_eq!(code(&["--version"]), Some(0));
}
