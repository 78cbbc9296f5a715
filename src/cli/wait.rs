//! `fdi-operator wait`: until objects are Ready in their current generation.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::cluster::ClusterFlags;
use super::error;
use super::target::{Kind, TargetFlags};
use super::waiting::{Goal, wait};
use crate::config::flags::duration;

/// The arguments of `fdi-operator wait`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct WaitForFlags {
    /// The names are those of FdiInstances.
    #[arg(long)]
    instance: bool,

    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,

    /// Go on when an object is Stalled, that is, when a user has to act.
    #[arg(long)]
    despite_stalled: bool,

    #[command(flatten)]
    targets: TargetFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Exit code 0 if all are Ready, 2 if one is stalled or the time is over.
pub fn run(flags: &WaitForFlags) -> ExitCode {
    error::run(async {
        let cluster = flags.cluster.connect().await?;
        let targets = flags.targets.resolve(&cluster, Kind::of(flags.instance)).await?;
        let goal = Goal::Ready { despite_stalled: flags.despite_stalled };
        wait(&cluster.client, targets, &goal, flags.timeout).await
    })
}
