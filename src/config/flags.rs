//! The flags of `fdi-operator run`, each with an environment variable, and how they become a
//! [`Config`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use jiff::SignedDuration;

use super::{Config, Namespaces, Shutdown};
use crate::crd::is_dns_name;
use crate::fdi::{Fdi, FdiConfig, is_dns_label};
use crate::k8s::leader_election;
use crate::reconcile::timings::Timings;
use crate::telemetry::{LogFormat, LogSettings};

/// The flags of `fdi-operator run`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Namespaces to watch, comma-separated or repeated; all if not set.
    ///
    /// Named namespaces need only a Role in each of them instead of a ClusterRole.
    #[arg(
        long = "namespaces",
        env = "FDI_OPERATOR_NAMESPACES",
        value_name = "NAME",
        value_delimiter = ',',
        action = ArgAction::Append
    )]
    namespaces: Vec<String>,

    /// Format of log lines.
    ///
    /// auto is human on a terminal and json elsewhere, because log collectors parse JSON.
    #[arg(long, env = "FDI_OPERATOR_LOG_FORMAT", value_enum, default_value_t = Format::Auto)]
    log_format: Format,

    /// Which log lines to write, as tracing directives, for example info,fdi_operator=debug.
    ///
    /// info has one line per call and per change of state. The lines with target audit, one for
    /// each call that starts or stops tasks, are written in any case, unless audit=off is set.
    /// Bodies of Kubernetes objects are never logged, whatever is set here.
    #[arg(long, env = "FDI_OPERATOR_LOG_FILTER", value_name = "DIRECTIVES", default_value = "info")]
    log_filter: String,

    /// Address of /livez, /readyz and, unless --metrics-address is set, /metrics.
    ///
    /// All interfaces, because the kubelet and Prometheus connect from outside the pod; nothing
    /// secret is served. [::] takes IPv4 connections too, and becomes 0.0.0.0 on a machine without
    /// IPv6.
    #[arg(long, env = "FDI_OPERATOR_LISTEN_ADDRESS", value_name = "ADDRESS", default_value = "[::]:8080")]
    listen_address: SocketAddr,

    /// Address of /metrics, if it is to differ from that of the probes.
    ///
    /// With 127.0.0.1:8081 only containers of the same pod can read the metrics, for instance a
    /// proxy that asks for authentication.
    #[arg(long, env = "FDI_OPERATOR_METRICS_ADDRESS", value_name = "ADDRESS")]
    metrics_address: Option<SocketAddr>,

    /// Whether replicas elect a leader with a Lease.
    ///
    /// On by default even for one replica: during a rollout two pods run, and two must never send
    /// calls at once.
    #[arg(
        long,
        env = "FDI_OPERATOR_LEADER_ELECTION",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    leader_election: bool,

    /// Name of the Lease.
    ///
    /// Two installations that watch the same namespaces must share it; others in one namespace need
    /// different ones.
    #[arg(long, env = "FDI_OPERATOR_LEASE_NAME", value_name = "NAME", default_value = "fdi-operator")]
    lease_name: String,

    /// Namespace of the Lease; the namespace the operator runs in if not set.
    #[arg(long, env = "FDI_OPERATOR_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,

    /// Identity of this process in the Lease; the host name (in a pod: the pod's name) if not set.
    ///
    /// A random suffix is always added: two processes must never mistake each other for themselves.
    #[arg(long, env = "FDI_OPERATOR_LEASE_IDENTITY", value_name = "NAME")]
    lease_identity: Option<String>,

    /// How long the Lease must go without a renewal before another candidate takes it over.
    ///
    /// 15 s is what Kubernetes' own controllers use: longer than a restart of the API server, short
    /// enough for people.
    #[arg(
        long,
        env = "FDI_OPERATOR_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = duration
    )]
    lease_duration: Duration,

    /// How long after its last successful renewal the leader stops calling and exits.
    ///
    /// In the time between this and --lease-duration calls in flight are dropped, before another
    /// process may send calls.
    #[arg(
        long,
        env = "FDI_OPERATOR_LEASE_RENEW_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration
    )]
    lease_renew_deadline: Duration,

    /// Pause between attempts to acquire or renew the Lease.
    ///
    /// 2 s gives a leader five attempts before its deadline, and bounds the take-over after a clean
    /// shutdown.
    #[arg(
        long,
        env = "FDI_OPERATOR_LEASE_RETRY_PERIOD",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = duration
    )]
    lease_retry_period: Duration,

    /// Hosts that credentials may be sent to beside Huawei Cloud's own, comma-separated or
    /// repeated: https://HOST[:PORT], * for one whole label.
    ///
    /// Whoever may write an FdiInstance chooses its endpoint; this list keeps credentials from
    /// being sent elsewhere. ROMA Connect and IAM of the public cloud are always allowed.
    #[arg(
        long = "allowed-endpoints",
        env = "FDI_OPERATOR_ALLOWED_ENDPOINTS",
        value_name = "PATTERN",
        value_delimiter = ',',
        action = ArgAction::Append
    )]
    allowed_endpoints: Vec<String>,

    /// Allow plain http:// in --allowed-endpoints, and the operator's own machine as an endpoint.
    ///
    /// Off by default: credentials and tokens would cross the network unencrypted. For simulators.
    #[arg(long, env = "FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS")]
    allow_insecure_endpoints: bool,

    /// How many instances of one namespace are reconciled at once.
    ///
    /// A reconcile spends most of its time waiting for the service, so with a low limit instances
    /// that hang delay others of their namespace, never those of another one. 1024 is above what a
    /// namespace has, and still bounds the memory.
    #[arg(long, env = "FDI_OPERATOR_MAX_CONCURRENT_RECONCILES", value_name = "COUNT", default_value = "1024")]
    max_concurrent_reconciles: NonZeroUsize,

    /// How many requests to the API server (status writes, Secret reads) are in flight at once,
    /// beside the watches.
    ///
    /// 16 write a thousand statuses in about a second, and are a small part of what one client may
    /// have in flight.
    #[arg(long, env = "FDI_OPERATOR_MAX_API_REQUESTS", value_name = "COUNT", default_value = "16")]
    max_api_requests: NonZeroUsize,

    /// How many threads the operator works with, whatever the number of cores of the node.
    ///
    /// 2, because the operator spends most of its time waiting, and one thread that decodes a long
    /// list must not delay the renewal of the Lease and the probes. Each further thread costs
    /// memory.
    #[arg(long, env = "FDI_OPERATOR_WORKER_THREADS", value_name = "COUNT", default_value = "2")]
    worker_threads: NonZeroUsize,

    /// How long one watch of the API server lasts; the next one resumes where it ended.
    ///
    /// A dead connection is noticed a sixth of this after its end was due, so 60 s bounds the time
    /// in which edits are not seen to 70 s. Each new watch costs two small requests per kind, and
    /// no full list.
    #[arg(
        long,
        env = "FDI_OPERATOR_WATCH_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = duration
    )]
    watch_timeout: Duration,

    /// How long calls in flight may still take after SIGTERM.
    ///
    /// 4 s covers nearly every call of the service. A call that is cut has an unknown outcome,
    /// which the next leader observes.
    #[arg(
        long,
        env = "FDI_OPERATOR_SHUTDOWN_DRAIN",
        value_name = "DURATION",
        default_value = "4s",
        value_parser = duration
    )]
    shutdown_drain: Duration,

    /// How long the whole shutdown may take, the release of the Lease included.
    ///
    /// Must be shorter than the pod's terminationGracePeriodSeconds, or the Lease is not released
    /// and the next leader starts 15 s later.
    #[arg(
        long,
        env = "FDI_OPERATOR_SHUTDOWN_TIMEOUT",
        value_name = "DURATION",
        default_value = "6s",
        value_parser = duration
    )]
    shutdown_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Auto,
    Human,
    Json,
}

