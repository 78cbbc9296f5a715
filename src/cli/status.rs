//! `fdi-operator status`: instances, their groups, and the tasks that are not as desired.

mod report;
mod tree;

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;

use self::report::{Report, report};
use super::cluster::{Cluster, ClusterFlags, SelectionFlags, in_namespace};
use super::completion;
use super::error::{self, CommandError, Outcome};
use super::output::{Format, OutputFlags, print, structured};
use crate::crd::{FdiInstance, FdiTaskGroup};

/// The arguments of `fdi-operator status`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct StatusFlags {
    /// Only this FdiTaskGroup and its instance.
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: Option<String>,

    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    selection: SelectionFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Exit code 0 only if everything shown is Ready in its current generation, 2 if not.
pub fn run(flags: &StatusFlags) -> ExitCode {
    error::run(status(flags))
}

async fn status(flags: &StatusFlags) -> Result<Outcome, CommandError> {
    let cluster = flags.cluster.connect().await?;
    let report = report(&instances(flags, &cluster).await?, &groups(flags, &cluster).await?, flags.is_narrowed());
    if report.instances.is_empty() {
        return Err(flags.nothing_found(&cluster));
    }
    show(flags, &report)?;
    Ok(if report.well { Outcome::Well } else { Outcome::NotWell })
}

/// Every instance of the namespaces: labels and fields choose groups.
async fn instances(flags: &StatusFlags, cluster: &Cluster) -> Result<Vec<FdiInstance>, CommandError> {
    let all = SelectionFlags { all_namespaces: flags.selection.all_namespaces, ..SelectionFlags::default() };
    all.list(cluster).await
}

async fn groups(flags: &StatusFlags, cluster: &Cluster) -> Result<Vec<FdiTaskGroup>, CommandError> {
    let mut groups: Vec<FdiTaskGroup> = flags.selection.list(cluster).await?;
    groups.retain(|group| flags.group.as_ref().is_none_or(|name| *name == group.name_any()));
    Ok(groups)
}

impl StatusFlags {
    /// Instances are shown only with a group that was chosen.
    fn is_narrowed(&self) -> bool {
        self.group.is_some() || self.selection.narrows()
    }

    /// Nothing is no sign that all is well: the namespace may be the wrong one.
    fn nothing_found(&self, cluster: &Cluster) -> CommandError {
        let scope =
            if self.selection.all_namespaces { "the cluster".to_owned() } else { in_namespace(&cluster.namespace) };
        let what = match &self.group {
            Some(name) => format!("FdiTaskGroup \"{name}\""),
            None if self.is_narrowed() => "FdiTaskGroup that is selected".to_owned(),
            None => "FdiInstance and no FdiTaskGroup".to_owned(),
        };
        CommandError::Usage(format!("{scope} has no {what}: check --namespace, or use --all-namespaces"))
    }
}

fn show(flags: &StatusFlags, report: &Report) -> Result<(), CommandError> {
    if let Some(document) = structured(flags.output.output, report)? {
        print(document);
    } else if flags.output.output == Format::Name {
        report.not_ready().iter().for_each(print);
    } else {
        tree::lines(report, Timestamp::now()).iter().for_each(print);
    }
    Ok(())
}
