//! `fdi-operator cleanup`: for when the operator is gone for good. Removes its finalizers, so that
//! no object stays.

use std::process::ExitCode;

use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::crd::{FINALIZER, FdiTaskGroup};
use crate::k8s::clients::KubeClients;

/// The arguments of `fdi-operator cleanup`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct CleanupFlags {
    /// Only groups in these namespaces, comma-separated or repeated; all when not given.
    #[arg(long = "namespaces", value_name = "NAME", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// Stop the operator first: a running one puts its finalizers back.
pub fn run(flags: &CleanupFlags) -> ExitCode {
    let done = tokio::runtime::Runtime::new()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(clean(flags)));
    match done {
        Ok(n) => {
            println!(
                "{n} finalizers {}",
                if flags.dry_run { "would be removed" } else { "removed; the tasks were left as they are" }
            );
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn clean(flags: &CleanupFlags) -> Result<usize, String> {
    let client = KubeClients::infer().await.map_err(|error| error.to_string())?.requests;
    let scopes: Vec<Api<FdiTaskGroup>> = if flags.namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        flags.namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let mut cleaned = 0;
    for api in scopes {
        for group in api.list(&ListParams::default()).await.map_err(|error| error.to_string())? {
            let held = group.finalizers();
            if !held.iter().any(|name| name == FINALIZER) {
                continue;
            }
            let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
            println!("{namespace}/{name}");
            if !flags.dry_run {
                let rest: Vec<&String> = held.iter().filter(|name| *name != FINALIZER).collect();
                // With the resource version the patch fails rather than removes what somebody else
                // has added meanwhile.
                let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": group.resource_version()}});
                let api: Api<FdiTaskGroup> = Api::namespaced(client.clone(), &namespace);
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .map_err(|error| format!("{namespace}/{name}: {error}"))?;
            }
            cleaned += 1;
        }
    }
    Ok(cleaned)
}