/// A flag whose value cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct InvalidFlag {
    /// As it is typed, with the dashes.
    pub flag: &'static str,
    pub problem: String,
}

fn invalid(flag: &'static str, problem: impl Into<String>) -> InvalidFlag {
    InvalidFlag { flag, problem: problem.into() }
}

impl Flags {
    /// Checks everything that clap cannot.
    ///
    /// # Errors
    /// The first flag whose value cannot be used.
    pub fn validate(self) -> Result<Config, InvalidFlag> {
        let leader_election = self.leader_election.then(|| self.election_params()).transpose()?;
        if self.shutdown_drain >= self.shutdown_timeout {
            return Err(invalid(
                "--shutdown-drain",
                format!("must be shorter than --shutdown-timeout ({:?})", self.shutdown_timeout),
            ));
        }
        if self.watch_timeout.subsec_nanos() != 0 || !(1..=290).contains(&self.watch_timeout.as_secs()) {
            return Err(invalid("--watch-timeout", "must be whole seconds between 1s and 290s"));
        }
        let format = match self.log_format {
            Format::Auto => LogFormat::detect(),
            Format::Human => LogFormat::Human,
            Format::Json => LogFormat::Json,
        };
        let filter = self.log_filter.parse().map_err(|error| invalid("--log-filter", format!("{error}")))?;
        Ok(Config {
            namespaces: namespaces(&self.namespaces)?,
            log: LogSettings { format, filter },
            listen_address: self.listen_address,
            metrics_address: self.metrics_address,
            leader_election,
            fdi: fdi(&self.allowed_endpoints, self.allow_insecure_endpoints)?,
            max_concurrent_reconciles: self.max_concurrent_reconciles.get(),
            max_api_requests: self.max_api_requests.get(),
            worker_threads: self.worker_threads.get(),
            watch_timeout: self.watch_timeout,
            shutdown: Shutdown { drain: self.shutdown_drain, timeout: self.shutdown_timeout },
            timings: Timings::default(),
        })
    }

