//! What `status` found, as it is printed for programs. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::cli::readiness::Readiness;
use crate::crd::{FdiInstance, FdiTaskGroup, InstanceTasks, TaskCounts, reasons};
use crate::fdi::RunState;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Everything in it is Ready in its current generation.
    pub well: bool,
    pub instances: Vec<InstanceReport>,
}

/// An `FdiInstance`, or the name that groups refer to in vain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    pub namespace: String,
    pub name: String,
    pub exists: bool,
    #[serde(flatten)]
    pub readiness: Readiness,
    pub suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<InstanceTasks>,
    pub groups: Vec<GroupReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    pub name: String,
    #[serde(flatten)]
    pub readiness: Readiness,
    pub suspended: bool,
    pub desired_state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_tasks: Option<String>,
    /// The tasks that are not as desired, or whose runs fail.
    pub tasks: Vec<TaskReport>,
    /// How many more there are than the status names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<Standing, i32>,
}

/// In which way a task is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    Failed,
    Pending,
    Deviating,
    Failing,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Deviating => "deviating",
            Self::Failing => "failing",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    pub standing: Standing,
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `start` or `stop`; absent where only the runs fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// A reason of `status.pending`, or the code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Groups under their instances, both by name. `narrowed`: no instance without a group.
pub fn report(instances: &[FdiInstance], groups: &[FdiTaskGroup], narrowed: bool) -> Report {
    let mut found: BTreeMap<(String, String), InstanceReport> = BTreeMap::new();
    for instance in instances {
        let key = (instance.namespace().unwrap_or_default(), instance.name_any());
        found.insert(key, instance_report(instance));
    }
    for group in groups {
        let key = (group.namespace().unwrap_or_default(), group.spec.instance_ref.name.clone());
        let instance = found.entry(key.clone()).or_insert_with(|| missing(key));
        instance.groups.push(group_report(group));
    }
    let mut instances: Vec<InstanceReport> =
        found.into_values().filter(|instance| !narrowed || !instance.groups.is_empty()).collect();
    for instance in &mut instances {
        instance.groups.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let well = |instance: &InstanceReport| {
        instance.readiness.ready && instance.groups.iter().all(|group| group.readiness.ready)
    };
    Report { well: instances.iter().all(well), instances }
}

impl Report {
    /// The objects that are not Ready, as kubectl names them.
    pub fn not_ready(&self) -> Vec<String> {
        let mut names = Vec::new();
        for instance in &self.instances {
            if !instance.readiness.ready && instance.exists {
                names.push(format!("fdiinstance.fdi.romaconnect.dev/{}", instance.name));
            }
            let groups = instance.groups.iter().filter(|group| !group.readiness.ready);
            names.extend(groups.map(|group| format!("fditaskgroup.fdi.romaconnect.dev/{}", group.name)));
        }
        names
    }
}

fn instance_report(instance: &FdiInstance) -> InstanceReport {
    let status = instance.status.clone().unwrap_or_default();
    InstanceReport {
        namespace: instance.namespace().unwrap_or_default(),
        name: instance.name_any(),
        exists: true,
        readiness: Readiness::of(&instance.metadata, status.observed_generation, &status.conditions),
        suspended: instance.spec.suspend,
        tasks: status.tasks,
        groups: Vec::new(),
    }
}

fn missing((namespace, name): (String, String)) -> InstanceReport {
    let readiness = Readiness {
        ready: false,
        reason: reasons::INSTANCE_NOT_FOUND.to_owned(),
        message: "groups refer to this FdiInstance, but the namespace has none of this name: create it".to_owned(),
        stalled: false,
        observed: false,
    };
    InstanceReport { namespace, name, exists: false, readiness, suspended: false, tasks: None, groups: Vec::new() }
}

fn group_report(group: &FdiTaskGroup) -> GroupReport {
    let status = group.status.clone().unwrap_or_default();
    let tasks = tasks(group);
    let counts = status.tasks.unwrap_or_default();
    GroupReport {
        name: group.name_any(),
        readiness: Readiness::of(&group.metadata, status.observed_generation, &status.conditions),
        suspended: group.spec.suspend,
        desired_state: RunState::from(group.spec.desired_state).to_string(),
        ready_tasks: status.ready_tasks.as_deref().map(ToOwned::to_owned),
        omitted: omitted(&counts, &tasks),
        tasks,
    }
}

fn omitted(counts: &TaskCounts, tasks: &[TaskReport]) -> BTreeMap<Standing, i32> {
    let named = |standing: Standing| tasks.iter().filter(|task| task.standing == standing).count();
    [(Standing::Pending, counts.pending), (Standing::Failing, counts.failing), (Standing::Failed, counts.failed)]
        .into_iter()
        .map(|(standing, all)| (standing, all - i32::try_from(named(standing)).unwrap_or(i32::MAX)))
        .filter(|(_, more)| *more > 0)
        .collect()
}

/// Failures that are tried again are pending ones to the operator; here each task has one line, the
/// one that says most.
fn tasks(group: &FdiTaskGroup) -> Vec<TaskReport> {
    let status = group.status.clone().unwrap_or_default();
    let task = |standing: Standing, id: &str, name: &str| TaskReport {
        standing,
        id: id.to_owned(),
        name: name.to_owned(),
        action: None,
        reason: None,
        message: None,
        attempts: None,
        next_attempt_time: None,
        since: None,
    };
    let mut tasks: Vec<TaskReport> = Vec::new();
    for failure in &status.failures {
        let tried_again = failure.next_attempt_time.is_some();
        let standing = if tried_again { Standing::Pending } else { Standing::Failed };
        tasks.push(TaskReport {
            action: Some(failure.action.clone()),
            reason: Some(failure.code.clone()),
            message: Some(failure.message.clone()),
            attempts: Some(failure.attempts),
            next_attempt_time: failure.next_attempt_time.as_ref().map(|time| time.0),
            ..task(standing, &failure.task_id, &failure.task_name)
        });
    }
    for pending in &status.pending {
        let since = Some(pending.since.0);
        let known = tasks.iter_mut().find(|task| !task.id.is_empty() && task.id == pending.task_id);
        if let Some(known) = known {
            known.since = since;
            continue;
        }
        tasks.push(TaskReport {
            action: Some(pending.action.clone()),
            reason: Some(pending.reason.clone()),
            since,
            ..task(Standing::Pending, &pending.task_id, &pending.task_name)
        });
    }
    tasks.extend(status.deviating.iter().map(|deviating| TaskReport {
        action: Some(deviating.action.clone()),
        since: Some(deviating.since.0),
        ..task(Standing::Deviating, &deviating.task_id, &deviating.task_name)
    }));
    tasks.extend(status.failed_runs.iter().map(|run| TaskReport {
        message: run.cause.clone(),
        since: Some(run.since.0),
        ..task(Standing::Failing, &run.task_id, &run.task_name)
    }));
    tasks
}
