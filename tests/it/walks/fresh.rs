//! The end of a walk beside that of a fresh apply: the same manifests in another namespace, against
//! a copy of the service as it is now, by an operator that knows nothing of what was before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdi_operator::crd::{ConditionStatus, FdiTaskGroup, condition_types};
use fdi_simulator::{InstanceHandle, NewTasks};
use kube::ResourceExt as _;
use kube::api::{ListParams, ObjectMeta, PostParams};
use serde_json::{Value, json};

use super::timings;
use crate::harness::{Operator, TOKEN, TestEnv};

/// What two lives that end alike may differ in: times, versions and how often something was tried.
const OF_ITS_PAST: [&str; 7] = [
    "attempts",
    "history",
    "lastHandledReconcileAt",
    "lastTransitionTime",
    "nextAttemptTime",
    "observedGeneration",
    "since",
];

/// In this time what was tried in vain is tried again several times.
const REST: Duration = Duration::from_secs(20);

/// Waits until both report the same, at rest. Panics when that does not happen.
pub async fn compare(env: &TestEnv) {
    let (fresh, _) = TestEnv::bare(0).await;
    copy_tasks(&env.service, &fresh.service);
    fresh.secret("roma-credentials", &[("token", TOKEN)]).await;
    let suspended = env.instances().get("roma").await.unwrap().spec.suspend;
    fresh.instance("roma", json!({"pollIntervalSeconds": 30, "suspend": suspended})).await;
    apply_groups(env, &fresh).await;
    let _operator = Operator::with(&fresh, timings(), &[]).await;
    let began = Instant::now();
    loop {
        let (walked, anew) = tokio::join!(report(env), report(&fresh));
        if walked == anew && !walked.contains("Reconciling") && !walked.contains("current=false") {
            return;
        }
        assert!(began.elapsed() < REST, "after the walk:\n{walked}\nafter a fresh apply:\n{anew}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn copy_tasks(from: &InstanceHandle, to: &InstanceHandle) {
    for task in from.tasks() {
        let new = NewTasks {
            ids: vec![task.id.to_string()],
            names: vec![task.name],
            running: task.running,
            last_run: task.last_run,
            manners: task.manners,
            ..NewTasks::default()
        };
        to.create(&new);
    }
}

/// Creates the groups in the order of their age, which decides who owns a task.
async fn apply_groups(env: &TestEnv, fresh: &TestEnv) {
    let mut groups = env.groups().list(&ListParams::default()).await.unwrap().items;
    let age = |group: &FdiTaskGroup| (group.creation_timestamp().map(|time| time.0), group.name_any());
    groups.sort_by_key(age);
    let mut youngest = String::new();
    for group in groups {
        let name = group.name_any();
        if name < youngest {
            // Of the same second the one whose name comes first is the older one.
            let of_second = jiff::Timestamp::now().subsec_millisecond();
            tokio::time::sleep(Duration::from_millis(1010 - u64::try_from(of_second).unwrap())).await;
        }
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let new = FdiTaskGroup { metadata, spec: group.spec, status: None };
        fresh.groups().create(&PostParams::default(), &new).await.unwrap();
        youngest = name;
    }
}

/// All that matters of the groups, the instance and the tasks.
async fn report(env: &TestEnv) -> String {
    let mut lines = Vec::new();
    let instance = env.instances().get("roma").await.unwrap();
    for group in env.groups().list(&ListParams::default()).await.unwrap() {
        let mut status = Arc::unwrap_or_clone(group.status.clone().unwrap_or_default());
        if let (true, Some(counts)) = (group.spec.suspend || instance.spec.suspend, &mut status.tasks) {
            // What was tried before the suspension; a fresh apply never tries it.
            counts.pending += std::mem::take(&mut counts.failed);
            status.failures.clear();
        }
        // Whether a run was ever observed belongs to the past; a failed one does not.
        status.conditions.retain(|c| c.type_ != condition_types::RUNS_HEALTHY || c.status == ConditionStatus::False);
        let is_current = Some(status.observed_generation) == group.metadata.generation;
        let shown = without_past(serde_json::to_value(&status).unwrap());
        let finalizers = group.metadata.finalizers.clone().unwrap_or_default();
        lines.push(format!("{} current={is_current} {finalizers:?} {shown}", group.name_any()));
    }
    lines.push(format!("roma {}", without_past(serde_json::to_value(&instance.status).unwrap())));
    let mut running = env.service.running();
    running.sort_unstable();
    lines.push(format!("running {running:?}"));
    lines.join("\n")
}

fn without_past(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !OF_ITS_PAST.contains(&name.as_str()));
            kept.map(|(name, value)| (name, without_past(value))).collect()
        }
        Value::Array(items) => {
            // Lists begin with what is oldest.
            let mut items: Vec<Value> = items.into_iter().map(without_past).collect();
            items.sort_by_key(Value::to_string);
            items.into()
        }
        other => other,
    }
}
