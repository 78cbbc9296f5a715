//! The operator's configuration: flags, each with an environment twin, checked once and then a plain value.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use jiff::SignedDuration;

use crate::fdi::{Fdi, FdiConfig};
use crate::telemetry::{LogFormat, LogSettings};
use crate::reconcile::timings::Timings;

/// The flags of `fdi-operator run`. Their comments are the help texts, so they are plain text.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Namespaces to watch, comma-separated or repeated; all when not given.
    ///
    /// Named namespaces need only a Role in each of them instead of a ClusterRole.
    #[arg(long = "namespaces", env = "FDI_OPERATOR_NAMESPACES", value_name = "NAME", value_delimiter = ',', action = ArgAction::Append)]
    namespaces: Vec<String>,

    /// How log lines are written.
    ///
    /// auto writes for people on a terminal and JSON elsewhere, because log collectors parse JSON and people do not.
    #[arg(long, env = "FDI_OPERATOR_LOG_FORMAT", value_enum, default_value_t = Format::Auto)]
    log_format: Format,

    /// Which log lines are written, as tracing directives, for example info,fdi_operator=debug.
    ///
    /// info has one line per call and per change of state. Bodies of Kubernetes objects are never logged, whatever is set here.
    #[arg(long, env = "FDI_OPERATOR_LOG_FILTER", value_name = "DIRECTIVES", default_value = "info")]
    log_filter: String,

    /// Address of /livez, /readyz and /metrics.
    ///
    /// All interfaces, because the kubelet and Prometheus come from outside the pod; nothing secret is served.
    #[arg(long, env = "FDI_OPERATOR_LISTEN_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen_address: SocketAddr,

    /// Whether replicas elect a leader with a Lease.
    ///
    /// On by default even for one replica: during a rollout two pods run, and two callers must never be active at once.
    #[arg(long, env = "FDI_OPERATOR_LEADER_ELECTION", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    leader_election: bool,

    /// Name of the Lease.
    ///
    /// Two installations that watch the same namespaces must share it; others in one namespace need different ones.
    #[arg(long, env = "FDI_OPERATOR_LEASE_NAME", value_name = "NAME", default_value = "fdi-operator")]
    lease_name: String,

    /// Namespace of the Lease; the namespace the operator runs in when not given.
    #[arg(long, env = "FDI_OPERATOR_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,

    /// What the Lease calls this process; the host name (in a pod: the pod's name) when not given.
    ///
    /// A random suffix is always added: two processes must never take each other for themselves.
    #[arg(long, env = "FDI_OPERATOR_LEASE_IDENTITY", value_name = "NAME")]
    lease_identity: Option<String>,

    /// How long others wait for a silent leader before one of them takes over.
    ///
    /// 15 s is what Kubernetes' own controllers use: longer than a restart of the API server, short enough for people.
    #[arg(long, env = "FDI_OPERATOR_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    lease_duration: Duration,

    /// How long after the last successful renewal the leader stops calling and ends.
    ///
    /// The difference to --lease-duration is the margin in which calls in flight are dropped before another process may call.
    #[arg(long, env = "FDI_OPERATOR_LEASE_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    lease_renew_deadline: Duration,

    /// Pause between attempts to take or renew the Lease.
    ///
    /// 2 s gives a leader five attempts before its deadline and bounds the take-over after a clean end.
    #[arg(long, env = "FDI_OPERATOR_LEASE_RETRY_PERIOD", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    lease_retry_period: Duration,

    /// Hosts that credentials may be sent to beside Huawei Cloud's own, comma-separated or repeated: https://HOST[:PORT], * for one whole label.
    ///
    /// Whoever may write an FdiInstance chooses its endpoint; this list keeps credentials from being sent elsewhere. ROMA Connect
    /// and IAM of the public cloud are always allowed.
    #[arg(long = "allowed-endpoints", env = "FDI_OPERATOR_ALLOWED_ENDPOINTS", value_name = "PATTERN", value_delimiter = ',', action = ArgAction::Append)]
    allowed_endpoints: Vec<String>,

    /// Allow plain http:// in --allowed-endpoints, and the operator's own machine as an endpoint.
    ///
    /// Off by default: credentials and tokens would cross the network unencrypted. For simulators.
    #[arg(long, env = "FDI_OPERATOR_ALLOW_INSECURE_ENDPOINTS")]
    allow_insecure_endpoints: bool,

    /// How many instances are worked on at once.
    ///
    /// A pass mostly waits for the service and has its place until it ends, so a lower limit lets instances that hang hold up
    /// the others; 1024 is above what an installation has, and bounds the memory all the same.
    #[arg(long, env = "FDI_OPERATOR_MAX_CONCURRENT_PASSES", value_name = "COUNT", default_value = "1024")]
    max_concurrent_passes: NonZeroUsize,

    /// How many requests to the API server (statuses written, Secrets read) are in flight at once, beside the watches.
    ///
    /// 16 write a thousand statuses in about a second and stay a small part of what one client may do at once.
    #[arg(long, env = "FDI_OPERATOR_MAX_API_REQUESTS", value_name = "COUNT", default_value = "16")]
    max_api_requests: NonZeroUsize,

    /// How long one watch of the API server lasts; the next goes on where it was.
    ///
    /// A connection that died without a word is noticed a sixth of this after its end was due, so 60 s bounds the time in which
    /// edits are not seen to 70 s. It costs a request per kind each time, and no list.
    #[arg(long, env = "FDI_OPERATOR_WATCH_LENGTH", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    watch_length: Duration,

    /// How long calls in flight may still take after SIGTERM.
    ///
    /// 4 s covers nearly every call of the service; a call that is cut has an unknown outcome and is looked after by the successor.
    #[arg(long, env = "FDI_OPERATOR_SHUTDOWN_DRAIN", value_name = "DURATION", default_value = "4s", value_parser = duration)]
    shutdown_drain: Duration,

    /// How long the whole end may take, the release of the Lease included.
    ///
    /// Must stay below the pod's terminationGracePeriodSeconds, or the Lease is not released and the successor waits 15 s.
    #[arg(long, env = "FDI_OPERATOR_SHUTDOWN_LIMIT", value_name = "DURATION", default_value = "6s", value_parser = duration)]
    shutdown_limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Auto,
    Human,
    Json,
}

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub namespaces: Namespaces,
    pub log: LogSettings,
    pub listen_address: SocketAddr,
    /// `None`: no election, this process is always the leader.
    pub election: Option<Election>,
    /// What all instances share of the FDI client; where it may go is settled.
    pub fdi: Fdi,
    pub max_concurrent_passes: usize,
    pub max_api_requests: usize,
    pub watch_length: Duration,
    pub shutdown: Shutdown,
    pub timings: Timings,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    All,
    Named(BTreeSet<String>),
}

