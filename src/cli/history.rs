//! `fdi-operator history`: the latest calls for the tasks of a group, and why they were sent.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::age::since;
use super::cluster::ClusterFlags;
use super::completion;
use super::error::{self, CommandError, Outcome};
use super::output::{OutputFlags, note, print, structured, table};
use crate::crd::FdiTaskGroup;

/// The arguments of `fdi-operator history`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct HistoryFlags {
    /// Name of the FdiTaskGroup.
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: String,

    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

pub fn run(flags: &HistoryFlags) -> ExitCode {
    error::run(history(flags))
}

async fn history(flags: &HistoryFlags) -> Result<Outcome, CommandError> {
    let cluster = flags.cluster.connect().await?;
    let group: FdiTaskGroup = cluster.get(&flags.group).await?;
    let history = group.status.map(|status| status.history.clone()).unwrap_or_default();
    if let Some(document) = structured(flags.output.output, &history)? {
        print(document);
    } else if history.is_empty() {
        note("the operator has sent no call for this group yet, as far as its status says");
    } else {
        let now = Timestamp::now();
        let rows = history.iter().map(|entry| {
            let numbers = [entry.starts, entry.stops, entry.failed].map(|count| count.to_string());
            let [starts, stops, failed] = numbers;
            let (age, trigger) = (since(entry.time.0, now), entry.trigger.as_str().to_owned());
            [age, entry.time.0.to_string(), trigger, starts, stops, failed, entry.generation.to_string()]
        });
        print(table(["AGE", "TIME", "TRIGGER", "STARTS", "STOPS", "FAILED", "GENERATION"], rows));
    }
    Ok(Outcome::Well)
}
