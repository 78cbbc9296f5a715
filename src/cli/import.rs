//! `fdi-operator import`: groups for the tasks that an instance has, which change nothing when they
//! are applied.

mod choice;
mod manifests;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;

use self::choice::{By, Choice, choose};
use self::manifests::{documents, kustomization};
use super::cluster::ClusterFlags;
use super::completion;
use super::error::{self, CommandError, Outcome};
use super::live::{self, Listed, LiveFlags};
use super::ownership;
use super::place::PlaceFlags;
use crate::crd::FdiTaskGroup;
use crate::fdi::text::counted;
use crate::fdi::{Attributes, Task};

/// The arguments of `fdi-operator import`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Name of the FdiInstance whose tasks are imported; with --region or --endpoint the ID of the
    /// instance.
    #[arg(value_name = "INSTANCE", add = completion::instances())]
    instance: String,

    /// The FdiInstance that the groups refer to, if its name is not INSTANCE.
    #[arg(long, value_name = "NAME")]
    instance_ref: Option<String>,

    /// What tasks of one group have in common beside their state: the first word of their names, up
    /// to "-", "_" or "."; their tag; the application that they read from; their type; or nothing
    /// but the state.
    #[arg(long, value_name = "PROPERTY", default_value = "tag")]
    by: By,

    /// How the groups choose them. With selector the tasks in the rarer state are listed by name.
    #[arg(long = "as", value_name = "CHOICE", default_value = "names")]
    choice: Choice,

    /// Import the tasks too that a group owns already, in place of the groups of the instance.
    ///
    /// A group that is written may have the name of one of those, and of no other group.
    #[arg(long)]
    all: bool,

    /// Write a file for each group and a kustomization.yaml into this folder, instead of printing.
    /// Files that exist are replaced only with --all.
    #[arg(short, long, value_name = "FOLDER")]
    directory: Option<PathBuf>,

    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    fdi: LiveFlags,
    #[command(flatten)]
    place: PlaceFlags,
}

/// Exit code 1 if nothing could be written.
pub fn run(flags: &ImportFlags) -> ExitCode {
    error::run(async {
        let summary = import(flags).await?;
        let _ = writeln!(io::stderr(), "{summary}");
        Ok(Outcome::Well)
    })
}

async fn import(flags: &ImportFlags) -> Result<String, CommandError> {
    if (flags.by, flags.choice) == (By::State, Choice::Selector) {
        let usage = "a selector cannot choose by state: use --as names or --as ids, or another --by";
        return Err(CommandError::Usage(usage.to_owned()));
    }
    if flags.instance_ref.is_none() && flags.place.instance(&flags.instance).is_some() {
        let usage = "--instance-ref: name the FdiInstance that the groups are to refer to";
        return Err(CommandError::Usage(usage.to_owned()));
    }
    let Inventory { tasks, owned, taken } = inventory(flags).await?;
    let groups = choose(&tasks, flags.by, flags.choice, taken);
    let count: usize = groups.iter().map(|group| group.tasks.len()).sum();
    let documents = documents(flags.instance_ref.as_ref().unwrap_or(&flags.instance), &groups);
    if groups.is_empty() {
        // A folder that has groups keeps them.
    } else if let Some(folder) = &flags.directory {
        write_files(folder, documents, flags.all)?;
    } else {
        let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
        let _ = write!(io::stdout(), "{}", texts.join("---\n"));
    }
    let left = match owned {
        0 => String::new(),
        1 => "; 1 belongs to a group already (--all imports it too)".to_owned(),
        owned => format!("; {owned} belong to groups already (--all imports them too)"),
    };
    Ok(format!("{} in {}{left}", counted(count, "task"), counted(groups.len(), "group")))
}

/// What is in the folder stays, unless everything is imported anew: a kustomization.yaml that names
/// new files only would make Flux and Argo CD delete the groups of the others.
fn write_files(folder: &Path, mut files: Vec<(String, String)>, replace: bool) -> Result<(), CommandError> {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    files.push(("kustomization.yaml".to_owned(), kustomization(&names)));
    let existing = files.iter().map(|(name, _)| folder.join(name)).find(|path| path.exists());
    if let Some(path) = existing.filter(|_| !replace) {
        let usage = format!("{} exists: give another folder, or import all tasks anew with --all", path.display());
        return Err(CommandError::Usage(usage));
    }
    let write = || {
        std::fs::create_dir_all(folder)?;
        files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
    };
    write().map_err(|error| CommandError::Usage(format!("{}: {error}", folder.display())))
}

/// What is to be imported.
#[derive(Debug, Default)]
struct Inventory {
    tasks: Vec<Task>,
    /// How many more tasks there are, which a group owns already.
    owned: usize,
    /// Names of groups that must not be overwritten.
    taken: BTreeSet<String>,
}

async fn inventory(flags: &ImportFlags) -> Result<Inventory, CommandError> {
    if let Some(instance) = flags.place.instance(&flags.instance) {
        let tasks = live::list_without_cluster(&flags.fdi, &instance, Attributes::Keep).await?;
        return Ok(Inventory { tasks, ..Inventory::default() });
    }
    let cluster = flags.cluster.connect().await?;
    let Listed { instance, mut tasks, .. } =
        live::list(&cluster, &flags.fdi, &flags.instance, Attributes::Keep).await?;
    let groups: Vec<FdiTaskGroup> = cluster.list().await?;
    let (own, others): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.spec.instance_ref.name == flags.instance);
    let names = |groups: &[FdiTaskGroup]| groups.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    let mut taken = BTreeSet::from_iter(names(&others));
    if flags.all {
        return Ok(Inventory { tasks, owned: 0, taken });
    }
    taken.extend(names(&own));
    let (desired, _) = ownership::resolve(instance, own, tasks.clone(), Timestamp::now());
    let all = tasks.len();
    tasks.retain(|task| desired.owner(&task.id).is_none());
    Ok(Inventory { owned: all - tasks.len(), tasks, taken })
}