    fn election_params(&self) -> Result<leader_election::Params, InvalidFlag> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let host = || given(&std::env::var("HOSTNAME").ok());
        let identity = given(&self.lease_identity).or_else(host).unwrap_or_else(|| "fdi-operator".to_owned());
        let namespace = given(&self.lease_namespace);
        if !is_dns_name(&self.lease_name) {
            return Err(invalid("--lease-name", "must be a lower-case DNS name of at most 253 characters"));
        }
        if namespace.as_deref().is_some_and(|name| !is_dns_label(name)) {
            return Err(invalid("--lease-namespace", "must be the name of a namespace"));
        }
        if identity.len() > 253 {
            return Err(invalid("--lease-identity", "must have at most 253 characters"));
        }
        self.validate_lease_times()?;
        Ok(leader_election::Params {
            name: self.lease_name.clone(),
            namespace,
            identity: format!("{identity}_{:016x}", rand::random::<u64>()),
            lease_duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline,
            retry_period: self.lease_retry_period,
        })
    }

    fn validate_lease_times(&self) -> Result<(), InvalidFlag> {
        if self.lease_duration.subsec_nanos() != 0 || !(1..=3600).contains(&self.lease_duration.as_secs()) {
            return Err(invalid(
                "--lease-duration",
                "must be whole seconds between 1s and 1h: the Lease stores seconds",
            ));
        }
        if self.lease_renew_deadline >= self.lease_duration {
            let problem = format!(
                "must be shorter than --lease-duration ({:?}), or two leaders could send calls at once",
                self.lease_duration
            );
            return Err(invalid("--lease-renew-deadline", problem));
        }
        // Jitter stretches the period by up to a quarter; with less than two attempts one lost
        // response would end the leadership.
        if self.lease_retry_period.is_zero() || self.lease_retry_period * 5 / 2 > self.lease_renew_deadline {
            let problem = format!(
                "must be above 0 and at most two fifths of --lease-renew-deadline ({:?})",
                self.lease_renew_deadline
            );
            return Err(invalid("--lease-retry-period", problem));
        }
        Ok(())
    }
}

/// The items of a comma-separated list without the blanks around them. An empty list is one that is
/// not set: templates give those.
pub fn list_items(items: &[String]) -> Vec<&str> {
    items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect()
}

fn namespaces(names: &[String]) -> Result<Namespaces, InvalidFlag> {
    let names = list_items(names);
    if let Some(name) = names.iter().find(|name| !is_dns_label(name)) {
        return Err(invalid("--namespaces", format!("'{name}' cannot be the name of a namespace")));
    }
    Ok(if names.is_empty() {
        Namespaces::All
    } else {
        Namespaces::Named(names.into_iter().map(str::to_owned).collect())
    })
}

fn fdi(allowed_endpoints: &[String], allow_insecure: bool) -> Result<FdiConfig, InvalidFlag> {
    let allowed_endpoints = list_items(allowed_endpoints).into_iter().map(str::to_owned).collect();
    let config = FdiConfig { allowed_endpoints, allow_insecure, ..FdiConfig::default() };
    Fdi::new(config.clone()).map_err(|error| invalid("--allowed-endpoints", error.to_string()))?;
    Ok(config)
}

