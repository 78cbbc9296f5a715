//! `fdi-operator plan`: what the operator would send for a file of groups, without sending it.

mod manifests;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use self::manifests::Manifests;
use crate::crd::{FdiInstance, FdiInstanceStatus, FdiTaskGroup};
use crate::fdi::text::listed;
use crate::fdi::{Attributes, Batch, LastRun, RunState, Task, TaskId};
use crate::reconcile::desired::{Desired, DesiredGroup, GroupStatus, Snapshot, StoredGroup};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::{Observed, TaskList};
use crate::reconcile::plan::{Plan, plan};
use crate::reconcile::timings::Timings;

/// Most tasks that one line names.
const NAMED_MAX: usize = 10;

/// The arguments of `fdi-operator plan`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// File with FdiTaskGroups of one instance (YAML: documents and lists); - for standard input.
    ///
    /// A group without metadata.creationTimestamp is taken to be created now: tasks that an older
    /// group lists too are not its own.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    /// File with the tasks as they are now: lines of "TASK_ID Running" or "TASK_ID Stopped".
    ///
    /// Without it every task is taken to be in the other state, which gives the most calls that
    /// there can be.
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
}

/// Prints the calls in the order in which they would be sent, and what is not called for and why.
/// Exit code 1 if there is no plan.
pub fn run(flags: &PlanFlags) -> ExitCode {
    match planned(flags) {
        Ok(lines) => {
            // A closed pipe is no failure: whoever reads has seen enough.
            let _ = writeln!(io::stdout(), "{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(|error| format!("error: {error}")).collect();
            let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
            ExitCode::FAILURE
        }
    }
}

fn planned(flags: &PlanFlags) -> Result<Vec<String>, Vec<String>> {
    let one = |error: String| vec![error];
    let Manifests { groups, instance } = manifests::read(&read(&flags.file).map_err(one)?)?;
    let instance = FdiInstance::new("planned", instance.unwrap_or_default());
    let snapshot = Snapshot {
        instance: Some((Arc::new(instance), FdiInstanceStatus::default())),
        groups: groups.into_iter().map(stored).collect(),
    };
    let now = Timestamp::now();
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    let desired = state.resolve(snapshot, now);
    let tasks = match &flags.observed {
        Some(file) => observed(&read(file).map_err(one)?).map_err(one)?,
        None => desired.owned().map(|(group, id)| task(id.clone(), group.run_state.opposite())).collect(),
    };
    let states: BTreeMap<TaskId, RunState> =
        tasks.iter().filter_map(|task| Some((task.id.clone(), task.state?))).collect();
    let list = TaskList::new(now, Attributes::Omit, tasks);
    let observed = Observed { instance: Some(String::new()), list: Some(Ok(list)), credential: None };
    let desired = state.record_list(desired, observed, now);
    Ok(report(&desired, &plan(&desired, &state, now), &states))
}

fn stored(group: FdiTaskGroup) -> StoredGroup {
    let object = Arc::new(group);
    let status = GroupStatus::Stored(Arc::clone(&object));
    StoredGroup { object, status, unreported_since: None, predates: false }
}

fn report(desired: &Desired, plan: &Plan, states: &BTreeMap<TaskId, RunState>) -> Vec<String> {
    let mut lines = Vec::new();
    for (n, call) in plan.calls().iter().enumerate() {
        let ids: Vec<&str> = call.ids().iter().map(TaskId::as_str).collect();
        lines.push(format!("call {}: {} {}", n + 1, call.action(), ids.join(" ")));
        lines.extend(reasons(desired, call));
    }
    let count = plan.calls().len();
    lines.push(format!("{count} {}", if count == 1 { "call" } else { "calls" }));
    if desired.instance_suspended() {
        lines.push("no call: the FdiInstance is suspended".to_owned());
    }
    lines.extend(desired.groups().iter().flat_map(|group| not_called(group, states)));
    lines
}

/// For which group each task of a call is in it.
fn reasons(desired: &Desired, call: &Batch) -> Vec<String> {
    let mut tasks: BTreeMap<&str, (RunState, Vec<&str>)> = BTreeMap::new();
    for id in call.ids() {
        if let Some(group) = desired.owner(id) {
            tasks.entry(&group.name).or_insert((group.run_state, Vec::new())).1.push(id.as_str());
        }
    }
    let line = |(group, (state, ids)): (&str, (RunState, Vec<&str>))| {
        format!("  group \"{group}\": must be {state}, is {}: {}", state.opposite(), listed(ids, NAMED_MAX))
    };
    tasks.into_iter().map(line).collect()
}

/// The tasks of a group that need no call, and why.
fn not_called(group: &DesiredGroup, states: &BTreeMap<TaskId, RunState>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |tasks: Vec<&str>, why: &str| {
        if !tasks.is_empty() {
            lines.push(format!("no call: group \"{}\": {why}: {}", group.name, listed(tasks, NAMED_MAX)));
        }
    };
    let owned = |wanted: fn(Option<&RunState>, RunState) -> bool| {
        let tasks = group.owned.iter().filter(move |id| wanted(states.get(*id), group.run_state));
        tasks.map(TaskId::as_str).collect::<Vec<_>>()
    };
    if group.suspended {
        line(owned(|_, _| true), "it is suspended");
    } else {
        line(owned(|state, wanted| state == Some(&wanted)), "already in the desired state");
        line(owned(|state, _| state.is_none()), "not among the observed tasks");
    }
    let owners: std::collections::BTreeSet<&str> =
        group.conflicts.iter().map(|conflict| conflict.owner.as_str()).collect();
    for owner in owners {
        let tasks = group.conflicts.iter().filter(|conflict| conflict.owner == owner);
        line(tasks.map(|conflict| conflict.task.as_str()).collect(), &format!("the older group \"{owner}\" owns them"));
    }
    lines
}

fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| format!("{}: {error}", file.display()))
}

fn observed(text: &str) -> Result<Vec<Task>, String> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [id, "Running"] => Ok((id, RunState::Running)),
            [id, "Stopped"] => Ok((id, RunState::Stopped)),
            _ => Err(format!("must be 'TASK_ID Running' or 'TASK_ID Stopped': {line}")),
        })
        .map(|line| {
            let (id, state) = line?;
            Ok(task(TaskId::new(id).map_err(|error| format!("{id}: {error}"))?, state))
        })
        .collect()
}

fn task(id: TaskId, state: RunState) -> Task {
    Task { name: id.as_str().into(), id, state: Some(state), last_run: LastRun::Unknown, type_: None, attributes: None }
}
