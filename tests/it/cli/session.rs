//! The sessions of `docs/cli.md` are what the commands print: a short story on a real API server
//! and a simulator. `make sessions` writes them anew.

use std::fs;
use std::path::PathBuf;

use fdi_simulator::{Manner, NewTasks};
use kube::api::{Patch, PatchParams};
use regex::Regex;
use serde_json::json;

use super::run;
use crate::architecture::ROOT;
use crate::harness::{Operator, TestEnv};

/// A task of the story: its ID, its name, its tag, and whether it runs.
const TASKS: [(&str, &str, &str, bool); 6] = [
    ("0a6e1c5d9b724f10", "orders-cdc", "orders", false),
    ("1b7f2d6e0c835a21", "orders-to-dws", "orders", false),
    ("2c803e7f1d946b32", "orders-archive", "orders", false),
    ("3d914f802ea57c43", "invoices-daily", "invoices", true),
    ("4ea2508913b68d54", "invoices-export", "invoices", false),
    ("5fb3619a24c79e65", "scratch", "test", true),
];

struct Session {
    env: TestEnv,
    page: String,
    outdated: Vec<String>,
}

fn page() -> PathBuf {
    PathBuf::from(ROOT).join("docs/cli.md")
}

/// What differs from run to run, as in the story.
fn settled(text: &str, namespace: &str) -> String {
    let mut text = text.replace(namespace, "orders");
    for (pattern, instead) in [
        (r"v1\.\d+\.\d+\S*", "v1.35.0"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-11-26T07:00:00Z"),
        (r"(for|next in) \d+[smh]\S*\b", "$1 5s"),
        (r"(?m)^\d+s {2,}", "5s    "),
        (r"\b\d+ attempts?\b", "1 attempt"),
        // The operator of the tests is faster than the real one.
        (r"again every \d+ min", "again every 10 min"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

impl Session {
    /// Runs a command, and compares it with its block of the page.
    async fn record(&mut self, name: &str, line: &str) {
        let args: Vec<&str> = line.split(' ').skip(1).collect();
        let done = run(&self.env, &args).await;
        let code = if done.code == 0 { String::new() } else { format!("(exit code {})\n", done.code) };
        let printed = settled(&format!("{}{}{code}", done.stdout, done.stderr), &self.env.namespace);
        let block = format!("<!-- recorded: {name} -->\n```\n$ {line}\n{printed}```\n");
        let start = format!("<!-- recorded: {name} -->\n```\n");
        let Some(at) = self.page.find(&start) else { panic!("docs/cli.md has no block {name}:\n{block}") };
        let end = self.page[at + start.len()..].find("```\n").unwrap() + at + start.len() + 4;
        if self.page[at..end] != block {
            self.outdated.push(format!("--- the page\n{}--- now\n{block}", &self.page[at..end]));
            self.page.replace_range(at..end, &block);
        }
    }
}

async fn story() -> TestEnv {
    let (env, _) = TestEnv::new(0).await;
    for (id, name, tag, running) in TASKS {
        let manners = if name == "orders-archive" { vec![Manner::NoSchedulePlan] } else { Vec::new() };
        env.service.create(&NewTasks {
            ids: vec![id.to_owned()],
            names: vec![name.to_owned()],
            task_tag: Some(tag.to_owned()),
            running,
            manners,
            ..NewTasks::default()
        });
    }
    env
}

async fn apply(env: &TestEnv, name: &str, state: &str, names: &[&str], labels: serde_json::Value) {
    let group = json!({"apiVersion": "fdi.romaconnect.dev/v1alpha1", "kind": "FdiTaskGroup",
        "metadata": {"name": name, "labels": labels},
        "spec": {"instanceRef": {"name": "roma"}, "desiredState": state, "taskNames": names}});
    let flux = PatchParams::apply("kustomize-controller").force();
    env.groups().patch(name, &flux, &Patch::Apply(&group)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_the_page_are_what_the_commands_print() {
    let env = story().await;
    let _operator = Operator::start(&env).await;
    let flux =
        json!({"kustomize.toolkit.fluxcd.io/name": "orders", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    apply(&env, "invoices", "Stopped", &["invoices-daily", "invoices-export"], json!({})).await;
    env.wait_ready("invoices").await;
    apply(&env, "nightly-orders", "Running", &["orders-cdc", "orders-to-dws", "orders-archive"], flux).await;
    env.wait_reason("nightly-orders", "TasksFailed").await;
    let counted = "the instance to count its tasks";
    env.wait("nightly-orders", counted, |group| group.status.as_ref().is_some_and(|s| s.ready_tasks.is_some())).await;

    let mut session = Session { env, page: fs::read_to_string(page()).unwrap(), outdated: Vec::new() };
    for (name, line) in [
        ("check", "fdi-operator check"),
        ("reconcile-instance", "fdi-operator reconcile roma --instance --wait"),
        ("status", "fdi-operator status"),
        ("status-group", "fdi-operator status invoices"),
        ("tasks", "fdi-operator tasks roma"),
        ("unmanaged", "fdi-operator tasks roma --unmanaged -o name"),
        ("plan", "fdi-operator plan --live"),
        ("import", "fdi-operator import roma --by tag"),
        ("suspend", "fdi-operator suspend nightly-orders"),
        ("suspend-again", "fdi-operator suspend nightly-orders"),
        ("resume", "fdi-operator resume nightly-orders"),
        ("wait", "fdi-operator wait nightly-orders --timeout 30s"),
        ("start", "fdi-operator start invoices --wait"),
        ("stop", "fdi-operator stop nightly-orders"),
        ("reconcile", "fdi-operator reconcile invoices --wait"),
        ("history", "fdi-operator history invoices"),
    ] {
        session.record(name, line).await;
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(page(), &session.page).unwrap();
        return;
    }
    assert!(session.outdated.is_empty(), "docs/cli.md is outdated: run make sessions\n{}", session.outdated.join("\n"));
}