/// Reads a time as flags spell it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|_| "must be a time such as 15s, 500ms or 1m30s".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn parsed(flags: &[&str]) -> Result<Config, InvalidFlag> {
        Cli::try_parse_from(["test"].iter().chain(flags)).unwrap().flags.validate()
    }

    #[test]
    fn without_flags_the_values_are_those_of_the_design() {
        let config = parsed(&[]).unwrap();
        let election = config.leader_election.clone().unwrap();
        assert_eq!(
            [election.lease_duration, election.renew_deadline, election.retry_period].map(|d| d.as_secs()),
            [15, 10, 2]
        );
        let plain = Config { leader_election: None, log: config.log.clone(), ..Config::default() };
        assert_eq!(format!("{:?}", Config { leader_election: None, ..config }), format!("{plain:?}"));
    }

    #[test]
    fn every_flag_has_its_environment_variable_and_a_help_text() {
        let command = <Cli as clap::CommandFactory>::command();
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            let flag = arg.get_long().unwrap();
            let variable = format!("FDI_OPERATOR_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), variable);
            assert!(arg.get_help().is_some(), "--{flag}");
        }
    }

    #[test]
    fn two_processes_never_share_an_identity_even_when_given_the_same_name() {
        let identity = || parsed(&["--lease-identity", "me"]).unwrap().leader_election.unwrap().identity;
        let (first, second) = (identity(), identity());
        assert!(first.starts_with("me_") && second.starts_with("me_"));
        assert_ne!(first, second);
    }

    #[test]
    fn an_unusable_value_is_rejected_and_the_flag_named() {
        for (flags, named) in [
            (vec!["--lease-renew-deadline=15s"], "--lease-renew-deadline"),
            (vec!["--lease-duration=10s"], "--lease-renew-deadline"),
            (vec!["--lease-duration=15500ms"], "--lease-duration"),
            (vec!["--lease-retry-period=5s"], "--lease-retry-period"),
            (vec!["--lease-retry-period=0s"], "--lease-retry-period"),
            (vec!["--lease-name=Not_A_Name"], "--lease-name"),
            (vec!["--lease-namespace=a.b"], "--lease-namespace"),
            (vec!["--namespaces=good,Bad"], "--namespaces"),
            (vec!["--namespaces=a b"], "--namespaces"),
            (vec!["--allowed-endpoints=roma.example"], "--allowed-endpoints"),
            (vec!["--allowed-endpoints=http://roma.example"], "--allowed-endpoints"),
            (vec!["--shutdown-drain=6s"], "--shutdown-drain"),
            (vec!["--watch-timeout=1500ms"], "--watch-timeout"),
            (vec!["--watch-timeout=5m"], "--watch-timeout"),
            (vec!["--log-filter=no=level"], "--log-filter"),
        ] {
            let error = parsed(&flags).unwrap_err();
            assert_eq!(error.flag, named, "{flags:?}: {error}");
        }
    }

    #[test]
    fn namespaces_may_be_repeated_or_comma_separated() {
        let config = parsed(&["--namespaces=b,a", "--namespaces", "c"]).unwrap();
        assert_eq!(config.namespaces, Namespaces::Named(["a", "b", "c"].map(str::to_owned).into()));
    }

    #[test]
    fn blanks_in_lists_do_not_count_and_an_empty_list_is_one_that_is_not_set() {
        for empty in ["--namespaces=", "--namespaces= ", "--namespaces=,"] {
            assert_eq!(parsed(&[empty]).unwrap().namespaces, Namespaces::All, "{empty}");
        }
        let named = parsed(&["--namespaces= a, b,", "--allowed-endpoints=, https://roma.example ,"]).unwrap();
        assert_eq!(named.namespaces, Namespaces::Named(["a", "b"].map(str::to_owned).into()));
        assert_eq!(named.fdi.allowed_endpoints, ["https://roma.example"]);
        let election = parsed(&["--lease-namespace=", "--lease-identity="]).unwrap().leader_election.unwrap();
        assert!(election.namespace.is_none() && election.identity.len() > 17);
    }

    #[test]
    fn an_unencrypted_endpoint_needs_its_own_flag() {
        let flag = "--allowed-endpoints=http://roma.example:8080";
        assert!(parsed(&[flag]).is_err());
        assert!(parsed(&[flag, "--allow-insecure-endpoints"]).is_ok());
    }
}
