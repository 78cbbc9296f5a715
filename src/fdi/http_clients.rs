//! HTTP clients: the system's roots and an instance's `caBundle`, TLS 1.2 or later, no redirects.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::tls::Version;
use reqwest::{Certificate, Client, redirect};
use ring::digest::{SHA256, digest};
use rustls::CertificateError;

use crate::fdi::error::{CallError, Cause, Class};

/// Most clients with a bundle of their own that are kept for reuse.
const CLIENTS_MAX: usize = 64;

/// Gateways close idle connections after about a minute. The client closes them first: a call on a
/// connection that is being closed is a call whose outcome nobody knows.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// How clients are built.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub user_agent: String,
}

/// The clients of the process: one for all instances without a `caBundle`, one for each bundle.
pub struct Clients {
    settings: ClientSettings,
    made: Mutex<VecDeque<(Bundle, Client)>>,
}

/// Which roots beside the system's: none, or those of the bundle with this SHA-256.
type Bundle = Option<[u8; 32]>;

impl Clients {
    pub fn new(settings: ClientSettings) -> Self {
        Self { settings, made: Mutex::new(VecDeque::new()) }
    }

    /// The client for `ca_bundle`.
    ///
    /// # Errors
    /// `TlsFailed` when `ca_bundle` is not PEM certificates, or the system has no roots.
    pub fn client(&self, ca_bundle: Option<&str>) -> Result<Client, CallError> {
        let key = ca_bundle.map(sha256);
        let mut made = self.made.lock();
        if let Some((_, client)) = made.iter().find(|(bundle, _)| *bundle == key) {
            return Ok(client.clone());
        }
        let client = self.make(ca_bundle)?;
        if made.len() > CLIENTS_MAX {
            // The shared client stays, however old it is.
            if let Some(oldest) = made.iter().position(|(bundle, _)| bundle.is_some()) {
                made.remove(oldest);
            }
        }
        made.push_back((key, client.clone()));
        Ok(client)
    }

    fn make(&self, ca_bundle: Option<&str>) -> Result<Client, CallError> {
        let roots = ca_bundle.map(certificates).transpose()?;
        let mut builder = Client::builder()
            .tls_version_min(Version::TLS_1_2)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .timeout(self.settings.request_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(&self.settings.user_agent);
        if let Some(roots) = roots {
            builder = builder.tls_certs_merge(roots);
        }
        builder.build().map_err(|_| {
            failed(
                "BadTrust",
                match ca_bundle {
                    Some(_) => "A certificate of caBundle cannot be used as a root. Put the PEM certificate of the authority there.",
                    None => "The operator's system has no usable root certificates. Install ca-certificates, or set caBundle.",
                },
            )
        })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn certificates(ca_bundle: &str) -> Result<Vec<Certificate>, CallError> {
    match Certificate::from_pem_bundle(ca_bundle.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(failed(
            "BadCaBundle",
            "caBundle is not PEM: it must hold one or more blocks of BEGIN CERTIFICATE … END CERTIFICATE.",
        )),
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn failed(code: &str, message: &str) -> CallError {
    CallError::new(Class::Config, Cause::TlsFailed, code, message)
}

/// The error for a failed TLS handshake; `None` when TLS is not the cause.
pub fn tls_failure(error: &reqwest::Error, host: &str) -> Option<CallError> {
    if !error.is_connect() {
        return None;
    }
    let (code, message) = match rustls_error(error)? {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "CertificateExpired",
                format!("The certificate of {host} has expired. Have it renewed, and check the clock of the node."),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "CertificateNotValidYet",
                format!("The certificate of {host} is not valid yet. Check the clock of the node."),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                "CertificateForAnotherName",
                format!("The certificate of {host} is for another name. Check the endpoint's host name."),
            ),
            // An authority that was recreated under its old name leads to a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                "CertificateNotTrusted",
                format!(
                    "The certificate of {host} is signed by an authority that is not trusted. Put the authority's certificate into caBundle."
                ),
            ),
            CertificateError::Revoked => ("CertificateRevoked", format!("The certificate of {host} has been revoked.")),
            _ => ("CertificateNotValid", format!("The certificate of {host} is not valid.")),
        },
        rustls::Error::InvalidMessage(_) => {
            ("NotTls", format!("{host} does not speak TLS there. Check scheme and port of the endpoint."))
        }
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => (
            "HandshakeRefused",
            format!("{host} and the operator have no TLS version or cipher in common; TLS 1.2 or later is needed."),
        ),
        _ => ("HandshakeFailed", format!("The TLS handshake with {host} failed.")),
    };
    Some(failed(code, &message))
}

/// Finds rustls' own error, which an `io::Error` wraps without naming it as its source.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match inner {
        Some(inner) => rustls_error(inner),
        None => rustls_error(error.source()?),
    }
}

#[cfg(test)]
mod tests;
