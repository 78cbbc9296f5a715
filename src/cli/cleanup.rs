//! `fdi-operator cleanup`: lets go of all groups, so that none is stuck in deletion once the operator is gone for good.

use std::process::ExitCode;

use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::clients::Clients;
use crate::crd::{FINALIZER, FdiTaskGroup};

const PAGE: u32 = 500;

/// The arguments of `fdi-operator cleanup`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct CleanupFlags {
    /// Only these namespaces. Repeated or comma-separated; all when absent.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Remove the finalizers. Without it the groups are only named.
    #[arg(long)]
    yes: bool,
}

/// Prints a line for each group. Exit code 1 when a finalizer could not be removed.
pub fn run(flags: &CleanupFlags) -> ExitCode {
    let done = Runtime::new().map_err(|error| format!("no runtime: {error}")).and_then(|runtime| {
        runtime.block_on(async {
            let clients = Clients::infer().await.map_err(|error| error.to_string())?;
            cleanup(&clients.requests, &flags.namespaces, flags.yes, |line| println!("{line}")).await
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Removes our finalizer from the groups of these namespaces (all when none is named), or with `yes` unset says from which
/// it would be removed. Tasks are left as they are. Run it with the operator stopped, which would put finalizers back.
///
/// # Errors
/// The first list that failed, or how many groups still have the finalizer.
pub async fn cleanup(
    client: &Client,
    namespaces: &[String],
    yes: bool,
    mut say: impl FnMut(String),
) -> Result<(), String> {
    let places: Vec<Api<FdiTaskGroup>> = match namespaces {
        [] => vec![Api::all(client.clone())],
        names => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    let (mut found, mut failed) = (0, 0);
    for groups in places {
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = groups.list(&page).await.map_err(|error| format!("the groups cannot be listed: {error}"))?;
            for group in listed.items.iter().filter(|group| group.finalizers().iter().any(|name| name == FINALIZER)) {
                found += 1;
                let name = format!("{}/{}", group.namespace().unwrap_or_default(), group.name_any());
                if !yes {
                    say(format!("{name}: its finalizer would be removed"));
                    continue;
                }
                match let_go(client, group).await {
                    Ok(()) => say(format!("{name}: finalizer removed, its tasks were left as they are")),
                    Err(error) => {
                        failed += 1;
                        say(format!("{name}: the finalizer could not be removed: {error}"));
                    }
                }
            }
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    match (found, yes) {
        (0, _) => say("no group has a finalizer of fdi-operator".to_owned()),
        (n, false) => say(format!("{n} groups; nothing was changed: run again with --yes, with the operator stopped")),
        (_, true) => {}
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {found} groups still have the finalizer: run again")) }
}

async fn let_go(client: &Client, group: &FdiTaskGroup) -> Result<(), kube::Error> {
    let rest: Vec<&String> = group.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    // The list is replaced as a whole, so it must be the one that was read, and of the same object.
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": group.metadata.uid},
        {"op": "test", "path": "/metadata/finalizers", "value": group.metadata.finalizers},
        {"op": "replace", "path": "/metadata/finalizers", "value": rest},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
    let groups: Api<FdiTaskGroup> = Api::namespaced(client.clone(), &group.namespace().unwrap_or_default());
    match groups.patch(&group.name_any(), &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        answer => answer.map(drop),
    }
}