impl std::fmt::Display for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

/// The Lease and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    pub name: String,
    /// `None`: the namespace of the Kubernetes client's configuration, in a pod the pod's.
    pub namespace: Option<String>,
    /// Unique for each process.
    pub identity: String,
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// What calls in flight get.
    pub drain: Duration,
    /// What everything together gets.
    pub limit: Duration,
}

/// A flag that makes no sense, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct Nonsense {
    /// As it is typed, with the dashes.
    pub flag: &'static str,
    pub problem: String,
}

fn nonsense(flag: &'static str, problem: impl Into<String>) -> Nonsense {
    Nonsense { flag, problem: problem.into() }
}

impl Flags {
    /// Checks everything that clap cannot.
    ///
    /// # Errors
    /// The first flag that makes no sense.
    pub fn check(self) -> Result<Config, Nonsense> {
        let election = self.leader_election.then(|| self.election()).transpose()?;
        if self.shutdown_drain >= self.shutdown_limit {
            return Err(nonsense(
                "--shutdown-drain",
                format!("must be shorter than --shutdown-limit ({:?})", self.shutdown_limit),
            ));
        }
        if self.watch_length.subsec_nanos() != 0 || !(1..=290).contains(&self.watch_length.as_secs()) {
            return Err(nonsense("--watch-length", "must be whole seconds between 1s and 290s"));
        }
        Ok(Config {
            namespaces: namespaces(&self.namespaces)?,
            log: LogSettings {
                format: match self.log_format {
                    Format::Auto => LogFormat::detect(),
                    Format::Human => LogFormat::Human,
                    Format::Json => LogFormat::Json,
                },
                filter: self.log_filter.parse().map_err(|error| nonsense("--log-filter", format!("{error}")))?,
            },
            listen_address: self.listen_address,
            election,
            fdi: fdi(self.allowed_endpoints, self.allow_insecure_endpoints)?,
            max_concurrent_passes: self.max_concurrent_passes.get(),
            max_api_requests: self.max_api_requests.get(),
            watch_length: self.watch_length,
            shutdown: Shutdown { drain: self.shutdown_drain, limit: self.shutdown_limit },
            timings: Timings::default(),
        })
    }

