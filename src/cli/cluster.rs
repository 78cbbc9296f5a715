//! Which cluster and namespace a command is for: the flags of kubectl, and the client that they
//! lead to.

use std::env;
use std::path::PathBuf;

use clap::Args;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::error::CommandError;
use crate::crd::FdiTaskGroup;
use crate::k8s::clients::KubeClients;

/// Objects in one response of the API server.
const PAGE_SIZE: u32 = 500;

/// How the cluster is reached, as with kubectl. The comments are help texts, so they are plain
/// text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectionFlags {
    /// Kubeconfig to use instead of KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, instead of its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// The cluster and the namespace.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterFlags {
    #[command(flatten)]
    connection: ConnectionFlags,

    /// Namespace, instead of that of the context.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

/// Which objects are meant, where a command is for several.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectionFlags {
    /// Objects of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// Only objects with these labels, such as team=orders.
    #[arg(short = 'l', long, value_name = "QUERY")]
    pub selector: Option<String>,

    /// Only objects with these fields, such as spec.suspend=true.
    #[arg(long, value_name = "QUERY")]
    pub field_selector: Option<String>,
}

/// A client, and the namespace that a command is for.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl ConnectionFlags {
    /// A client with the identity of the user. Nothing is sent yet.
    pub async fn connect(&self) -> Result<Cluster, CommandError> {
        let config = self.config().await?;
        let namespace = config.default_namespace.clone();
        let client = KubeClients::for_command(&config).map_err(|error| CommandError::Kubeconfig(error.to_string()))?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> Result<Config, CommandError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let unusable = |error: &dyn std::error::Error| CommandError::Kubeconfig(error.to_string());
        match &self.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))
            }
            // In a pod without a kubeconfig the service account serves.
            None if self.context.is_none() && env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
                Config::infer().await.map_err(|error| unusable(&error))
            }
            None => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error)),
        }
    }
}

impl ClusterFlags {
    pub async fn connect(&self) -> Result<Cluster, CommandError> {
        let cluster = self.connection.connect().await?;
        Ok(Cluster { namespace: self.namespace.clone().unwrap_or(cluster.namespace), ..cluster })
    }
}

impl SelectionFlags {
    /// Whether they leave objects out.
    pub fn narrows(&self) -> bool {
        self.selector.is_some() || self.field_selector.is_some()
    }

    pub fn params(&self) -> ListParams {
        ListParams {
            label_selector: self.selector.clone(),
            field_selector: self.field_selector.clone(),
            ..ListParams::default()
        }
    }

    /// All objects that they choose in `cluster`.
    pub async fn list<K>(&self, cluster: &Cluster) -> Result<Vec<K>, CommandError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = if self.all_namespaces {
            Api::all(cluster.client.clone())
        } else {
            Api::namespaced(cluster.client.clone(), &cluster.namespace)
        };
        let scope = if self.all_namespaces { "all namespaces".to_owned() } else { in_namespace(&cluster.namespace) };
        list_all(&api, self.params()).await.map_err(|error| {
            let what = format!("list {} in {scope}", K::plural(&()));
            CommandError::request(&what, error)
        })
    }
}

impl Cluster {
    /// All objects of a kind in the namespace.
    pub async fn list<K>(&self) -> Result<Vec<K>, CommandError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        SelectionFlags::default().list(self).await
    }

    /// The groups that refer to an instance.
    pub async fn groups_of(&self, instance: &str) -> Result<Vec<FdiTaskGroup>, CommandError> {
        let mut groups: Vec<FdiTaskGroup> = self.list().await?;
        groups.retain(|group| group.spec.instance_ref.name == instance);
        Ok(groups)
    }

    /// The object of this name.
    pub async fn get<K>(&self, name: &str) -> Result<K, CommandError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let kind = K::kind(&());
        let found = api.get_opt(name).await.map_err(|error| {
            let what = format!("read the {kind} \"{name}\" in {}", in_namespace(&self.namespace));
            CommandError::request(&what, error)
        })?;
        found.ok_or_else(|| CommandError::not_found(&kind, name, &self.namespace, &K::plural(&())))
    }
}

/// As it continues a sentence.
pub fn in_namespace(namespace: &str) -> String {
    format!("namespace \"{namespace}\"")
}

async fn list_all<K>(api: &Api<K>, mut params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    params = params.limit(PAGE_SIZE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await?;
        found.extend(page.items);
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(found);
        }
    }
}
