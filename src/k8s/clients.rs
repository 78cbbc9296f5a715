//! The Kubernetes clients: one for watches, one for requests, one for the Lease, each with the
//! timeouts that its work needs.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::InferConfigError;
use kube::{Client, Config};

/// Owner of what is written, in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "fdi-operator";
/// In the API server's audit log; it makes a field manager of what comes before the slash.
const AGENT: &str = concat!("fdi-operator/", env!("CARGO_PKG_VERSION"));

/// All clients connect to one API server with one identity. kube sets no timeouts by itself and
/// retries overloaded responses for minutes, so both are set here: a dead connection is noticed,
/// and the caller decides about retries.
#[derive(Clone)]
pub struct KubeClients {
    /// For lists and watches. `watcher` sets their timeouts; the one here is longer than any of
    /// them.
    pub watch: Client,
    /// For single reads, status writes, events.
    pub requests: Client,
    /// For the Lease alone: its renewals must not queue behind anything, and a late response is
    /// worthless.
    pub lease: Client,
    /// The namespace of the configuration: in a pod the pod's own.
    pub namespace: String,
}

impl fmt::Debug for KubeClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeClients").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum KubeClientsError {
    #[error("found neither a kubeconfig nor the service account of a pod: {0}")]
    NoConfig(#[from] Box<InferConfigError>),
    #[error("the Kubernetes configuration cannot be used: {0}")]
    BadConfig(#[from] kube::Error),
}

/// The timeouts of one client.
struct Timeouts {
    connect: Duration,
    read: Duration,
    write: Duration,
}

const WATCH: Timeouts =
    Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(305), write: Duration::from_secs(15) };
/// The renew deadline of the Lease: an API server slower than this has no leader anyway. A
/// reconcile that uses a connection that died silently is delayed by this much.
const REQUESTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(10), write: Duration::from_secs(10) };
const LEASE: Timeouts =
    Timeouts { connect: Duration::from_secs(3), read: Duration::from_secs(5), write: Duration::from_secs(5) };

impl KubeClients {
    /// Takes the configuration from `KUBECONFIG`, `~/.kube/config` or the pod's service account, in
    /// that order. Nothing is sent yet: an API server that is unavailable is no error here.
    pub async fn infer() -> Result<Self, KubeClientsError> {
        Ok(Self::new(&Config::infer().await.map_err(Box::new)?)?)
    }

    /// A client for a command that a user runs. It obeys the kubeconfig's `proxy-url` and the usual
    /// proxy variables, as kubectl does.
    pub fn for_command(config: &Config) -> Result<Client, kube::Error> {
        let mut with_timeouts = with_timeouts(config, &REQUESTS);
        with_timeouts.proxy_url.clone_from(&config.proxy_url);
        Client::try_from(with_timeouts)
    }

    pub fn new(config: &Config) -> Result<Self, kube::Error> {
        Ok(Self {
            watch: Client::try_from(with_timeouts(config, &WATCH))?,
            requests: Client::try_from(with_timeouts(config, &REQUESTS))?,
            lease: Client::try_from(with_timeouts(config, &LEASE))?,
            namespace: config.default_namespace.clone(),
        })
    }
}

fn with_timeouts(config: &Config, timeouts: &Timeouts) -> Config {
    let mut config = config.clone();
    config.connect_timeout = Some(timeouts.connect);
    config.read_timeout = Some(timeouts.read);
    config.write_timeout = Some(timeouts.write);
    // Without this the time a pooled connection was idle counts against the next response.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    let agent = format!("{AGENT} ({}/{})", std::env::consts::OS, std::env::consts::ARCH);
    config.headers.extend(HeaderValue::try_from(agent).ok().map(|agent| (USER_AGENT, agent)));
    // The proxy variables are for FDI and IAM: the operator runs in the cluster of its API server.
    config.proxy_url = None;
    config
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    fn config(url: &str) -> Config {
        Config::new(url.parse().unwrap())
    }

    #[test]
    fn every_client_has_timeouts_in_both_directions_and_none_retries_by_itself() {
        for timeouts in [&WATCH, &REQUESTS, &LEASE] {
            let config = with_timeouts(&config("http://127.0.0.1:1"), timeouts);
            assert!(
                config.connect_timeout.is_some() && config.read_timeout.is_some() && config.write_timeout.is_some()
            );
            assert!(config.reset_reader_on_write && !config.default_retry);
        }
    }

    #[tokio::test]
    async fn a_request_to_an_api_server_that_never_responds_times_out() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let silent = async {
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept().await.unwrap());
            }
        };
        let clients = KubeClients::new(&config(&url)).unwrap();
        let namespaces: Api<Namespace> = Api::all(clients.lease);
        let started = Instant::now();
        let answer = tokio::select! {
            answer = namespaces.get("default") => answer,
            () = silent => unreachable!("accepts for ever"),
        };
        assert!(answer.is_err());
        assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    }
}
