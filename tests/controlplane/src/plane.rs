//! The control plane: etcd and kube-apiserver, from start to stop, and the faults in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::certificates::Certificates;
use crate::command_lines::{AUDIT_LOG, KUBECONFIG, Ports, Serves, apiserver_args, etcd_args, write_files};
use crate::kubeconfig;
use crate::server::{Server, Start};
use crate::{Binaries, Error, Kubectl, Program, Release, ports};

/// A start takes 4 s on an idle machine with 2 cores, which several test binaries may share.
const READY_WITHIN: Duration = Duration::from_mins(2);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Attempts to start when other processes take the chosen ports.
const MAX_ATTEMPTS: usize = 5;

/// A running control plane. Dropping it kills its processes and removes its folder in the
/// background; [`stop`](Self::stop) returns once they are gone.
///
/// A whole test binary can share one in a `static` [`tokio::sync::OnceCell`]: it works across
/// runtimes, and although a static is never dropped its processes end with the test binary.
#[derive(Debug)]
pub struct ControlPlane {
    binaries: Binaries,
    kubeconfig: String,
    server_url: String,
    ca_pem: String,
    ports: Ports,
    serves: Serves,
    // Before the folder, so that they end before the folder is removed.
    apiserver: Mutex<Option<Server>>,
    /// The last one runs; [`restore`](Self::restore) replaced those before it.
    pub(crate) etcd: Mutex<Vec<Server>>,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts one of the chosen [`Release`], after building its programs if necessary. It is ready
    /// when this returns.
    pub async fn start() -> Result<Self, Error> {
        let binaries = Binaries::find_or_build(&Release::chosen()?, &Program::CONTROL_PLANE).await?;
        let mut attempts = 1;
        loop {
            let [etcd, etcd_peer, apiserver] = ports::free()?;
            match Self::start_once(&binaries, Ports { etcd, etcd_peer, apiserver }, Serves::Clients).await {
                Err(Fault::PortTaken(_)) if attempts < MAX_ATTEMPTS => attempts += 1,
                done => return done.map_err(Fault::into_error),
            }
        }
    }

    /// Starts the control plane of a [`Node`](crate::Node), and must run in its network: the API
    /// server has the address and port of the Service `kubernetes`, so that pods reach it without
    /// kube-proxy. The `ServiceAccount` admission plugin is enabled.
    pub(crate) async fn start_for_pods(binaries: &Binaries) -> Result<Self, Error> {
        let [etcd, etcd_peer] = ports::free()?;
        let ports = Ports { etcd, etcd_peer, apiserver: 443 };
        Self::start_once(binaries, ports, Serves::Pods).await.map_err(Fault::into_error)
    }

    async fn start_once(binaries: &Binaries, ports: Ports, serves: Serves) -> Result<Self, Fault> {
        let folder = tempfile::Builder::new()
            .prefix("fdi-controlplane-")
            .tempdir()
            .map_err(Error::file("cannot create a folder under", &std::env::temp_dir()))?;
        let server_url = format!("https://{}:{}", serves.address(), ports.apiserver);
        let certificates = Certificates::generate()?;
        write_files(folder.path(), &server_url, &certificates)?;

        let mut plane = Self {
            kubeconfig: kubeconfig::yaml(&server_url, &certificates),
            server_url,
            ca_pem: certificates.ca,
            ports,
            serves,
            apiserver: Mutex::new(None),
            etcd: Mutex::default(),
            folder,
            binaries: binaries.clone(),
        };
        plane.etcd = Mutex::new(vec![plane.spawn_etcd()?]);
        let apiserver = plane.spawn_apiserver()?;
        match plane.wait_ready(&apiserver).await {
            Ok(()) => {
                plane.apiserver = Mutex::new(Some(apiserver));
                Ok(plane)
            }
            Err(fault) => {
                apiserver.kill().await;
                kill_all(plane.etcd.into_inner()).await;
                Err(fault)
            }
        }
    }

