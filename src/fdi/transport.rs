//! One HTTP exchange, bounded in bytes and time; each way to fail has its message.

use std::error::Error;

use http::HeaderMap;
use jiff::Timestamp;

use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::http_clients::HttpClient;
use crate::fdi::json::mend;
use crate::fdi::resolver::PrivateAddress;
use crate::fdi::text;
use crate::fdi::tls_error::tls_failure;

/// Most bytes of a successful response. A page of 999 tasks with all fields at their longest has
/// 1.5 MB.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of an error response that are read; more is not needed to report it.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// What follows where no response came.
const RETRIED: &str = "The operator tries again; if this lasts, check the state of the service.";
/// What follows where there is no connection.
const NETWORK: &str = "The operator tries again; if this lasts, check NetworkPolicy, firewall and proxy.";

/// A whole response.
#[derive(Debug, Default)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub received: Timestamp,
}

/// Sends `request` and reads the response.
///
/// # Errors
/// Class `Unavailable` when no whole response came, `Config` when TLS failed.
pub async fn exchange(client: &HttpClient, request: reqwest::Request) -> Result<HttpResponse, CallError> {
    let host = request.url().authority().to_owned();
    let failed = |error: &reqwest::Error| failure(error, &host, client.take_certificate_request());
    // Of an earlier request.
    client.take_certificate_request();
    let mut response = client.client.execute(request).await.map_err(|error| failed(&error))?;
    let success = response.status().is_success();
    let max = if success { BODY_MAX } else { ERROR_BODY_MAX };
    let too_large = || {
        let message = format!("The response of {host} is larger than {} MiB and was not read.", BODY_MAX / 1024 / 1024);
        CallError::unavailable("ResponseTooLarge", &message)
    };
    if success && response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(max));
    let mut turn = client.turns.turn();
    loop {
        match turn.read(expected.max(body.len()), response.chunk()).await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= max => body.extend_from_slice(&chunk),
            Ok(Some(_)) if success => return Err(too_large()),
            // The status of an error says enough, even if its body ends early or never.
            Ok(None | Some(_)) => break,
            Err(_) if !success => break,
            Err(error) => return Err(failed(&error)),
        }
    }
    mend(&mut body);
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    Ok(HttpResponse { status, headers, body, received: Timestamp::now() })
}

/// Why no response came. Never in reqwest's own words, which may contain URLs and debug output.
fn failure(error: &reqwest::Error, host: &str, certificate_requested: bool) -> CallError {
    if let Some(failure) = tls_failure(error, host, certificate_requested) {
        return failure;
    }
    if let Some(private) = private_address(error) {
        let message = format!(
            "{private}, so nothing was sent. If that is right, allow it: start the operator with --allowed-endpoints=https://{host}."
        );
        return CallError::new(Class::Config, Cause::EndpointNotAllowed, "PrivateAddress", &message);
    }
    let reason = innermost(error).map(|reason| format!(": {reason}")).unwrap_or_default();
    if error.is_timeout() && error.is_connect() {
        CallError::unavailable("ConnectTimeout", &format!("{host} did not accept a connection in time. {NETWORK}"))
    } else if error.is_timeout() {
        CallError::unavailable("Timeout", &format!("{host} did not answer in time. {RETRIED}"))
    } else if error.is_connect() {
        CallError::unavailable("ConnectFailed", &format!("Could not connect to {host}{reason}. {NETWORK}"))
    } else {
        CallError::unavailable(
            "ConnectionLost",
            &format!("The connection to {host} was lost before the whole response had arrived. {RETRIED}"),
        )
    }
}

fn private_address(error: &reqwest::Error) -> Option<&PrivateAddress> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// The operating system's words: the last error of the chain.
fn innermost(error: &reqwest::Error) -> Option<String> {
    let mut reason: &dyn Error = error.source()?;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let text = text::single_line(&reason.to_string(), 200);
    (!text.is_empty()).then_some(text)
}
