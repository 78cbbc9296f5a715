//! `fdi-operator reconcile`: asks the operator to reconcile now, as `flux reconcile` does.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::edit::EditFlags;
use super::error::{self, CommandError, Outcome};
use super::output::print;
use super::patch::annotate;
use super::target::Kind;
use super::waiting::Goal;
use crate::crd::REQUESTED_AT;

/// The arguments of `fdi-operator reconcile`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct ReconcileFlags {
    /// The names are those of FdiInstances.
    #[arg(long)]
    instance: bool,

    #[command(flatten)]
    edit: EditFlags,
}

/// Exit code 2 if the operator did not act on it in the time of `--wait`.
pub fn run(flags: &ReconcileFlags) -> ExitCode {
    error::run(reconcile(flags))
}

async fn reconcile(flags: &ReconcileFlags) -> Result<Outcome, CommandError> {
    let cluster = flags.edit.cluster.connect().await?;
    let mut targets = flags.edit.targets.resolve(&cluster, Kind::of(flags.instance)).await?;
    let requested_at = Timestamp::now().to_string();
    for target in &mut targets {
        annotate(&cluster.client, target, REQUESTED_AT, &requested_at).await?;
        print(format_args!("{} is to be reconciled", target.full_name()));
    }
    flags.edit.wait.run(&cluster.client, targets, &Goal::Handled(requested_at)).await
}
