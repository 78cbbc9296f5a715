//! The command line: one file for each sub-command. To add one, add its file, and its line in
//! [`Command`] and in [`main`].

mod age;
mod check;
mod cleanup;
mod cluster;
mod completion;
mod crds;
mod docs;
mod edit;
mod error;
mod history;
mod import;
mod live;
mod manager;
mod output;
mod ownership;
mod patch;
mod place;
mod plan;
mod program;
mod readiness;
mod reconcile;
mod run;
mod status;
mod target;
mod tasks;
mod tone;
mod wait;
mod waiting;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::edit::Edit;
#[cfg(fuzzing)]
pub use self::plan::fuzz::manifests;
use self::program::Program;

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
    /// Show instances, groups, and the tasks that are not as desired. Exit code 0 only if all is
    /// well.
    #[command(visible_alias = "get")]
    Status(status::StatusFlags),
    /// List the tasks of an instance with state, last run and group. Sends nothing but lists.
    Tasks(tasks::TasksFlags),
    /// Suspend groups or instances: no task is started or stopped any more.
    Suspend(edit::SuspendFlags),
    /// End the suspension of groups or instances.
    Resume(edit::SuspendFlags),
    /// Set the desired state of groups to Running.
    Start(edit::EditFlags),
    /// Set the desired state of groups to Stopped.
    Stop(edit::EditFlags),
    /// Ask the operator to reconcile groups or instances now.
    Reconcile(reconcile::ReconcileFlags),
    /// Wait until groups or instances are Ready in their current generation.
    Wait(wait::WaitForFlags),
    /// Show the latest calls for the tasks of a group, and why they were sent.
    History(history::HistoryFlags),
    /// Check cluster, permissions, Secret, sign-in and clock, and say what to do.
    Check(check::CheckFlags),
    /// Print the CRDs, for kubectl apply --server-side -f -
    Crds,
    /// Remove this operator's finalizers once it is uninstalled for good.
    Cleanup(cleanup::CleanupFlags),
    /// Print the calls that the operator would send. Sends no call itself.
    Plan(plan::PlanFlags),
    /// Write groups for the tasks that an instance has, which change nothing when applied.
    Import(import::ImportFlags),
    /// Print the script that makes a shell complete this program.
    Completion(completion::CompletionFlags),
    /// Print a generated page of the documentation.
    #[command(hide = true)]
    Docs(docs::DocsFlags),
}

/// Exit code of arguments that cannot be used: 2 for the operator, as ever, and 1 for commands,
/// whose 2 means no.
fn usage_code() -> u8 {
    if std::env::args_os().nth(1).is_some_and(|command| command == "run") { 2 } else { 1 }
}

/// Parses the arguments and runs the sub-command.
pub fn main() -> ExitCode {
    let program = Program::of_process();
    let command = program.command(Cli::command());
    if program == Program::Completer {
        return completion::for_kubectl(command, std::env::args_os().collect());
    }
    let parsed = command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let chosen = match parsed {
        Ok(cli) => cli.command,
        Err(error) => {
            // A closed pipe is no failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(usage_code()) } else { ExitCode::SUCCESS };
        }
    };
    match chosen {
        Command::Run(flags) => run::run(*flags),
        Command::Status(flags) => status::run(&flags),
        Command::Tasks(flags) => tasks::run(&flags),
        Command::Suspend(flags) => edit::suspend(Edit::Suspend, &flags),
        Command::Resume(flags) => edit::suspend(Edit::Resume, &flags),
        Command::Start(flags) => edit::group(Edit::Start, &flags),
        Command::Stop(flags) => edit::group(Edit::Stop, &flags),
        Command::Reconcile(flags) => reconcile::run(&flags),
        Command::Wait(flags) => wait::run(&flags),
        Command::History(flags) => history::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Crds => crds::run(),
        Command::Cleanup(flags) => cleanup::run(&flags),
        Command::Plan(flags) => plan::run(&flags),
        Command::Import(flags) => import::run(&flags),
        Command::Completion(flags) => completion::run(&flags, program, command),
        Command::Docs(flags) => docs::run(&flags, &command),
    }
}
