//! What a plan is made from: files, or the cluster and the service.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use futures::future::join_all;

use super::manifests::{self, Manifests};
use crate::cli::cluster::{Cluster, SelectionFlags};
use crate::cli::error::CommandError;
use crate::cli::live::{self, LiveFlags};
use crate::crd::{FdiInstance, FdiTaskGroup, InstanceKey};
use crate::fdi::{Attributes, LastRun, RunState, Task, TaskId};

/// One instance with all its groups.
#[derive(Debug)]
pub struct Input {
    pub key: InstanceKey,
    pub instance: Option<FdiInstance>,
    pub groups: Vec<FdiTaskGroup>,
    /// `None`: not observed.
    pub tasks: Option<Vec<Task>>,
    /// Why there can be no call for the instance.
    pub problem: Option<String>,
}

/// The groups of the files are all there is.
pub fn from_files(files: &[PathBuf], observed: Option<&Path>) -> Result<Vec<Input>, CommandError> {
    let Manifests { groups, mut instances } = manifests::read(&read_all(files)?).map_err(|errors| invalid(&errors))?;
    let tasks = observed.map(|file| parse_observed(&read(file)?).map_err(CommandError::Usage)).transpose()?;
    let inputs = by_instance(groups).into_iter().map(|(key, groups)| Input {
        instance: instances.remove(&key),
        key,
        groups,
        tasks: tasks.clone(),
        problem: None,
    });
    Ok(inputs.collect())
}

/// The groups of the cluster, with those of the files as if they were applied.
pub async fn from_cluster(
    cluster: &Cluster,
    fdi: &LiveFlags,
    selection: &SelectionFlags,
    files: &[PathBuf],
) -> Result<Vec<Input>, CommandError> {
    // All groups of an instance decide who owns what, whichever of them were chosen.
    let scope = SelectionFlags { all_namespaces: selection.all_namespaces, ..SelectionFlags::default() };
    let mut groups: Vec<FdiTaskGroup> = scope.list(cluster).await?;
    let instances: Vec<FdiInstance> = scope.list(cluster).await?;
    let mut instances = instances.into_iter().map(|instance| (InstanceKey::of(&instance.metadata), instance)).collect();
    let mut chosen = None;
    if selection.narrows() {
        let groups: Vec<FdiTaskGroup> = selection.list(cluster).await?;
        chosen = Some(groups.iter().map(manifests::key).collect::<BTreeSet<InstanceKey>>());
    }
    manifests::complete(&mut groups);
    if !files.is_empty() {
        let files = manifests::read(&read_all(files)?).map_err(|errors| invalid(&errors))?;
        let keys = manifests::overlay(files, &cluster.namespace, &mut groups, &mut instances);
        if let Some(chosen) = &mut chosen {
            chosen.extend(keys);
        }
    }
    let inputs = by_instance(groups).into_iter().filter(|(key, _)| chosen.as_ref().is_none_or(|all| all.contains(key)));
    let inputs: Vec<_> = inputs.map(|(key, groups)| (instances.remove(&key), key, groups)).collect();
    Ok(join_all(inputs.into_iter().map(|(instance, key, groups)| listed(cluster, fdi, key, instance, groups))).await)
}

/// Lists the tasks of one instance.
async fn listed(
    cluster: &Cluster,
    fdi: &LiveFlags,
    key: InstanceKey,
    instance: Option<FdiInstance>,
    groups: Vec<FdiTaskGroup>,
) -> Input {
    let tasks = match &instance {
        Some(instance) => {
            live::list_of(cluster, fdi, instance, Attributes::Keep).await.map_err(|error| error.to_string())
        }
        None => Err("there is no such FdiInstance: create it, or correct instanceRef of the groups".to_owned()),
    };
    let (tasks, problem) = match tasks {
        Ok(tasks) => (tasks, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    Input { key, instance, groups, tasks: Some(tasks), problem }
}

fn invalid(errors: &[String]) -> CommandError {
    CommandError::Usage(errors.join("\nerror: "))
}

fn by_instance(groups: Vec<FdiTaskGroup>) -> BTreeMap<InstanceKey, Vec<FdiTaskGroup>> {
    let mut sorted: BTreeMap<InstanceKey, Vec<FdiTaskGroup>> = BTreeMap::new();
    for group in groups {
        sorted.entry(manifests::key(&group)).or_default().push(group);
    }
    sorted
}

fn read_all(files: &[PathBuf]) -> Result<String, CommandError> {
    let texts: Result<Vec<String>, CommandError> = files.iter().map(|file| read(file)).collect();
    texts.map(|texts| texts.join("\n---\n"))
}

fn read(file: &Path) -> Result<String, CommandError> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| CommandError::Usage(format!("{}: {error}", file.display())))
}

fn parse_observed(text: &str) -> Result<Vec<Task>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (id, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line, ""));
            let (state, name) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            let state = match state {
                "Running" => RunState::Running,
                "Stopped" => RunState::Stopped,
                _ => return Err(format!("must be 'TASK_ID Running' or 'TASK_ID Stopped', with a name or not: {line}")),
            };
            let name = if name.is_empty() { id } else { name.trim() };
            Ok(task(TaskId::new(id).map_err(|error| format!("{id}: {error}"))?, state, name))
        })
        .collect()
}

/// A task of which nothing else is known.
pub fn task(id: TaskId, state: RunState, name: &str) -> Task {
    Task { name: name.into(), id, state: Some(state), last_run: LastRun::Unknown, type_: None, attributes: None }
}
