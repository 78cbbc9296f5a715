//! `fdi-operator suspend`, `resume`, `start` and `stop`.

use std::process::ExitCode;

use clap::Args;
use kube::Api;
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterFlags};
use super::error::{self, CommandError, Outcome, report};
use super::manager;
use super::output::{note, print};
use super::patch::{Edited, set};
use super::program::typed;
use super::target::{Kind, Target, TargetFlags};
use super::waiting::{Goal, WaitFlags, wait};
use crate::crd::FdiInstance;

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Suspend,
    Resume,
    Start,
    Stop,
}

/// The arguments of suspend and resume. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct SuspendFlags {
    /// The names are those of FdiInstances; one suspends all its groups.
    #[arg(long)]
    instance: bool,

    #[command(flatten)]
    edit: EditFlags,
}

/// The arguments of start and stop, and of every command that edits.
#[derive(Debug, Args)]
pub struct EditFlags {
    #[command(flatten)]
    pub targets: TargetFlags,
    #[command(flatten)]
    pub wait: WaitFlags,
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

impl Edit {
    /// The field of the spec, and its value.
    fn value(self) -> (&'static str, Value) {
        match self {
            Self::Suspend => ("suspend", json!(true)),
            Self::Resume => ("suspend", json!(false)),
            Self::Start => ("desiredState", json!("Running")),
            Self::Stop => ("desiredState", json!("Stopped")),
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Suspend => "suspended: the operator observes its tasks, and starts and stops none",
            Self::Resume => "resumed: the operator brings its tasks to the desired state",
            Self::Start => "to be Running: the operator starts its tasks",
            Self::Stop => "to be Stopped: the operator stops its tasks",
        }
    }

    fn already(self) -> &'static str {
        match self {
            Self::Suspend => "is suspended already",
            Self::Resume => "is not suspended",
            Self::Start => "is to be Running already",
            Self::Stop => "is to be Stopped already",
        }
    }

    /// When `--wait` ends: tasks of a suspended group may never be as desired.
    fn goal(self) -> Goal {
        match self {
            Self::Suspend => Goal::Observed,
            Self::Resume | Self::Start | Self::Stop => Goal::Ready { despite_stalled: false },
        }
    }
}

/// Exit code 1 if an object could not be edited, 2 if one is not Ready in the time of `--wait`.
pub fn suspend(edit: Edit, flags: &SuspendFlags) -> ExitCode {
    error::run(apply(edit, Kind::of(flags.instance), &flags.edit))
}

/// The same for groups alone.
pub fn group(edit: Edit, flags: &EditFlags) -> ExitCode {
    error::run(apply(edit, Kind::Group, flags))
}

async fn apply(edit: Edit, kind: Kind, flags: &EditFlags) -> Result<Outcome, CommandError> {
    let cluster = flags.cluster.connect().await?;
    let targets = flags.targets.resolve(&cluster, kind).await?;
    let (field, value) = edit.value();
    let mut edited: Vec<Target> = Vec::new();
    let mut failed = false;
    for mut target in targets {
        let before = target.object.metadata.clone();
        match set(&cluster.client, &mut target, field, &value).await {
            Ok(Edited::Changed) => {
                print(format_args!("{} {}", target.full_name(), edit.done()));
                if let Some(fate) = manager::fate(&before, field) {
                    note(format_args!("{}: {fate}", target.name()));
                }
                if let Some(hindrance) = hindrance(edit, &target, &cluster).await {
                    note(format_args!("{}: {hindrance}", target.name()));
                }
                edited.push(target);
            }
            Ok(Edited::Unchanged) => {
                print(format_args!("{} {}", target.full_name(), edit.already()));
                edited.push(target);
            }
            Err(error) => {
                report(&error);
                failed = true;
            }
        }
    }
    let waited = flags.wait.run(&cluster.client, edited, &edit.goal()).await?;
    Ok(if failed { Outcome::Failed } else { waited })
}

/// Why the operator does not do at once what the edit asks for: something is suspended.
async fn hindrance(edit: Edit, target: &Target, cluster: &Cluster) -> Option<String> {
    let spec = &target.object.data["spec"];
    if edit == Edit::Suspend || target.kind == Kind::Instance {
        return None;
    }
    if spec["suspend"] == true {
        return Some(format!("it is suspended, so nothing is started or stopped until '{} resume'", typed()));
    }
    let name = spec["instanceRef"]["name"].as_str()?;
    let namespace = target.object.metadata.namespace.as_deref()?;
    let instances: Api<FdiInstance> = Api::namespaced(cluster.client.clone(), namespace);
    // Whoever may edit groups need not be able to read instances.
    let instance = instances.get_opt(name).await.ok()??;
    instance.spec.suspend.then(|| {
        format!(
            "its FdiInstance \"{name}\" is suspended, so nothing is started or stopped until '{} resume --instance \
             {name}'",
            typed()
        )
    })
}

impl WaitFlags {
    /// Polls until the goal, if `--wait` says so.
    pub async fn run(&self, client: &kube::Client, targets: Vec<Target>, goal: &Goal) -> Result<Outcome, CommandError> {
        if self.wait { wait(client, targets, goal, self.timeout).await } else { Ok(Outcome::Well) }
    }
}
