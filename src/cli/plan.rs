//! `fdi-operator plan`: what an operator would send for a file of groups, without sending it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize as _;

use crate::crd::{FdiInstance, FdiInstanceSpec, FdiInstanceStatus, FdiTaskGroup};
use crate::fdi::{LastRun, RunState, Task, TaskId};
use crate::reconcile::desired::{Snapshot, StoredGroup, resolve};
use crate::reconcile::instance_state::InstanceState;
use crate::reconcile::observation::{Observed, TaskList};
use crate::reconcile::plan::{Plan, plan};
use crate::reconcile::timings::Timings;

/// The arguments of `fdi-operator plan`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// File with FdiTaskGroups of one instance (YAML, several documents); - for standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,

    /// File with the tasks as they are now: lines of "TASK_ID Running" or "TASK_ID Stopped".
    /// Without it every task is taken to be in the other state, which gives the most calls that
    /// there can be.
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
}

/// Prints the calls in the order in which they would be sent.
pub fn run(flags: &PlanFlags) -> ExitCode {
    match planned(flags) {
        Ok(plan) => {
            for (n, call) in plan.calls().iter().enumerate() {
                let ids: Vec<&str> = call.ids().iter().map(TaskId::as_str).collect();
                println!("call {}: {} {}", n + 1, call.action(), ids.join(" "));
            }
            println!("{} calls", plan.calls().len());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn planned(flags: &PlanFlags) -> Result<Plan, String> {
    let groups = groups(&read(&flags.file)?)?;
    let desired = resolve(Snapshot {
        instance: Some((
            Arc::new(FdiInstance::new("planned", FdiInstanceSpec::default())),
            FdiInstanceStatus::default(),
        )),
        groups: groups
            .into_iter()
            .map(|mut group| {
                group.metadata.uid.get_or_insert_with(|| group.metadata.name.clone().unwrap_or_default());
                // As if nothing had just been edited: a partial batch is not held back.
                let mut status = group.status.clone().unwrap_or_default();
                status.observed_generation = group.metadata.generation.unwrap_or_default();
                StoredGroup { object: Arc::new(group), status, unreported_since: None, predates: false }
            })
            .collect(),
    });
    let now = Timestamp::now();
    let tasks = match &flags.observed {
        Some(file) => observed(&read(file)?)?,
        None => desired.owned().map(|(group, id)| task(id.clone(), group.run_state.opposite())).collect(),
    };
    let mut state = InstanceState::new(Arc::new(Timings::default()));
    state.sync(&desired, now);
    state.record_list(
        &desired,
        Observed { instance: Some(String::new()), list: Some(Ok(TaskList::new(now, tasks))), credential: None },
        now,
    );
    Ok(plan(&desired, &state, now))
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

fn groups(text: &str) -> Result<Vec<FdiTaskGroup>, String> {
    let mut groups = Vec::new();
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    for document in documents.into_iter().filter(|document| document["kind"] == "FdiTaskGroup") {
        let group = FdiTaskGroup::deserialize(document).map_err(|error| error.to_string())?;
        let name = group.metadata.name.clone().unwrap_or_default();
        if let Some(problem) = &group.spec.decode_error {
            return Err(format!("FdiTaskGroup {name}: {problem}"));
        }
        groups.push(group);
    }
    let instances: std::collections::BTreeSet<_> =
        groups.iter().map(|group| (&group.metadata.namespace, &group.spec.instance_ref.name)).collect();
    match instances.len() {
        0 => Err("no FdiTaskGroup in the file".to_owned()),
        1 => Ok(groups),
        n => Err(format!("the groups are of {n} instances; a plan is made for one")),
    }
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
    Task { name: id.as_str().into(), id, state: Some(state), last_run: LastRun::Unknown }
}
