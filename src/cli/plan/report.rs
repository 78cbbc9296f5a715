//! The plan of each instance as text for people and as a document for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::crd::InstanceKey;
use crate::fdi::text::{counted, listed};
use crate::fdi::{Batch, RunState, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::selection::NameProblem;

/// Most tasks that one line names.
const NAMED_MAX: usize = 10;

/// The plans of all instances.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Report(pub Vec<InstanceReport>);

/// The plan of one instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    instance: String,
    /// Why there can be no call for the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    suspended: bool,
    calls: Vec<Call>,
    /// The tasks that need no call, or get none.
    not_called: Vec<NotCalled>,
}

/// One batch call.
#[derive(Debug, Serialize)]
struct Call {
    action: &'static str,
    tasks: Vec<CalledTask>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CalledTask {
    task_id: String,
    task_name: String,
    group: String,
}

/// Tasks of one group, and why they are not called.
#[derive(Debug, Serialize)]
struct NotCalled {
    group: String,
    reason: String,
    tasks: Vec<String>,
}

impl Report {
    /// How many calls there would be.
    pub fn calls(&self) -> usize {
        self.0.iter().map(|report| report.calls.len()).sum()
    }

    /// The IDs of the tasks that would be called, in order.
    pub fn called(&self) -> impl Iterator<Item = &str> {
        let calls = self.0.iter().flat_map(|report| &report.calls);
        calls.flat_map(|call| &call.tasks).map(|task| task.task_id.as_str())
    }

    /// Each instance has a heading where there are several.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for report in &self.0 {
            if self.0.len() > 1 {
                let key = InstanceKey { namespace: report.namespace.clone(), name: report.instance.clone() };
                lines.push(format!("FdiInstance {}:", key.to_string().trim_start_matches('/')));
            }
            report.lines(&mut lines);
        }
        if self.0.is_empty() {
            lines.push("0 calls: there is no FdiTaskGroup".to_owned());
        }
        lines.join("\n")
    }
}

impl InstanceReport {
    pub fn new(
        key: InstanceKey,
        desired: &Desired,
        state: &InstanceState,
        calls: &[Batch],
        problem: Option<String>,
    ) -> Self {
        let names = Names(state);
        let called = |batch: &Batch| Call {
            action: batch.action().as_str(),
            tasks: batch
                .ids()
                .iter()
                .map(|id| CalledTask {
                    task_id: id.to_string(),
                    task_name: names.name(id).unwrap_or_default().to_owned(),
                    group: desired.owner(id).map(|group| group.name.clone()).unwrap_or_default(),
                })
                .collect(),
        };
        let not_called = if problem.is_some() {
            Vec::new()
        } else {
            desired.groups().iter().flat_map(|group| not_called(group, state, calls)).collect()
        };
        Self {
            namespace: key.namespace,
            instance: key.name,
            problem,
            suspended: desired.instance_suspended(),
            calls: calls.iter().map(called).collect(),
            not_called,
        }
    }

    fn lines(&self, lines: &mut Vec<String>) {
        for (n, call) in self.calls.iter().enumerate() {
            let ids: Vec<&str> = call.tasks.iter().map(|task| task.task_id.as_str()).collect();
            lines.push(format!("call {}: {} {}", n + 1, call.action, ids.join(" ")));
            lines.extend(call.reasons());
        }
        lines.push(counted(self.calls.len(), "call"));
        if let Some(problem) = &self.problem {
            lines.push(format!("no call: {problem}"));
        }
        if self.suspended {
            lines.push("no call: the FdiInstance is suspended".to_owned());
        }
        for NotCalled { group, reason, tasks } in &self.not_called {
            lines.push(format!("no call: group \"{group}\": {reason}: {}", listed(tasks, NAMED_MAX)));
        }
    }
}

impl Call {
    /// For which group each task is in it.
    fn reasons(&self) -> Vec<String> {
        let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for task in &self.tasks {
            groups.entry(&task.group).or_default().push(shown(&task.task_id, Some(task.task_name.as_str())));
        }
        let (wanted, is) = match self.action {
            "start" => (RunState::Running, RunState::Stopped),
            _ => (RunState::Stopped, RunState::Running),
        };
        let line = |(group, tasks): (&str, Vec<String>)| {
            format!("  group \"{group}\": must be {wanted}, is {is}: {}", listed(tasks, NAMED_MAX))
        };
        groups.into_iter().map(line).collect()
    }
}

/// The tasks of a group that are in no call, and why.
fn not_called(group: &DesiredGroup, state: &InstanceState, calls: &[Batch]) -> Vec<NotCalled> {
    let names = Names(state);
    let mut all = Vec::new();
    let mut add = |reason: &str, tasks: Vec<String>| {
        if !tasks.is_empty() {
            all.push(NotCalled { group: group.name.clone(), reason: reason.to_owned(), tasks });
        }
    };
    let list = state.observation.list();
    let observed = |id: &TaskId| list.and_then(|list| list.task(id)).and_then(|task| task.state);
    let owned = |wanted: &dyn Fn(&TaskId) -> bool| {
        group.owned.iter().filter(|id| wanted(id)).map(|id| names.shown(id)).collect::<Vec<_>>()
    };
    let is_called = |id: &TaskId| calls.iter().any(|call| call.ids().contains(id));
    if group.suspended {
        add("it is suspended", owned(&|_| true));
    } else {
        add("already in the desired state", owned(&|id| observed(id) == Some(group.run_state)));
        add("not among the observed tasks", owned(&|id| observed(id).is_none()));
        let waits = |id: &TaskId| observed(id) == Some(group.run_state.opposite()) && !is_called(id);
        add(
            "they failed, and are tried again later (status.failures)",
            owned(&|id| waits(id) && state.ledger.failure(id).is_some()),
        );
    }
    for name in group.unresolved() {
        match &name.problem {
            NameProblem::NotFound(_) => add("no task has this name", vec![name.name.to_string()]),
            NameProblem::Ambiguous { .. } => add("several tasks have this name", vec![name.name.to_string()]),
        }
    }
    if let Some(matched) = group.selection.as_ref().and_then(|selection| selection.too_large) {
        add("its selector matches more tasks than maxTasks", vec![counted(matched, "task")]);
    }
    if group.overridden > 0 {
        add("other groups own what its selector matches", vec![counted(group.overridden, "task")]);
    }
    let mut conflicts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for conflict in &group.conflicts {
        conflicts.entry(&conflict.owner).or_default().push(names.shown(&conflict.task));
    }
    for (owner, tasks) in conflicts {
        add(&format!("the older group \"{owner}\" owns them"), tasks);
    }
    all
}

/// The names in the last list.
#[derive(Clone, Copy)]
struct Names<'a>(&'a InstanceState);

impl<'a> Names<'a> {
    fn name(self, id: &TaskId) -> Option<&'a str> {
        self.0.observation.list()?.task(id).map(|task| &*task.name)
    }

    fn shown(self, id: &TaskId) -> String {
        shown(id.as_str(), self.name(id))
    }
}

/// A task by its ID, and by its name where it has another one.
fn shown(id: &str, name: Option<&str>) -> String {
    match name.filter(|name| !name.is_empty() && *name != id) {
        Some(name) => format!("{id} ({name})"),
        None => id.to_owned(),
    }
}
