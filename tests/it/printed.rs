//! What kubectl prints: columns, field selectors, `explain`.

use std::time::Duration;

use fdi_simulator::Manner;
use serde_json::json;

use crate::harness::{Operator, TIMEOUT, TestEnv, kubectl};

async fn printed(env: &TestEnv, args: &[&str]) -> String {
    let output = kubectl(&[args, &["-n", &env.namespace]].concat(), "").await;
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

/// The API server publishes the schema of a new CRD a while after the CRD itself.
async fn explained(env: &TestEnv, field: &str) -> String {
    let explained = async {
        loop {
            let output = kubectl(&["explain", field, "-n", &env.namespace], "").await;
            if output.status.success() {
                return output.stdout;
            }
            assert!(output.stderr.contains("couldn't find resource"), "{}", output.stderr);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, explained).await.expect("a published schema")
}

/// What a column has in a row.
fn cell<'a>(table: &'a str, name: &str, column: &str) -> &'a str {
    let header = table.lines().next().unwrap();
    let at = header.find(column).unwrap_or_else(|| panic!("no column {column}: {header}"));
    let row = table.lines().find(|row| row.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{table}"));
    row[at..].split_whitespace().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_guess_which_of_twelve_tasks_is_pending() {
    let (env, ids) = TestEnv::new(12).await;
    env.service.set_manners(&ids[4], [Manner::SettlesAfter { ms: 2_000 }]).unwrap();
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids).await;
    let settling = |group: &fdi_operator::crd::FdiTaskGroup| {
        group.status.as_ref().is_some_and(|status| status.ready_tasks.as_deref() == Some("11/12"))
    };
    let status = env.wait("orders", "11/12", settling).await.status.unwrap();
    let [pending] = &status.pending[..] else { panic!("{:?}", status.pending) };
    assert_eq!((&pending.task_id, &*pending.action, &*pending.reason), (&ids[4], "start", "Settling"));
    let describe = printed(&env, &["describe", "ftg", "orders"]).await;
    assert!(describe.contains("Pending:") && describe.contains(&ids[4]), "{describe}");
    assert!(env.wait_ready("orders").await.status.unwrap().pending.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_group_or_instance_does_not_seem_to_work() {
    let (env, ids) = TestEnv::new(2).await;
    let _operator = Operator::start(&env).await;
    env.group("orders", "Running", &ids[..1]).await;
    env.group("billing", "Stopped", &ids[1..]).await;
    env.wait_ready("orders").await;
    env.edit("orders", json!({"suspend": true})).await;
    env.service.set_running(&ids[0], false).unwrap();
    let deviates = |group: &fdi_operator::crd::FdiTaskGroup| {
        group.status.as_ref().is_some_and(|status| status.deviating.iter().any(|task| task.task_id == ids[0]))
    };
    env.wait("orders", "deviating", deviates).await;
    let groups = printed(&env, &["get", "ftg"]).await;
    assert_eq!((cell(&groups, "orders", "SUSPENDED"), cell(&groups, "billing", "SUSPENDED")), ("true", "false"));
    let selected = printed(&env, &["get", "ftg", "-o=name", "--field-selector=spec.suspend=true"]).await;
    assert_eq!(selected, "fditaskgroup.fdi.romaconnect.dev/orders\n");
    let both = "--field-selector=spec.instanceRef.name=roma,spec.desiredState=Stopped";
    let selected = printed(&env, &["get", "ftg", "-o=name", both]).await;
    assert_eq!(selected, "fditaskgroup.fdi.romaconnect.dev/billing\n");
    env.instance("roma", json!({"suspend": true})).await;
    assert_eq!(cell(&printed(&env, &["get", "fdi"]).await, "roma", "SUSPENDED"), "true");
    let selected = printed(&env, &["get", "fdi", "-o=name", "--field-selector=spec.suspend=true"]).await;
    assert_eq!(selected, "fdiinstance.fdi.romaconnect.dev/roma\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_a_value_does_in_which_unit_by_default_and_where_ids_are_found() {
    let (env, _) = TestEnv::bare(0).await;
    for (field, words) in [
        ("fditaskgroup.spec.desiredState", &["scheduled", "real-time", "composite", "failedRuns"][..]),
        ("fditaskgroup.spec.taskIds", &["console", "1 to 1000", "oldest"]),
        ("fditaskgroup.spec.suspend", &["Default: `false`", "start and stop none"]),
        ("fditaskgroup.spec.deletionPolicy", &["`Orphan` (default)", "10 minutes"]),
        ("fditaskgroup.status.failedRuns", &["ERROR", "at most 50", "since", "cause"]),
        ("fditaskgroup.status.pending", &["at most 20", "Settling", "action"]),
        ("fditaskgroup.status.tasks", &["failing", "failedRuns"]),
        ("fdiinstance.spec.pollIntervalSeconds", &["in seconds", "Default: 60"]),
        ("fdiinstance.spec.projectId", &["My Credentials"]),
        ("fdiinstance.spec.instanceId", &["console"]),
        ("fdiinstance.spec.rateLimit", &["Default: 5", "Default: 2"]),
    ] {
        let text = explained(&env, field).await;
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "{field} does not say {word}:\n{text}");
        }
    }
}
