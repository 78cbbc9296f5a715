//! The command line: one file for each sub-command. To add one, add its file, and its line in
//! [`Command`] and in [`main`].

mod cleanup;
mod cluster;
mod crds;
mod docs;
mod error;
mod import;
mod live;
mod output;
mod ownership;
mod plan;
mod run;
mod tasks;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// The version and the commit it was built from, which `build.rs` finds.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("FDI_OPERATOR_REVISION"), ")");

/// Keeps FDI tasks of Huawei Cloud ROMA Connect running or stopped, as `FdiTaskGroup` resources
/// say.
#[derive(Debug, Parser)]
#[command(name = "fdi-operator", version = VERSION)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator. Every flag can also be set by its environment variable.
    Run(Box<crate::config::flags::Flags>),
    /// List the tasks of an instance with state, last run and group. Sends nothing but lists.
    Tasks(tasks::TasksFlags),
    /// Print the CRDs, for kubectl apply --server-side -f -
    Crds,
    /// Remove this operator's finalizers once it is uninstalled for good.
    Cleanup(cleanup::CleanupFlags),
    /// Print the calls that the operator would send. Sends no call itself.
    Plan(plan::PlanFlags),
    /// Write groups for the tasks that an instance has, which change nothing when applied.
    Import(import::ImportFlags),
    /// Print a generated page of the documentation.
    #[command(hide = true)]
    Docs(docs::DocsFlags),
}

/// Parses the arguments and runs the sub-command.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(flags) => run::run(*flags),
        Command::Tasks(flags) => tasks::run(&flags),
        Command::Crds => crds::run(),
        Command::Cleanup(flags) => cleanup::run(&flags),
        Command::Plan(flags) => plan::run(&flags),
        Command::Import(flags) => import::run(&flags),
        Command::Docs(flags) => docs::run(&flags, &Cli::command()),
    }
}
