//! `fdi-operator cleanup`: removes the operator's finalizers once it is uninstalled for good, so
//! that every group can be deleted.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::json;

use super::cluster::ConnectionFlags;
use crate::config::flags::list_items;
use crate::crd::{FINALIZER, FdiTaskGroup};
use crate::k8s::clients::FIELD_MANAGER;
use crate::k8s::error::{describe, describe_status};

/// How often one group is tried while others change it.
const MAX_ATTEMPTS: u32 = 10;
const PAGE_SIZE: u32 = 100;

/// The arguments of `fdi-operator cleanup`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct CleanupFlags {
    /// Only groups in these namespaces, comma-separated or repeated; all if not set.
    #[arg(long = "namespaces", value_name = "NAME", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Only print what would be done.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    removed: usize,
    /// Groups that still have the finalizer.
    left: usize,
    /// Namespaces that could not be listed.
    unlisted: usize,
}

/// Exit code 0 if no group has the finalizer any more. Stop the operator first: a running one puts
/// its finalizers back.
pub fn run(flags: &CleanupFlags) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let client = match runtime.block_on(flags.connection.connect()) {
        Ok(cluster) => cluster.client,
        Err(error) => return fail(&error),
    };
    let Tally { removed, left, unlisted } = runtime.block_on(clean(&client, flags));
    if flags.dry_run {
        print(format_args!("{left} finalizers would be removed"));
        return if unlisted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    print(format_args!("{removed} finalizers removed, {left} left; the tasks stay as they are"));
    if left + unlisted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &impl Display) -> ExitCode {
    report(format_args!("error: {error}"));
    ExitCode::FAILURE
}

/// A closed pipe is no reason to stop half-way.
fn print(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn report(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

async fn clean(client: &Client, flags: &CleanupFlags) -> Tally {
    let namespaces = list_items(&flags.namespaces);
    let scopes: Vec<Api<FdiTaskGroup>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.into_iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let mut tally = Tally::default();
    for scope in scopes {
        if let Err(error) = clean_scope(client, &scope, flags.dry_run, &mut tally).await {
            report(format_args!("error: cannot list FdiTaskGroups: {}", describe(&error)));
            tally.unlisted += 1;
        }
    }
    tally
}

async fn clean_scope(client: &Client, scope: &Api<FdiTaskGroup>, dry_run: bool, tally: &mut Tally) -> kube::Result<()> {
    for metadata in held(scope).await? {
        let name = format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), name(&metadata));
        if dry_run {
            print(name);
            continue;
        }
        match remove(client, metadata).await {
            Ok(()) => {
                tally.removed += 1;
                print(name);
            }
            Err(reason) => report(format_args!("error: {name}: {reason}")),
        }
    }
    // An operator that runs has put some back.
    tally.left += held(scope).await?.len();
    Ok(())
}

/// The groups that have the finalizer.
async fn held(api: &Api<FdiTaskGroup>) -> kube::Result<Vec<ObjectMeta>> {
    let mut held = Vec::new();
    let mut page = ListParams::default().limit(PAGE_SIZE);
    loop {
        let list = api.list_metadata(&page).await?;
        let metadata = list.items.into_iter().map(|group| group.metadata);
        held.extend(metadata.filter(|metadata| position(metadata).is_some()).map(|mut metadata| {
            metadata.managed_fields = None;
            metadata
        }));
        page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if page.continue_token.is_none() {
            return Ok(held);
        }
    }
}

/// Removes the finalizer from this very object, and leaves those of others alone.
async fn remove(client: &Client, mut metadata: ObjectMeta) -> Result<(), String> {
    let api: Api<FdiTaskGroup> = Api::namespaced(client.clone(), metadata.namespace.as_deref().unwrap_or_default());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for _ in 0..MAX_ATTEMPTS {
        let Some(index) = position(&metadata) else { return Ok(()) };
        let entry = format!("/metadata/finalizers/{index}");
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": metadata.uid},
            {"op": "test", "path": entry, "value": FINALIZER},
            {"op": "remove", "path": entry},
        ]);
        let patch = serde_json::from_value(patch).map(Patch::<()>::Json).map_err(|error| error.to_string())?;
        let refusal = match api.patch_metadata(name(&metadata), &params, &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => status,
            Err(error) => return Err(describe(&error)),
        };
        // Either something has changed, a finalizer or the whole object, or the API server refuses
        // it.
        let now = api.get_metadata_opt(name(&metadata)).await.map_err(|error| describe(&error))?;
        match now.map(|group| group.metadata) {
            Some(now) if now.uid == metadata.uid => {
                if refusal.code == 422 && now.finalizers == metadata.finalizers {
                    return Err(describe_status(&refusal));
                }
                metadata = now;
            }
            _ => return Ok(()),
        }
    }
    Err("others change it all the time: stop the operator, then run this again".to_owned())
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// Where our finalizer is among those of the group.
fn position(metadata: &ObjectMeta) -> Option<usize> {
    metadata.finalizers.iter().flatten().position(|finalizer| finalizer == FINALIZER)
}
