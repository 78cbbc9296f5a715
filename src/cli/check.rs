//! `fdi-operator check`: whether everything is as the operator and this command line need it.

mod cluster;
mod fdi;
mod finding;

use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use serde::Serialize;

use self::finding::{Finding, Mark};
use super::cluster::{Cluster, ClusterFlags};
use super::completion;
use super::error::{self, CommandError, Outcome};
use super::live::LiveFlags;
use super::output::{Format, print, structured};
use crate::crd::FdiInstance;

/// The arguments of `fdi-operator check`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct CheckFlags {
    /// Only this FdiInstance; all of the namespace if not set.
    #[arg(value_name = "INSTANCE", add = completion::instances())]
    instance: Option<String>,

    /// Format of the output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: CheckFormat,

    #[command(flatten)]
    live: LiveFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// The formats that findings have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    #[default]
    Table,
    Json,
    Yaml,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Finding>,
}

/// Exit code 0 if nothing fails, 1 if something does.
pub fn run(flags: &CheckFlags) -> ExitCode {
    error::run(check(flags))
}

async fn check(flags: &CheckFlags) -> Result<Outcome, CommandError> {
    let cluster = flags.cluster.connect().await?;
    let mut checks = cluster::check(&cluster).await;
    if checks.iter().all(|finding| finding.mark != Mark::Failed) {
        for instance in instances(flags, &cluster).await? {
            checks.extend(fdi::check(&cluster, &flags.live, &instance).await);
        }
    }
    let ok = checks.iter().all(|finding| finding.mark != Mark::Failed);
    let report = Report { ok, checks };
    let format = match flags.output {
        CheckFormat::Table => Format::Table,
        CheckFormat::Json => Format::Json,
        CheckFormat::Yaml => Format::Yaml,
    };
    match structured(format, &report)? {
        Some(document) => print(document),
        None => report.checks.iter().flat_map(Finding::lines).for_each(print),
    }
    Ok(if ok { Outcome::Well } else { Outcome::Failed })
}

async fn instances(flags: &CheckFlags, cluster: &Cluster) -> Result<Vec<FdiInstance>, CommandError> {
    if let Some(name) = &flags.instance {
        return Ok(vec![cluster.get(name).await?]);
    }
    let mut instances: Vec<FdiInstance> = cluster.list().await?;
    instances.sort_by_key(ResourceExt::name_any);
    Ok(instances)
}
