//! Why a command failed, and how commands end.
//!
//! Exit codes: 0 done, or all is well; 1 an error, also in the arguments; 2 the answer is no: not
//! all is well.

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use kube::core::Status;

use super::program::typed;
use crate::k8s::error::{describe, describe_status};

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Well,
    /// Exit code 2: the answer is no.
    NotWell,
    /// Exit code 1: what failed is reported already.
    Failed,
}

/// Why a command did not do its work. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(
        "no cluster to connect to: {0}; check --kubeconfig, --context and the variable KUBECONFIG \
         ('kubectl config view' shows what kubectl uses)"
    )]
    Kubeconfig(String),
    #[error(
        "cannot {what}: the API server did not answer ({cause}); check the address in the kubeconfig, and the network"
    )]
    Unreachable { what: String, cause: String },
    #[error("cannot {what}: the API server does not know who you are ({cause}); sign in to the cluster again")]
    Unauthenticated { what: String, cause: String },
    #[error("cannot {what}: {cause}; ask for a Role with this verb ('{program} check' shows what you may do)", program = typed())]
    Forbidden { what: String, cause: String },
    #[error(
        "cannot {what}: the cluster does not know the kind; install the CRDs with '{program} crds | kubectl apply \
         --server-side -f -'", program = typed()
    )]
    NoSuchKind { what: String },
    #[error("cannot {what}: {cause}")]
    Refused { what: String, cause: String },
    #[error(
        "namespace \"{namespace}\" has no {kind} \"{name}\": 'kubectl get {plural} -n {namespace}' shows those that exist"
    )]
    NotFound { kind: String, name: String, namespace: String, plural: String },
    #[error("{0}")]
    Usage(String),
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    #[error("{0}")]
    Fdi(Box<dyn std::error::Error + Send + Sync>),
}

impl CommandError {
    /// A request to the API server that failed; `what` completes "cannot …".
    pub fn request(what: &str, error: kube::Error) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => Self::status(what, &status),
            error => Self::Unreachable { what, cause: describe(&error) },
        }
    }

    fn status(what: String, status: &Status) -> Self {
        let cause = describe_status(status);
        match status.code {
            401 => Self::Unauthenticated { what, cause },
            403 => Self::Forbidden { what, cause },
            // A path that the API server does not serve has no object in its response.
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => Self::NoSuchKind { what },
            _ => Self::Refused { what, cause },
        }
    }

    pub fn not_found(kind: &str, name: &str, namespace: &str, plural: &str) -> Self {
        let [kind, name, namespace, plural] = [kind, name, namespace, plural].map(str::to_owned);
        Self::NotFound { kind, name, namespace, plural }
    }
}

/// Runs a command to its end.
pub fn run(command: impl Future<Output = Result<Outcome, CommandError>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::Start);
    match runtime.and_then(|runtime| runtime.block_on(command)) {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::NotWell) => ExitCode::from(2),
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// An error on standard error.
pub fn report(error: &dyn std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {error}");
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
