//! Which certificates are trusted: those of the system's authorities, and those of a `caBundle`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::time::Instant;

use crate::fdi::error::{CallError, Cause, Class};

/// The system's authorities are read again after this long, for they are rotated without a restart.
const RELOAD_AFTER: Duration = Duration::from_mins(1);

/// The authorities of the system, shared by all clients.
pub struct SystemRoots {
    load: Box<dyn Fn() -> Vec<CertificateDer<'static>> + Send + Sync>,
    loaded: Mutex<Option<(Instant, Arc<WebPkiServerVerifier>)>>,
}

impl SystemRoots {
    /// Those of the operating system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn native() -> Self {
        Self::new(|| rustls_native_certs::load_native_certs().certs)
    }

    pub fn new(load: impl Fn() -> Vec<CertificateDer<'static>> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load), loaded: Mutex::new(None) }
    }

    /// The verifier of the present authorities. `None` when there are none.
    pub fn verifier(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let mut loaded = self.loaded.lock();
        if loaded.as_ref().is_none_or(|(at, _)| at.elapsed() >= RELOAD_AFTER) {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates((self.load)());
            // Files that are just being replaced are read as none: then the former ones stay.
            if let Some(verifier) = verifier(roots).or_else(|| loaded.take().map(|(_, verifier)| verifier)) {
                *loaded = Some((Instant::now(), verifier));
            }
        }
        loaded.as_ref().map(|(_, verifier)| Arc::clone(verifier))
    }
}

impl std::fmt::Debug for SystemRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemRoots")
    }
}

fn verifier(roots: RootCertStore) -> Option<Arc<WebPkiServerVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()
}

/// Trusts the system's authorities and, for one client, those of its bundle.
#[derive(Debug)]
pub struct Trust {
    system: Arc<SystemRoots>,
    bundle: Option<Arc<WebPkiServerVerifier>>,
}

impl Trust {
    /// # Errors
    /// `TlsFailed` when `ca_bundle` is not PEM certificates, or when there are no authorities at
    /// all.
    pub fn new(system: Arc<SystemRoots>, ca_bundle: Option<&str>) -> Result<Self, CallError> {
        let bundle = ca_bundle.map(authorities).transpose()?.and_then(verifier);
        if bundle.is_none() && system.verifier().is_none() {
            return Err(failed(
                "BadTrust",
                "The operator's system has no usable root certificates. Install ca-certificates, or set caBundle.",
            ));
        }
        Ok(Self { system, bundle })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: Arc<WebPkiServerVerifier>| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let by_bundle = self.bundle.clone().map_or(Err(unknown.clone()), verify);
        let Err(error) = by_bundle else { return by_bundle };
        // Of two errors, the one of the verifier that knows the issuer says more.
        match self.system.verifier().map_or(Err(unknown.clone()), verify) {
            Err(by_system) if error != unknown || by_system == unknown => Err(error),
            by_system => by_system,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The authorities of `ca_bundle`. One block that cannot be used refuses the whole bundle: the one
/// that is needed may be just that.
fn authorities(ca_bundle: &str) -> Result<RootCertStore, CallError> {
    let mut roots = RootCertStore::empty();
    for (index, block) in blocks(ca_bundle)?.iter().enumerate() {
        let number = index + 1;
        let wrong = |code, how: String| Err(failed(code, &format!("Block {number} of caBundle {how}.")));
        match block.label {
            // The older name means the same.
            "CERTIFICATE" | "X509 CERTIFICATE" => {}
            "TRUSTED CERTIFICATE" => {
                let how = "is a TRUSTED CERTIFICATE of OpenSSL: convert it with openssl x509 -in FILE";
                return wrong("BadCaBundle", how.to_owned());
            }
            label => {
                let shown = crate::fdi::text::single_line(label, 40);
                return wrong("BadCaBundle", format!("is a \"{shown}\": only certificates belong there"));
            }
        }
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", block.base64);
        let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
            return wrong("BadCaBundle", "is damaged: its content is not Base64. Copy the certificate anew".to_owned());
        };
        if roots.add(certificate).is_err() {
            let how = "cannot be used as a root: put the PEM certificate of the authority there";
            return wrong("BadTrust", how.to_owned());
        }
    }
    Ok(roots)
}

/// One block of PEM.
struct Block<'a> {
    label: &'a str,
    base64: String,
}

/// Splits PEM into its blocks. Text between them is ignored, as OpenSSL does.
fn blocks(pem: &str) -> Result<Vec<Block<'_>>, CallError> {
    let (mut blocks, mut open): (Vec<Block<'_>>, Option<Block<'_>>) = (Vec::new(), None);
    let unclosed = |blocks: &[Block<'_>]| {
        failed("BadCaBundle", &format!("Block {} of caBundle is damaged: its END line is missing.", blocks.len() + 1))
    };
    for line in pem.trim_start_matches('\u{feff}').lines().map(str::trim) {
        let label = |prefix| line.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix("-----"));
        if let Some(label) = label("-----BEGIN ") {
            if open.replace(Block { label, base64: String::new() }).is_some() {
                return Err(unclosed(&blocks));
            }
        } else if let Some(label) = label("-----END ") {
            match open.take() {
                Some(block) if block.label == label => blocks.push(block),
                _ => {
                    let message = format!(
                        "Block {} of caBundle is damaged: its END line does not belong to a BEGIN line.",
                        blocks.len() + 1
                    );
                    return Err(failed("BadCaBundle", &message));
                }
            }
        } else if let Some(block) = &mut open {
            block.base64.push_str(line);
            block.base64.push('\n');
        }
    }
    match (open, blocks.is_empty()) {
        (Some(_), _) => Err(unclosed(&blocks)),
        (None, true) => Err(failed(
            "BadCaBundle",
            "caBundle is not PEM: it must hold one or more blocks of BEGIN CERTIFICATE … END CERTIFICATE.",
        )),
        (None, false) => Ok(blocks),
    }
}

