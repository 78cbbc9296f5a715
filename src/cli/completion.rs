//! Completions: scripts for shells, and what kubectl asks for a plugin.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Command, Parser};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};
use clap_complete::{Shell, generate};
use kube::ResourceExt as _;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;

use super::cluster::ClusterFlags;
use super::output::print;
use super::program::Program;
use crate::crd::{FdiInstance, FdiTaskGroup};

/// A shell does not hang for longer because the cluster does not answer.
const NAMES_TIMEOUT: Duration = Duration::from_secs(2);

/// What kubectl reads in the last line: the shell is to offer no file names.
const NO_FILES: &str = ":4";

/// The arguments of `fdi-operator completion`. Their comments are the help texts, so they are plain
/// text.
#[derive(Debug, Args)]
pub struct CompletionFlags {
    /// The shell to print a script for.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script that makes a shell complete the program.
pub fn run(flags: &CompletionFlags, program: Program, mut command: Command) -> ExitCode {
    generate(flags.shell, &mut command, program.file_name(), &mut io::stdout());
    ExitCode::SUCCESS
}

/// Prints the completions of the last argument, one a line with its meaning behind a tab, as
/// kubectl expects of `kubectl_complete-fdi`.
pub fn for_kubectl(mut command: Command, arguments: Vec<OsString>) -> ExitCode {
    let last = arguments.len().saturating_sub(1);
    // Without an argument there is nothing to complete.
    if last == 0 {
        return ExitCode::SUCCESS;
    }
    let candidates = complete(&mut command, arguments, last, None).unwrap_or_default();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => print(format_args!("{value}\t{line}")),
            None => print(value),
        }
    }
    print(NO_FILES);
    ExitCode::SUCCESS
}

/// The groups of the namespace that is being typed.
pub fn groups() -> ArgValueCandidates {
    ArgValueCandidates::new(names::<FdiTaskGroup>)
}

/// The instances of the namespace that is being typed.
pub fn instances() -> ArgValueCandidates {
    ArgValueCandidates::new(names::<FdiInstance>)
}

/// Groups, or instances where `--instance` is among the arguments.
pub fn targets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let instance = std::env::args_os().any(|argument| argument == "--instance");
        if instance { names::<FdiInstance>() } else { names::<FdiTaskGroup>() }
    })
}

/// The part of an unfinished command line that says which cluster it is for.
#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// The flags of [`Typed`] with their values, out of all arguments.
fn of_cluster(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    const FLAGS: [&str; 4] = ["-n", "--namespace", "--context", "--kubeconfig"];
    let mut kept = Vec::new();
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(argument) = arguments.next() {
        let joined = FLAGS.iter().any(|flag| argument.starts_with(&format!("{flag}=")));
        if joined {
            kept.push(argument);
        } else if FLAGS.contains(&argument.as_str()) {
            kept.push(argument);
            kept.extend(arguments.next());
        }
    }
    kept
}

/// Names of objects; none if the cluster does not answer at once.
fn names<K>() -> Vec<CompletionCandidate>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let cluster = std::iter::once("typed".to_owned()).chain(of_cluster(arguments));
    let Ok(typed) = Typed::try_parse_from(cluster) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let found = async { typed.cluster.connect().await?.list::<K>().await };
    let found = runtime.block_on(async { tokio::time::timeout(NAMES_TIMEOUT, found).await });
    let objects = found.ok().and_then(Result::ok).unwrap_or_default();
    objects.iter().map(|object| CompletionCandidate::new(object.name_any())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_found_wherever_its_flags_stand() {
        let typed = "kubectl_complete-fdi suspend --instance -n orders --context=lab -l a=b x";
        let kept = of_cluster(typed.split(' ').map(str::to_owned));
        assert_eq!(kept, ["-n", "orders", "--context=lab"]);
        assert!(Typed::try_parse_from(["typed".to_owned()].into_iter().chain(kept)).is_ok());
    }
}