    /// The administrator's kubeconfig as a file that only the owner can read. It is removed when
    /// the control plane stops.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.path().join(KUBECONFIG)
    }

    /// Writes the same to a file of the caller's, which stays afterwards.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), Error> {
        kubeconfig::write_private(path, &self.kubeconfig)
    }

    /// The requests of service accounts: one audit event (`audit.k8s.io/v1`, level Metadata) per
    /// line, as JSON. It is removed when the control plane stops.
    pub fn audit_log_path(&self) -> PathBuf {
        self.folder.path().join(AUDIT_LOG)
    }

    /// The kubeconfig as text: self-contained, with the CA, the certificate and the key.
    pub fn kubeconfig_yaml(&self) -> &str {
        &self.kubeconfig
    }

    /// `https://127.0.0.1:PORT`; the same after a restart of the API server.
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// The CA that signed the API server's certificate, and that signs those of clients.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The programs this control plane was started from.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The folder of the certificates, keys and logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl for this control plane.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl {
            program: self.binaries.path(Program::Kubectl),
            kubeconfig: self.kubeconfig_path(),
            cache: self.folder.path().join("kubectl-cache"),
        }
    }

    /// Kills the API server (SIGKILL) and returns when it has ended; etcd and the data stay. Does
    /// nothing when it is not running.
    pub async fn stop_apiserver(&self) {
        if let Some(apiserver) = self.apiserver.lock().await.take() {
            apiserver.kill().await;
        }
    }

    /// Starts the API server again with the same port and data. It is ready when this returns. Does
    /// nothing when it is running.
    pub async fn start_apiserver(&self) -> Result<(), Error> {
        let mut running = self.apiserver.lock().await;
        if running.as_ref().is_some_and(|apiserver| !apiserver.has_ended()) {
            return Ok(());
        }
        let mut attempts = 1;
        loop {
            let apiserver = self.spawn_apiserver()?;
            match self.wait_ready(&apiserver).await {
                Ok(()) => {
                    *running = Some(apiserver);
                    return Ok(());
                }
                Err(fault) => {
                    apiserver.kill().await;
                    if !matches!(fault, Fault::PortTaken(_)) || attempts == MAX_ATTEMPTS {
                        return Err(fault.into_error());
                    }
                    attempts += 1;
                }
            }
        }
    }

    /// Suspends the API server (SIGSTOP): it accepts connections and does not answer.
    pub async fn pause_apiserver(&self) -> Result<(), Error> {
        self.signal_apiserver("STOP").await
    }

    /// Resumes a paused API server (SIGCONT).
    pub async fn resume_apiserver(&self) -> Result<(), Error> {
        self.signal_apiserver("CONT").await
    }

    async fn signal_apiserver(&self, signal: &str) -> Result<(), Error> {
        match self.apiserver.lock().await.as_mut() {
            Some(apiserver) if !apiserver.has_ended() => apiserver.signal(signal),
            _ => Err(Error::NotRunning),
        }
    }

    /// Kills both servers, removes the folder, and returns when that is done.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { apiserver, etcd, folder, .. } = self;
        if let Some(apiserver) = apiserver.into_inner() {
            apiserver.kill().await;
        }
        kill_all(etcd.into_inner()).await;
        match std::fs::remove_dir_all(folder.path()) {
            // etcd's supervisor has removed it already.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("cannot remove", folder.path())(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn spawn_etcd(&self) -> Result<Server, Error> {
        Server::start(Start {
            program: "etcd",
            path: &self.binaries.path(Program::Etcd),
            args: etcd_args(self.folder.path(), self.ports),
            log: self.folder.path().join("etcd.log"),
            // If this process is killed, etcd's supervisor removes the folder: etcd is the last to
            // write to it.
            remove: Some(self.folder.path()),
        })
    }

    fn spawn_apiserver(&self) -> Result<Server, Error> {
        Server::start(Start {
            program: "kube-apiserver",
            path: &self.binaries.path(Program::KubeApiserver),
            args: apiserver_args(self.folder.path(), self.ports, self.serves, &self.server_url),
            log: self.folder.path().join("kube-apiserver.log"),
            remove: None,
        })
    }

    /// Returns when `/readyz` answers 200, a server has ended, or the time is up.
    async fn wait_ready(&self, apiserver: &Server) -> Result<(), Fault> {
        let client = client(&self.ca_pem)?;
        let url = format!("{}/readyz", self.server_url);
        let started = Instant::now();
        loop {
            let answer = match client.get(&url).send().await {
                // Another process on this port has no certificate of this CA.
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => format!("/readyz answers {}", response.status()),
                Err(error) if error.is_connect() => "it does not accept connections".to_owned(),
                Err(error) if error.is_timeout() => "it accepts connections and does not answer".to_owned(),
                Err(error) => error.to_string(),
            };
            let etcd = self.etcd.lock().await;
            for (program, server) in
                etcd.last().map(|etcd| ("etcd", etcd)).into_iter().chain([("kube-apiserver", apiserver)])
            {
                if server.has_ended() {
                    let ended = Error::Ended { program, log: server.log_tail() };
                    return Err(if server.port_was_taken() { Fault::PortTaken(ended) } else { Fault::Final(ended) });
                }
            }
            let waited = started.elapsed();
            if waited > READY_WITHIN {
                let (log, etcd_log) = (apiserver.log_tail(), etcd.last().map(Server::log_tail).unwrap_or_default());
                return Err(Error::NotReady { url: self.server_url.clone(), waited, answer, log, etcd_log }.into());
            }
            drop(etcd);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

async fn kill_all(servers: Vec<Server>) {
    for server in servers {
        server.kill().await;
    }
}

/// Why a start failed, and whether other ports may help.
#[derive(Debug)]
enum Fault {
    PortTaken(Error),
    Final(Error),
}

impl Fault {
    fn into_error(self) -> Error {
        let (Self::PortTaken(error) | Self::Final(error)) = self;
        error
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// A client that trusts only this CA and uses no proxy.
fn client(ca_pem: &str) -> Result<reqwest::Client, Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| rustls::Error::General(error.to_string()))?;
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .build()?;
    Ok(client)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Whichever of the three ports is taken, the start must report that other ports may help.
    #[tokio::test]
    async fn a_port_that_another_process_took_is_reported_as_worth_a_retry() {
        let binaries = Binaries::find_or_build(&Release::chosen().unwrap(), &Program::CONTROL_PLANE).await.unwrap();
        for taken in 0..3 {
            let [etcd, etcd_peer, apiserver] = ports::free().unwrap();
            let other_process = TcpListener::bind(("127.0.0.1", [etcd, etcd_peer, apiserver][taken])).unwrap();
            let fault = ControlPlane::start_once(&binaries, Ports { etcd, etcd_peer, apiserver }, Serves::Clients)
                .await
                .unwrap_err();
            assert!(matches!(fault, Fault::PortTaken(_)), "port {taken}: {}", fault.into_error());
            drop(other_process);
        }
    }
}
