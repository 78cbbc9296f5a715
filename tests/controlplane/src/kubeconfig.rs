//! The administrator's kubeconfig: self-contained, so that it can be copied anywhere.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::certificates::Certificates;

pub(crate) fn yaml(server_url: &str, certificates: &Certificates) -> String {
    let ca = STANDARD.encode(&certificates.ca);
    let certificate = STANDARD.encode(&certificates.admin.certificate);
    let key = STANDARD.encode(&certificates.admin.key);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: fdi-operator-test
  cluster:
    server: {server_url}
    certificate-authority-data: {ca}
users:
- name: admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: fdi-operator-test
  context:
    cluster: fdi-operator-test
    user: admin
current-context: fdi-operator-test
"
    )
}

/// Writes a file that only its owner can read, even if it existed with a wider mode.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(Error::file("cannot write", path))
}