    fn election(&self) -> Result<Election, Nonsense> {
        let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        let who = self.lease_identity.clone().or_else(host).unwrap_or_else(|| "fdi-operator".to_owned());
        if !self.lease_name.split('.').all(is_label) || self.lease_name.len() > 253 {
            return Err(nonsense("--lease-name", "must be a lower-case DNS name of at most 253 characters"));
        }
        if self.lease_namespace.as_deref().is_some_and(|name| !is_label(name)) {
            return Err(nonsense("--lease-namespace", "must be a namespace's name"));
        }
        if who.is_empty() || who.len() > 253 {
            return Err(nonsense("--lease-identity", "must have 1 to 253 characters"));
        }
        if self.lease_duration.subsec_nanos() != 0 || !(1..=3600).contains(&self.lease_duration.as_secs()) {
            return Err(nonsense(
                "--lease-duration",
                "must be whole seconds between 1s and 1h: the Lease stores seconds",
            ));
        }
        if self.lease_renew_deadline >= self.lease_duration {
            return Err(nonsense(
                "--lease-renew-deadline",
                format!(
                    "must be shorter than --lease-duration ({:?}), or two leaders could call at once",
                    self.lease_duration
                ),
            ));
        }
        // Jitter stretches the period by up to a quarter; with less than two attempts one lost answer would end the leader.
        if self.lease_retry_period.is_zero() || self.lease_retry_period * 5 / 2 > self.lease_renew_deadline {
            return Err(nonsense(
                "--lease-retry-period",
                format!(
                    "must be above 0 and at most two fifths of --lease-renew-deadline ({:?})",
                    self.lease_renew_deadline
                ),
            ));
        }
        Ok(Election {
            name: self.lease_name.clone(),
            namespace: self.lease_namespace.clone(),
            identity: format!("{who}_{:016x}", rand::random::<u64>()),
            lease_duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline,
            retry_period: self.lease_retry_period,
        })
    }
}

fn namespaces(names: &[String]) -> Result<Namespaces, Nonsense> {
    if let Some(bad) = names.iter().find(|name| !is_label(name)) {
        return Err(nonsense("--namespaces", format!("'{bad}' is no namespace's name")));
    }
    Ok(if names.is_empty() { Namespaces::All } else { Namespaces::Named(names.iter().cloned().collect()) })
}

fn fdi(allowed_endpoints: Vec<String>, allow_insecure: bool) -> Result<Fdi, Nonsense> {
    Fdi::new(FdiConfig { allowed_endpoints, allow_insecure, ..FdiConfig::default() })
        .map_err(|error| nonsense("--allowed-endpoints", error.to_string()))
}

