//! `fdi-operator tasks`: every task of an instance, and which group owns it.

mod from_status;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use super::cluster::ClusterFlags;
use super::completion;
use super::error::{self, CommandError, Outcome};
use super::live::{self, LiveFlags};
use super::output::{Format, OutputFlags, note, print, structured, table};
use super::ownership::resolve;
use super::place::PlaceFlags;
use crate::crd::FdiInstance;
use crate::fdi::{Attributes, LastRun, RunHealth, RunState, Task};
use crate::reconcile::desired::Desired;

/// The arguments of `fdi-operator tasks`. Their comments are the help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct TasksFlags {
    /// Name of the FdiInstance; with --region or --endpoint the ID of the instance.
    #[arg(value_name = "INSTANCE", add = completion::instances())]
    instance: String,

    /// Only tasks that no group owns.
    #[arg(long)]
    unmanaged: bool,

    /// Only tasks that are on and whose latest run ended in ERROR.
    #[arg(long)]
    failing: bool,

    /// Only tasks in this state.
    #[arg(long, value_enum, ignore_case = true, value_name = "STATE")]
    state: Option<State>,

    /// Print what the statuses of the groups say, and send nothing to FDI.
    ///
    /// Statuses name the tasks that are not as desired, so the state of others is known only where
    /// their group is Ready.
    #[arg(long, conflicts_with_all = ["unmanaged", "region", "endpoint"])]
    from_status: bool,

    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    live: LiveFlags,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// As `spec.desiredState` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    #[value(name = "Running")]
    Running,
    #[value(name = "Stopped")]
    Stopped,
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Stopped => Self::Stopped,
        }
    }
}

/// One task, as it is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    id: String,
    /// Absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<&'static str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'static str>,
    /// The group that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    failing: bool,
}

#[derive(Serialize)]
struct Report {
    instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    tasks: Vec<Row>,
}

/// Exit code 1 if the tasks could not be listed.
pub fn run(flags: &TasksFlags) -> ExitCode {
    error::run(list(flags))
}

async fn list(flags: &TasksFlags) -> Result<Outcome, CommandError> {
    if let Some(instance) = flags.place.instance(&flags.instance) {
        let tasks = live::list_without_cluster(&flags.live, &instance, Attributes::Omit).await?;
        let (desired, _) = resolve(instance, Vec::new(), tasks.clone(), Timestamp::now());
        return show(flags, None, tasks.iter().map(|task| row(task, &desired)).collect());
    }
    let cluster = flags.cluster.connect().await?;
    let rows = if flags.from_status {
        let instance: FdiInstance = cluster.get(&flags.instance).await?;
        cluster.groups_of(&instance.name_any()).await?.iter().flat_map(from_status::rows).collect()
    } else {
        let listed = live::list(&cluster, &flags.live, &flags.instance, Attributes::Keep).await?;
        let groups = cluster.groups_of(&flags.instance).await?;
        let (desired, _) = resolve(listed.instance, groups, listed.tasks.clone(), Timestamp::now());
        listed.tasks.iter().map(|task| row(task, &desired)).collect::<Vec<_>>()
    };
    show(flags, Some(cluster.namespace), rows)
}

impl TasksFlags {
    fn wants(&self, row: &Row) -> bool {
        let state = self.state.map(|state| RunState::from(state).to_string());
        (!self.unmanaged || row.group.is_none())
            && (!self.failing || row.failing)
            && (state.is_none() || row.state == state)
    }
}

fn row(task: &Task, desired: &Desired) -> Row {
    Row {
        name: task.name.to_string(),
        id: task.id.to_string(),
        state: task.state.map(|state| state.to_string()),
        last_run: last_run(task.last_run),
        type_: task.type_.map(crate::fdi::TaskType::as_str),
        group: desired.owner(&task.id).map(|group| group.name.clone()),
        failing: task.run_health() == RunHealth::Failing,
    }
}

/// As the service spells it in `execute_status`.
fn last_run(run: LastRun) -> Option<&'static str> {
    match run {
        LastRun::Unstarted => Some("UNSTARTED"),
        LastRun::Waiting => Some("WAITING"),
        LastRun::Running => Some("RUNNING"),
        LastRun::Success => Some("SUCCESS"),
        LastRun::Cancelled => Some("CANCELLED"),
        LastRun::Error => Some("ERROR"),
        LastRun::Unknown => None,
    }
}

fn show(flags: &TasksFlags, namespace: Option<String>, mut rows: Vec<Row>) -> Result<Outcome, CommandError> {
    rows.retain(|row| flags.wants(row));
    rows.sort();
    let report = Report { instance: flags.instance.clone(), namespace, tasks: rows };
    if let Some(document) = structured(flags.output.output, &report)? {
        print(document);
    } else if report.tasks.is_empty() {
        note("no such task");
    } else if flags.output.output == Format::Name {
        report.tasks.iter().filter(|row| !row.id.is_empty()).for_each(|row| print(&row.id));
    } else {
        let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let cells = report.tasks.iter().map(|row| {
            let (name, id) = (Some(&*row.name), Some(&*row.id));
            let given = |text: Option<&str>| dash(text.filter(|text| !text.is_empty()));
            let state = row.state.as_deref();
            [given(name), given(id), dash(state), dash(row.last_run), dash(row.type_), dash(row.group.as_deref())]
        });
        print(table(["NAME", "ID", "STATE", "LAST RUN", "TYPE", "GROUP"], cells));
    }
    Ok(Outcome::Well)
}