fn failed(code: &str, message: &str) -> CallError {
    CallError::new(Class::Config, Cause::TlsFailed, code, message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn pem() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn refused(bundle: &str) -> (String, String) {
        let error = authorities(bundle).unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn every_certificate_of_a_bundle_counts_whatever_stands_around_it() {
        let (a, b) = (pem(), pem());
        let old_label = b.replace("CERTIFICATE", "X509 CERTIFICATE");
        let bundle = format!("\u{feff}# ours\r\n{}\n\nsubject=x\n  {old_label}  \n", a.replace('\n', "\r\n"));
        assert_eq!(authorities(&bundle).unwrap().len(), 2);
    }

    #[test]
    fn a_block_that_cannot_be_used_is_named_by_its_number() {
        let good = pem();
        let second = |block: &str| refused(&format!("{good}{block}{good}"));
        let damaged = good.replacen("MII", "M!!", 1);
        for (block, expected) in [
            (damaged.as_str(), "Block 2 of caBundle is damaged: its content is not Base64"),
            (&good.replace("-----END CERTIFICATE-----", ""), "Block 2 of caBundle is damaged: its END line is missing"),
            (&good.replace("-----BEGIN CERTIFICATE-----", ""), "Block 2 of caBundle is damaged: its END line does not"),
            (&good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "Block 2 of caBundle is a TRUSTED CERTIFICATE"),
            (&good.replace("CERTIFICATE", "PRIVATE KEY"), "Block 2 of caBundle is a \"PRIVATE KEY\""),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "Block 2 of caBundle cannot be used"),
        ] {
            let (_, message) = second(block);
            assert!(message.starts_with(expected), "{message}");
        }
        assert_eq!(refused("no PEM").0, "BadCaBundle");
    }

    #[tokio::test(start_paused = true)]
    async fn rotated_authorities_are_read_again_and_an_empty_read_changes_nothing() {
        let reads = Arc::new(AtomicUsize::new(0));
        let system = SystemRoots::new({
            let reads = Arc::clone(&reads);
            move || match reads.fetch_add(1, Ordering::Relaxed) {
                1 => Vec::new(),
                _ => vec![CertificateDer::from_pem_slice(pem().as_bytes()).unwrap()],
            }
        });
        let first = system.verifier().unwrap();
        assert!(Arc::ptr_eq(&first, &system.verifier().unwrap()), "not read each time");
        tokio::time::advance(RELOAD_AFTER).await;
        assert!(Arc::ptr_eq(&first, &system.verifier().unwrap()), "nothing there: the former ones stay");
        tokio::time::advance(RELOAD_AFTER).await;
        assert!(!Arc::ptr_eq(&first, &system.verifier().unwrap()));
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_system_without_authorities_needs_a_bundle() {
        let none = || Arc::new(SystemRoots::new(Vec::new));
        assert_eq!(Trust::new(none(), None).unwrap_err().code, "BadTrust");
        assert!(Trust::new(none(), Some(&pem())).is_ok());
    }
}