/// A DNS label, as namespaces must be (RFC 1123).
fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| alphanumeric(&byte) || byte == b'-')
        && [text.as_bytes().first(), text.as_bytes().last()].into_iter().flatten().all(alphanumeric)
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|_| "must be a time such as 15s, 500ms or 1m30s".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn parsed(flags: &[&str]) -> Result<Config, Nonsense> {
        Cli::try_parse_from(["test"].iter().chain(flags)).unwrap().flags.check()
    }

    #[test]
    fn without_flags_the_figures_are_the_designs() {
        let config = parsed(&[]).unwrap();
        let election = config.election.unwrap();
        assert_eq!(config.namespaces, Namespaces::All);
        assert_eq!(config.listen_address.to_string(), "0.0.0.0:8080");
        assert_eq!(
            [election.lease_duration, election.renew_deadline, election.retry_period].map(|d| d.as_secs()),
            [15, 10, 2]
        );
        assert_eq!(config.shutdown, Shutdown { drain: Duration::from_secs(4), limit: Duration::from_secs(6) });
    }

    #[test]
    fn every_flag_has_its_environment_twin_and_a_reason_in_the_long_help() {
        let command = <Cli as clap::CommandFactory>::command();
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
            let flag = arg.get_long().unwrap();
            let twin = format!("FDI_OPERATOR_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), twin);
            assert!(arg.get_help().is_some(), "--{flag}");
        }
    }

    #[test]
    fn two_processes_never_share_an_identity_even_when_given_the_same_name() {
        let identity = || parsed(&["--lease-identity", "me"]).unwrap().election.unwrap().identity;
        let (first, second) = (identity(), identity());
        assert!(first.starts_with("me_") && second.starts_with("me_"));
        assert_ne!(first, second);
    }

    #[test]
    fn nonsense_is_refused_and_the_flag_named() {
        for (flags, named) in [
            (vec!["--lease-renew-deadline=15s"], "--lease-renew-deadline"),
            (vec!["--lease-duration=10s"], "--lease-renew-deadline"),
            (vec!["--lease-duration=15500ms"], "--lease-duration"),
            (vec!["--lease-retry-period=5s"], "--lease-retry-period"),
            (vec!["--lease-retry-period=0s"], "--lease-retry-period"),
            (vec!["--lease-name=Not_A_Name"], "--lease-name"),
            (vec!["--lease-namespace=a.b"], "--lease-namespace"),
            (vec!["--lease-identity="], "--lease-identity"),
            (vec!["--namespaces=good,Bad"], "--namespaces"),
            (vec!["--namespaces="], "--namespaces"),
            (vec!["--allowed-endpoints=roma.example"], "--allowed-endpoints"),
            (vec!["--allowed-endpoints=http://roma.example"], "--allowed-endpoints"),
            (vec!["--shutdown-drain=6s"], "--shutdown-drain"),
            (vec!["--watch-length=1500ms"], "--watch-length"),
            (vec!["--watch-length=5m"], "--watch-length"),
            (vec!["--log-filter=nonsense=nonsense"], "--log-filter"),
        ] {
            let error = parsed(&flags).unwrap_err();
            assert_eq!(error.flag, named, "{flags:?}: {error}");
        }
    }

    #[test]
    fn namespaces_come_repeated_or_comma_separated() {
        let config = parsed(&["--namespaces=b,a", "--namespaces", "c"]).unwrap();
        assert_eq!(config.namespaces, Namespaces::Named(["a", "b", "c"].map(str::to_owned).into()));
    }

    #[test]
    fn an_unencrypted_endpoint_needs_its_own_leave() {
        let flag = "--allowed-endpoints=http://roma.example:8080";
        assert!(parsed(&[flag]).is_err());
        assert!(parsed(&[flag, "--allow-insecure-endpoints"]).is_ok());
    }
}
