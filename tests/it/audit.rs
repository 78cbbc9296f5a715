//! "Who stopped this task, when, for which group, why?" is one command each with log, status and
//! events: those of docs/operations.md.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fdi_operator::crd::FdiTaskGroup;
use serde_json::{Value, json};

use crate::architecture::ROOT;
use crate::harness::{Process, TIMEOUT, TestEnv, is_ready, kubectl};

/// The commands of the section of docs/operations.md, in order.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(format!("{ROOT}/docs/operations.md")).unwrap();
    let section = page.split("\n## Who stopped the task?\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let blocks = section.split("```\n").skip(1).step_by(2);
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// Runs a command of the page as it stands, with its placeholders filled in; `task` is the ID to
/// search for.
fn run(command: &str, log: &Path, env: &TestEnv, task: &str) -> String {
    let kubectl = env.cluster.plane().kubectl();
    let command = command
        .replace("kubectl logs -n fdi-system -l app.kubernetes.io/name=fdi-operator --tail=-1", "cat \"$LOG\"")
        .replace("kubectl ", "\"$KUBECTL\" -n \"$NAMESPACE\" ")
        .replace("RECONCILE_ID", task)
        .replace("TASK", task)
        .replace(" NAME ", " orders ")
        .replace("/NAME", "/orders");
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("LOG", log)
        .env("KUBECTL", kubectl.path())
        .env("KUBECONFIG", env.cluster.plane().kubeconfig_path())
        .env("KUBECACHEDIR", log.parent().unwrap())
        .env("NAMESPACE", &env.namespace)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stopped_a_task_when_for_which_group_and_why_is_one_command_each() {
    let (env, ids) = TestEnv::new(12).await;
    env.group("orders", "Running", &ids).await;
    let process = Process::start(
        &env,
        &["--leader-election=false", "--log-filter=warn,fdi_operator::runtime=info,fdi_operator::cli=info"],
    );
    env.wait_ready("orders").await;
    let stop = ["patch", "ftg", "orders", "-n", &env.namespace, "--type=merge", "--field-manager=alice"];
    let stop = [&stop[..], &["-p", r#"{"spec":{"desiredState":"Stopped"}}"#]].concat();
    assert!(kubectl(&stop, "").await.status.success());
    let stopped = |group: &FdiTaskGroup| group.metadata.generation == Some(2) && is_ready(group);
    env.wait("orders", "stopped", stopped).await;
    env.service.set_running(&ids[3], true).unwrap();
    let now = ["annotate", "ftg", "orders", "-n", &env.namespace, "reconcile.fluxcd.io/requestedAt=now"];
    assert!(kubectl(&now, "").await.status.success());
    process.logged(r#""trigger":"Drift""#).await;

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, process.log()).unwrap();
    let commands = commands();
    let [grep, history, events, editors, _] = &commands[..] else { panic!("{commands:#?}") };
    let lines = run(grep, &log, &env, &ids[3]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (&line["action"], &line["trigger"])).collect();
    assert_eq!(
        told,
        [(&json!("start"), &json!("Edit")), (&json!("stop"), &json!("Edit")), (&json!("stop"), &json!("Drift"))]
    );
    for line in &lines {
        assert_eq!((&line["namespace"], &line["fdiinstance"]), (&json!(env.namespace), &json!("roma")), "{line}");
        assert_eq!((&line["fditaskgroups"], &line["level"]), (&json!("orders"), &json!("INFO")), "{line}");
        let request = line["request_id"].as_str().unwrap();
        let call = env.service.batch_calls().into_iter().find(|call| call.request_id == request);
        let sent: Vec<String> = call.unwrap().ids.iter().map(ToString::to_string).collect();
        assert_eq!(line["task_ids"], sent.join(","), "what the service received");
        assert_eq!(line["accepted"], sent.len());
    }
    assert_eq!(lines.len() + 2, env.service.batch_calls().len(), "the two others had other tasks");
    let history = run(history, &log, &env, "");
    assert!(history.contains(" Edit starts=0 stops=12 failed=0 generation=2\n"), "{history}");
    assert!(history.contains(" Edit starts=12 stops=0 failed=0 generation=1\n"), "{history}");
    assert!(run(editors, &log, &env, "").contains(" alice Update"));
    let published = async {
        while !run(events, &log, &env, "").contains(&format!("drift corrected, stopped again: {}", ids[3])) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, published).await.expect("an event");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_reconcile_finds_its_requests_its_calls_and_its_verdict() {
    let (env, ids) = TestEnv::new(12).await;
    env.group("orders", "Running", &ids).await;
    let process = Process::start(&env, &["--leader-election=false"]);
    let verdict = process.logged(r#""reason":"TasksReady""#).await;
    let call = process.logged(r#""target":"audit""#).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, process.log()).unwrap();
    let command = commands().pop().unwrap();
    let lines = |line: &Value| -> Vec<Value> {
        let found = run(&command, &log, &env, line["reconcile_id"].as_str().unwrap());
        found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let operations = |lines: &[Value]| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line["operation"].as_str()?.to_owned())).collect()
    };
    let (of_call, of_verdict) = (lines(&call), lines(&verdict));
    assert_eq!(operations(&of_call)[..2], ["list", "start"], "{of_call:#?}");
    assert!(of_call.contains(&call) && of_verdict.contains(&verdict));
    assert_eq!(operations(&of_verdict), ["list"], "what it was decided from: {of_verdict:#?}");
    for line in of_call.iter().chain(&of_verdict) {
        assert_eq!((&line["namespace"], &line["fdiinstance"]), (&json!(env.namespace), &json!("roma")), "{line}");
    }
    let parsed = process.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let nameless = parsed.iter().find(|line| line.get("operation").is_some() && line.get("reconcile_id").is_none());
    assert!(nameless.is_none(), "a request of no reconcile: {nameless:?}");
}
