//! `fdi-operator import`: groups for the tasks that an instance has, which change nothing when they
//! are applied.

mod choice;
mod manifests;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use self::choice::{By, Choice, choose};
use self::manifests::{documents, kustomization};
use super::cluster::ClusterFlags;
use super::error::{self, CommandError, Outcome};
use super::live::{self, Listed, LiveFlags};
use super::ownership;
use super::place::PlaceFlags;
use crate::fdi::text::counted;
use crate::fdi::{Attributes, Task};

/// The arguments of `fdi-operator import`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Name of the FdiInstance whose tasks are imported; with --region or --endpoint the ID of the
    /// instance.
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

    /// Import the tasks too that a group owns already.
    #[arg(long)]
    all: bool,

    /// Write a file for each group and a kustomization.yaml into this folder, instead of printing.
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
    let (tasks, owned) = tasks(flags).await?;
    let groups = choose(&tasks, flags.by, flags.choice);
    let count: usize = groups.iter().map(|group| group.tasks.len()).sum();
    let documents = documents(flags.instance_ref.as_ref().unwrap_or(&flags.instance), &groups);
    if let Some(folder) = &flags.directory {
        write_files(folder, &documents)
            .map_err(|error| CommandError::Usage(format!("{}: {error}", folder.display())))?;
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

fn write_files(folder: &Path, documents: &[(String, String)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in documents {
        std::fs::write(folder.join(name), text)?;
    }
    let names: Vec<&str> = documents.iter().map(|(name, _)| name.as_str()).collect();
    std::fs::write(folder.join("kustomization.yaml"), kustomization(&names))
}

/// The tasks to import, and how many are left out because a group owns them.
async fn tasks(flags: &ImportFlags) -> Result<(Vec<Task>, usize), CommandError> {
    if let Some(instance) = flags.place.instance(&flags.instance) {
        return Ok((live::list_without_cluster(&flags.fdi, &instance, Attributes::Keep).await?, 0));
    }
    let cluster = flags.cluster.connect().await?;
    let Listed { instance, tasks, .. } = live::list(&cluster, &flags.fdi, &flags.instance, Attributes::Keep).await?;
    if flags.all {
        return Ok((tasks, 0));
    }
    let groups = cluster.groups_of(&flags.instance).await?;
    let (desired, _) = ownership::resolve(instance, groups, tasks.clone(), Timestamp::now());
    let all = tasks.len();
    let free: Vec<Task> = tasks.into_iter().filter(|task| desired.owner(&task.id).is_none()).collect();
    let owned = all - free.len();
    Ok((free, owned))
}
