//! The command lines of etcd and kube-apiserver, and the files that they name.

use std::ffi::OsString;
use std::path::Path;

use crate::certificates::Certificates;
use crate::{Error, kubeconfig};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub etcd: u16,
    pub etcd_peer: u16,
    pub apiserver: u16,
}

/// Who connects to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Programs of this machine, on a loopback port.
    Clients,
    /// The pods of a node too.
    Pods,
}

/// The first address of the Service range, which Kubernetes assigns to the Service `kubernetes`.
pub(crate) const SERVICE_ADDRESS: &str = "10.0.0.1";
const SERVICE_RANGE: &str = "10.0.0.0/24";

impl Serves {
    pub const fn address(self) -> &'static str {
        match self {
            Self::Clients => "127.0.0.1",
            Self::Pods => SERVICE_ADDRESS,
        }
    }
}

pub(crate) const KUBECONFIG: &str = "kubeconfig";
pub(crate) const CA: &str = "ca.crt";
const SERVER_CERTIFICATE: &str = "apiserver.crt";
const SERVER_KEY: &str = "apiserver.key";
const AUDIT_POLICY: &str = "audit-policy.json";
pub(crate) const AUDIT_LOG: &str = "audit.log";
/// Only clients with a service account's token: tests compare their requests with their
/// permissions.
const AUDIT_RULES: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]}"#;
const TOKEN_PUBLIC_KEY: &str = "service-account.pub";
pub(crate) const TOKEN_KEY: &str = "service-account.key";

pub(crate) fn write_files(folder: &Path, server_url: &str, certificates: &Certificates) -> Result<(), Error> {
    for (name, text) in [
        (AUDIT_POLICY, AUDIT_RULES),
        (CA, &certificates.ca),
        (SERVER_CERTIFICATE, &certificates.server.certificate),
        (SERVER_KEY, &certificates.server.key),
        (TOKEN_PUBLIC_KEY, &certificates.token_public_key),
        (TOKEN_KEY, &certificates.token_key),
        (KUBECONFIG, &kubeconfig::yaml(server_url, certificates)),
    ] {
        kubeconfig::write_private(&folder.join(name), text)?;
    }
    Ok(())
}

pub(crate) fn etcd_args(folder: &Path, ports: Ports) -> Vec<OsString> {
    let Ports { etcd, etcd_peer, .. } = ports;
    let (client, peer) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{etcd_peer}"));
    vec![
        flag("--data-dir", folder.join("etcd")),
        flag("--listen-client-urls", &client),
        flag("--advertise-client-urls", &client),
        flag("--listen-peer-urls", &peer),
        flag("--initial-advertise-peer-urls", &peer),
        flag("--initial-cluster", format!("default={peer}")),
        // The data does not outlive the processes, and a busy disk must not slow the tests.
        flag("--unsafe-no-fsync", "true"),
        flag("--log-level", "error"),
    ]
}

pub(crate) fn apiserver_args(folder: &Path, ports: Ports, serves: Serves, url: &str) -> Vec<OsString> {
    let mut args = vec![
        flag("--etcd-servers", format!("http://127.0.0.1:{}", ports.etcd)),
        flag("--bind-address", serves.address()),
        flag("--secure-port", ports.apiserver.to_string()),
        // Set, because the default is taken from the default route, which a machine without a
        // network lacks.
        flag("--advertise-address", serves.address()),
        // No endpoints for the Service `kubernetes`: they must not be loopback addresses, and no
        // test uses them.
        flag("--endpoint-reconciler-type", "none"),
        flag("--service-cluster-ip-range", SERVICE_RANGE),
        flag("--tls-cert-file", folder.join(SERVER_CERTIFICATE)),
        flag("--tls-private-key-file", folder.join(SERVER_KEY)),
        flag("--client-ca-file", folder.join(CA)),
        flag("--authorization-mode", "RBAC"),
        flag("--service-account-issuer", url),
        flag("--service-account-key-file", folder.join(TOKEN_PUBLIC_KEY)),
        flag("--service-account-signing-key-file", folder.join(TOKEN_KEY)),
        flag("--allow-privileged", "true"),
        flag("--audit-policy-file", folder.join(AUDIT_POLICY)),
        flag("--audit-log-path", folder.join(AUDIT_LOG)),
        // For logs and exec: no DNS resolves the name of the node, but it has one address.
        flag("--kubelet-preferred-address-types", "InternalIP"),
    ];
    if serves == Serves::Clients {
        // The plugin rejects pods until a controller manager has created the default
        // ServiceAccount, and here is none.
        args.push(flag("--disable-admission-plugins", "ServiceAccount"));
    }
    args
}

pub(crate) fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(value.into());
    flag
}
