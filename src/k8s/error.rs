//! Errors of the Kubernetes client, in one line each.

use std::error::Error;
use std::iter::successors;

use kube::core::Status;

use crate::fdi::text::single_line;

/// Longest message of a response.
const MESSAGE_MAX: usize = 1024;

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

/// What the API server responded, without the debug text that kube's errors carry along. A proxy in
/// front of it may respond with a page of HTML.
pub fn describe_status(status: &Status) -> String {
    let message = single_line(&status.message, MESSAGE_MAX);
    // kube puts a sentence of its own here where the response is not the API server's.
    match status.reason.split_whitespace().count() {
        1 => format!("{message} (HTTP {} {})", status.code, status.reason),
        _ => format!("{message} (HTTP {})", status.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_is_not_the_api_servers_is_one_line_without_the_words_of_kube() {
        let page = format!("<html>\n<body>502 Bad Gateway{}</body>", " ".repeat(20_000));
        let status = Status::failure(&page, "Failed to parse error data").with_code(502);
        assert_eq!(describe_status(&status), "<html> <body>502 Bad Gateway </body> (HTTP 502)");
        let status = Status::failure("secrets \"a\" not found", "NotFound").with_code(404);
        assert_eq!(describe_status(&status), "secrets \"a\" not found (HTTP 404 NotFound)");
    }
}
