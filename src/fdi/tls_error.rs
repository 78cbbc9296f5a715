//! Why a TLS handshake failed, in words that say what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::fdi::error::{CallError, Cause, Class};

/// The error for a failed TLS handshake with `host`; `None` when TLS is not the cause.
/// `certificate_requested`: a server asked this client for a certificate.
pub fn tls_failure(error: &reqwest::Error, host: &str, certificate_requested: bool) -> Option<CallError> {
    let error = match rustls_error(error)? {
        // In TLS 1.3 the server demands it after the handshake, before it reads the request.
        alert @ rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => alert,
        other if error.is_connect() => other,
        _ => return None,
    };
    let (code, message) = match error {
        rustls::Error::InvalidCertificate(reason) => invalid_certificate(reason, host),
        rustls::Error::AlertReceived(alert) => alert_received(*alert, host, certificate_requested),
        rustls::Error::InvalidMessage(_) => {
            ("NotTls", format!("{host} does not speak TLS there. Check scheme and port of the endpoint."))
        }
        rustls::Error::PeerIncompatible(_) => no_common_version(host),
        _ => (
            "HandshakeFailed",
            format!("The TLS handshake with {host} failed. Check the endpoint and any proxy before it."),
        ),
    };
    Some(CallError::new(Class::Config, Cause::TlsFailed, code, &message))
}

pub(super) fn invalid_certificate(reason: &CertificateError, host: &str) -> (&'static str, String) {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "CertificateExpired",
            format!("The certificate of {host} has expired. Have it renewed, and check the clock of the node."),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "CertificateNotValidYet",
            format!("The certificate of {host} is not valid yet. Check the clock of the node."),
        ),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            "CertificateWithoutName",
            format!(
                "The certificate of {host} has no subjectAltName, and its common name does not count. \
                 Have it reissued with the host name as subjectAltName."
            ),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "CertificateForAnotherName",
            format!("The certificate of {host} is for another name. Check the endpoint's host name."),
        ),
        // An authority that was recreated under its old name leads to a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "CertificateNotTrusted",
            format!(
                "The certificate of {host} is signed by an authority that is not trusted. \
                 Put the authority's certificate into caBundle."
            ),
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            "CertificateForAnotherPurpose",
            format!(
                "The certificate of {host} is not for servers: its extended key usage lacks serverAuth. \
                 Have it reissued with it."
            ),
        ),
        CertificateError::Revoked => {
            ("CertificateRevoked", format!("The certificate of {host} has been revoked. Have a new one issued."))
        }
        CertificateError::Other(other) if is_authority(&*other.0) => (
            "CertificateOfAnAuthority",
            format!(
                "{host} uses the certificate of an authority (CA:TRUE), which is not for servers. \
                 Have the authority issue a certificate for the server, and put only the authority's into caBundle."
            ),
        ),
        _ => ("CertificateNotValid", format!("The certificate of {host} is not valid. Have a new one issued.")),
    }
}

fn is_authority(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn alert_received(alert: AlertDescription, host: &str, certificate_requested: bool) -> (&'static str, String) {
    use AlertDescription as Alert;
    match alert {
        Alert::UnrecognisedName => (
            "HostNameUnknown",
            format!("{host} does not serve this host name (alert unrecognized_name). Check the endpoint's host name."),
        ),
        Alert::CertificateRequired => client_certificate(host),
        // What servers answer with TLS 1.2.
        Alert::BadCertificate | Alert::HandshakeFailure | Alert::CertificateUnknown | Alert::AccessDenied
            if certificate_requested =>
        {
            client_certificate(host)
        }
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => no_common_version(host),
        _ => (
            "HandshakeRefused",
            format!(
                "{host} ended the TLS handshake with the alert {alert:?}. Check the endpoint and any proxy before it."
            ),
        ),
    }
}

fn client_certificate(host: &str) -> (&'static str, String) {
    let message = format!(
        "{host} demands a client certificate, which the operator does not have. Use an endpoint that does not."
    );
    ("ClientCertificateDemanded", message)
}

fn no_common_version(host: &str) -> (&'static str, String) {
    let message =
        format!("{host} and the operator have no TLS version or cipher in common; TLS 1.2 or later is needed.");
    ("HandshakeRefused", message)
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
