//! The objects that a command is for: by name, or by labels and fields, of either kind.

use clap::Args;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};

use super::cluster::{Cluster, SelectionFlags, in_namespace};
use super::completion;
use super::error::CommandError;
use super::readiness::Readiness;
use crate::crd::{Condition, FdiInstance, FdiTaskGroup, TaskCounts};

/// Which objects. The comments are help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
pub struct TargetFlags {
    /// Names of FdiTaskGroups, or of FdiInstances with --instance.
    #[arg(value_name = "NAME", add = completion::targets(), required_unless_present_any = ["selector", "field_selector", "all"])]
    names: Vec<String>,

    /// All objects of the kind.
    #[arg(long, conflicts_with = "names", help_heading = "Selection")]
    all: bool,

    #[command(flatten)]
    selection: SelectionFlags,
}

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Group,
    Instance,
}

impl Kind {
    pub fn of(is_instance: bool) -> Self {
        if is_instance { Self::Instance } else { Self::Group }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Group => ApiResource::erase::<FdiTaskGroup>(&()),
            Self::Instance => ApiResource::erase::<FdiInstance>(&()),
        }
    }
}

/// One object, as the API server had it last.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: Kind,
    pub object: DynamicObject,
}

impl Target {
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        let namespace = self.object.namespace().unwrap_or_default();
        Api::namespaced_with(client.clone(), &namespace, &self.kind.resource())
    }

    pub fn name(&self) -> String {
        self.object.name_any()
    }

    /// As kubectl names it.
    pub fn full_name(&self) -> String {
        let kind = self.kind.resource().kind.to_lowercase();
        format!("{kind}.{}/{}", self.kind.resource().group, self.name())
    }

    pub fn readiness(&self) -> Readiness {
        let status = &self.object.data["status"];
        let observed = status["observedGeneration"].as_i64().unwrap_or(-1);
        let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
        Readiness::of(&self.object.metadata, observed, &conditions)
    }

    /// How many tasks a group has, and how many of them are in the desired state: none, as long as
    /// the status is about an older desired state.
    pub fn tasks(&self) -> Option<TaskCounts> {
        let stored = self.object.data["status"]["tasks"].clone();
        let counts: TaskCounts = serde_json::from_value(stored).ok().filter(|_| self.kind == Kind::Group)?;
        Some(if self.readiness().observed { counts } else { TaskCounts { ready: 0, ..counts } })
    }

    /// The last request for a reconcile that the operator acted on.
    pub fn last_handled(&self) -> Option<&str> {
        self.object.data["status"]["lastHandledReconcileAt"].as_str()
    }

    pub fn not_found(&self) -> CommandError {
        let resource = self.kind.resource();
        let namespace = self.object.namespace().unwrap_or_default();
        CommandError::not_found(&resource.kind, &self.name(), &namespace, &resource.plural)
    }
}

impl TargetFlags {
    /// Reads the objects. A name that does not exist is an error, and nothing else is done.
    pub async fn resolve(&self, cluster: &Cluster, kind: Kind) -> Result<Vec<Target>, CommandError> {
        if self.all || self.names.is_empty() {
            return self.selected(cluster, kind).await;
        }
        if self.selection.all_namespaces || self.selection.narrows() {
            let message = "give either names or --all, --selector, --field-selector, --all-namespaces, not both";
            return Err(CommandError::Usage(message.to_owned()));
        }
        let resource = kind.resource();
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        let mut targets: Vec<Target> = Vec::new();
        for name in &self.names {
            let what = format!("read the {} \"{name}\" in {}", resource.kind, in_namespace(&cluster.namespace));
            let object = api.get_opt(name).await.map_err(|error| CommandError::request(&what, error))?;
            let missing = || CommandError::not_found(&resource.kind, name, &cluster.namespace, &resource.plural);
            let target = Target { kind, object: object.ok_or_else(missing)? };
            if targets.iter().all(|known| known.name() != *name) {
                targets.push(target);
            }
        }
        Ok(targets)
    }

    async fn selected(&self, cluster: &Cluster, kind: Kind) -> Result<Vec<Target>, CommandError> {
        let resource = kind.resource();
        let api: Api<DynamicObject> = if self.selection.all_namespaces {
            Api::all_with(cluster.client.clone(), &resource)
        } else {
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
        };
        let what = format!("list {}", resource.plural);
        let found = api.list(&self.selection.params()).await.map_err(|error| CommandError::request(&what, error))?;
        let targets: Vec<Target> = found.items.into_iter().map(|object| Target { kind, object }).collect();
        if targets.is_empty() {
            let message = format!("no {} is selected: check --namespace and the selectors", resource.kind);
            return Err(CommandError::Usage(message));
        }
        Ok(targets)
    }
}
