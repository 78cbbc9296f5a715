//! The operator's configuration: a plain value, which `flags` makes from the command line and the
//! environment.

pub mod flags;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::fdi::FdiConfig;
use crate::k8s::leader_election;
use crate::reconcile::timings::Timings;
use crate::telemetry::LogSettings;

/// What `fdi-operator run` is configured with. The default is that of the flags, without leader
/// election.
#[derive(Debug, Clone)]
pub struct Config {
    pub namespaces: Namespaces,
    pub log: LogSettings,
    pub listen_address: SocketAddr,
    /// `None`: metrics are served at `listen_address`.
    pub metrics_address: Option<SocketAddr>,
    /// `None`: no election, this process always leads.
    pub leader_election: Option<leader_election::Params>,
    pub fdi: FdiConfig,
    pub max_concurrent_reconciles: usize,
    pub max_api_requests: usize,
    pub worker_threads: usize,
    pub watch_timeout: Duration,
    pub shutdown: Shutdown,
    pub timings: Timings,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    All,
    Named(BTreeSet<String>),
}

/// How long the process may take to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// For calls in flight.
    pub drain: Duration,
    /// For everything together.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: Namespaces::All,
            log: LogSettings::default(),
            listen_address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)),
            metrics_address: None,
            leader_election: None,
            fdi: FdiConfig::default(),
            max_concurrent_reconciles: 1024,
            max_api_requests: 16,
            worker_threads: 2,
            watch_timeout: Duration::from_secs(60),
            shutdown: Shutdown { drain: Duration::from_secs(4), timeout: Duration::from_secs(6) },
            timings: Timings::default(),
        }
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}
