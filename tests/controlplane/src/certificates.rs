//! The CA of one control plane and the certificates it signs, for the API server and an
//! administrator, and the key that signs `ServiceAccount` tokens.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::Error;
use crate::command_lines::SERVICE_ADDRESS;

/// A certificate and its private key, both PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) struct Certificates {
    pub(crate) ca: String,
    pub(crate) server: Identity,
    pub(crate) admin: Identity,
    /// The public key that verifies `ServiceAccount` tokens, and the private key that signs them.
    pub(crate) token_public_key: String,
    pub(crate) token_key: String,
}

impl Certificates {
    pub(crate) fn generate() -> Result<Self, Error> {
        let ca = certificate_authority()?;
        let token_key = KeyPair::generate()?;
        Ok(Self {
            server: identity(&ca, "kube-apiserver", None, &SERVER_NAMES, ExtendedKeyUsagePurpose::ServerAuth)?,
            // The API server allows members of this group everything.
            admin: identity(&ca, "admin", Some("system:masters"), &[], ExtendedKeyUsagePurpose::ClientAuth)?,
            ca: ca.pem(),
            token_public_key: token_key.public_key_pem(),
            token_key: token_key.serialize_pem(),
        })
    }
}

const SERVER_NAMES: [&str; 4] = ["127.0.0.1", "localhost", "kubernetes.default.svc", SERVICE_ADDRESS];

fn certificate_authority() -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "fdi-operator test control plane");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn identity(
    ca: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    group: Option<&str>,
    hosts: &[&str],
    purpose: ExtendedKeyUsagePurpose,
) -> Result<Identity, Error> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate()?;
    Ok(Identity { certificate: params.signed_by(&key, ca)?.pem(), key: key.serialize_pem() })
}
