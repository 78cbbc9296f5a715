//! Errors of the Kubernetes client, in one line each.

use std::error::Error;
use std::iter::successors;

use kube::core::Status;

/// The error down to its cause: `ServiceError: client error (Connect)` alone does not say what is
/// wrong.
pub fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return describe_status(status);
    }
    let causes = successors(Some(error as &dyn Error), |error| (*error).source());
    // Many errors repeat their cause in their own text.
    causes.map(ToString::to_string).fold(String::new(), |text, cause| match (text.is_empty(), text.contains(&cause)) {
        (true, _) => cause,
        (false, true) => text,
        (false, false) => format!("{text}: {cause}"),
    })
}

/// What the API server responded, without the debug text that kube's errors carry along.
pub fn describe_status(status: &Status) -> String {
    format!("{} (HTTP {} {})", status.message, status.code, status.reason)
}
