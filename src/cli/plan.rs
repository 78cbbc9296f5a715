//! `fdi-operator plan`: what the operator would send, without sending it: for the groups in files,
//! in the cluster, or in the cluster once the files are applied.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inputs;
mod manifests;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use self::inputs::{Input, task};
use self::report::{InstanceReport, Report};
use super::cluster::{ClusterFlags, SelectionFlags};
use super::error::{self, CommandError, Outcome};
use super::live::LiveFlags;
use super::output::{Format, OutputFlags, print, structured};
use super::ownership;
use crate::crd::{FdiInstance, FdiInstanceSpec, FdiTaskGroup};
use crate::fdi::Task;
use crate::reconcile::plan::plan;

/// The arguments of `fdi-operator plan`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// File with FdiTaskGroups (YAML: documents and lists); - for standard input. May be repeated.
    ///
    /// A group without metadata.creationTimestamp is taken to be created now: tasks that an older
    /// group lists too are not its own. Without --live the files are all there is.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// File with the tasks as they are now: lines of "TASK_ID Running" or "TASK_ID Stopped", with
    /// the name at the end where names or selectors need it.
    ///
    /// Without it every task that a file lists by ID is taken to be in the other state, which gives
    /// the most calls that there can be.
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    observed: Option<PathBuf>,

    /// Plan for the groups of the cluster, with the files as if they were applied, and list the
    /// tasks at the service with the credentials in the cluster. The default without files.
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    cluster: ClusterFlags,

    #[command(flatten)]
    selection: SelectionFlags,

    #[command(flatten)]
    fdi: LiveFlags,
}

/// Prints the calls in the order in which they would be sent, and what is not called for and why.
/// Exit code 0: no call, 2: calls, 1: no plan.
pub fn run(flags: &PlanFlags) -> ExitCode {
    error::run(async {
        let report = Report(inputs(flags).await?.into_iter().map(planned).collect());
        if let Some(document) = structured(flags.output.output, &report)? {
            print(document);
        } else if flags.output.output == Format::Name {
            report.called().for_each(print);
        } else {
            print(report.text());
        }
        Ok(if report.calls() > 0 { Outcome::NotWell } else { Outcome::Well })
    })
}

async fn inputs(flags: &PlanFlags) -> Result<Vec<Input>, CommandError> {
    if !flags.live && !flags.files.is_empty() {
        return inputs::from_files(&flags.files, flags.observed.as_deref());
    }
    if flags.observed.is_some() {
        return Err(CommandError::Usage("--observed needs the groups: give their files with --file".to_owned()));
    }
    let cluster = flags.cluster.connect().await?;
    inputs::from_cluster(&cluster, &flags.fdi, &flags.selection, &flags.files).await
}

/// The steps of the operator, up to the one that sends.
fn planned(input: Input) -> InstanceReport {
    let Input { key, instance, groups, tasks, problem } = input;
    let instance = instance.unwrap_or_else(|| FdiInstance::new(&key.name, FdiInstanceSpec::default()));
    let tasks = tasks.unwrap_or_else(|| in_the_other_state(&groups));
    let now = Timestamp::now();
    let (desired, state) = ownership::resolve(instance, groups, tasks, now);
    let calls = if problem.is_some() { Vec::new() } else { plan(&desired, &state, now).calls().to_vec() };
    InstanceReport::new(key, &desired, &state, &calls, problem)
}

/// Every task that the groups list by ID, in the state that it is not to have.
fn in_the_other_state(groups: &[FdiTaskGroup]) -> Vec<Task> {
    let (desired, _) = ownership::resolve(
        FdiInstance::new("", FdiInstanceSpec::default()),
        groups.to_vec(),
        Vec::new(),
        Timestamp::now(),
    );
    desired.owned().map(|(group, id)| task(id.clone(), group.run_state.opposite(), id.as_str())).collect()
}
