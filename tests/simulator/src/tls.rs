//! TLS with a certificate authority of the simulator's own.

use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

/// The certificate that the simulator presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// For `localhost`, `127.0.0.1` and `::1`, signed by the simulator's CA.
    #[default]
    Right,
    /// The same, but expired.
    Expired,
    /// Signed by the simulator's CA for `roma.example.invalid`.
    WrongName,
    /// For the right names, but signed by an unknown CA.
    OtherCa,
}

/// The simulator's authority and the certificate that it presents; clones share both.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ca: Authority,
    config: Mutex<Arc<ServerConfig>>,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Why there is no certificate, in the words of the cryptography library.
pub(crate) type TlsError = Box<dyn std::error::Error + Send + Sync>;

impl Tls {
    pub fn new(certificate: Certificate) -> Result<Self, TlsError> {
        let ca = authority("fdi-simulator test CA")?;
        let config = Mutex::new(Arc::new(config(&ca, certificate)?));
        Ok(Self { inner: Arc::new(Inner { ca, config }) })
    }

    /// The certificate of the authority, for `caBundle`.
    pub fn ca_pem(&self) -> String {
        self.inner.ca.pem()
    }

    /// Presents another certificate on new connections.
    pub fn show(&self, certificate: Certificate) -> Result<(), TlsError> {
        let config = Arc::new(config(&self.inner.ca, certificate)?);
        *self.inner.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.inner.config.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn authority(name: &str) -> Result<Authority, TlsError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn config(ca: &Authority, certificate: Certificate) -> Result<ServerConfig, TlsError> {
    let names: &[&str] = match certificate {
        Certificate::WrongName => &["roma.example.invalid"],
        Certificate::Right | Certificate::Expired | Certificate::OtherCa => &["localhost", "127.0.0.1", "::1"],
    };
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "fdi-simulator");
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 12, 31);
    }
    let key = KeyPair::generate()?;
    let signed = match certificate {
        Certificate::OtherCa => params.signed_by(&key, &*authority("an unknown CA")?)?,
        Certificate::Right | Certificate::Expired | Certificate::WrongName => params.signed_by(&key, ca)?,
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain: Vec<CertificateDer<'static>> = vec![signed.der().clone()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}
