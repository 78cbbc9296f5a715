//! HTTP clients: one for all instances without a `caBundle`, one for each bundle. TLS 1.2 or later,
//! no redirects.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Client, Proxy, redirect};
use ring::digest::{SHA256, digest};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::time::Instant;

use crate::fdi::error::CallError;
use crate::fdi::proxy::Proxies;
use crate::fdi::read_turns::ReadTurns;
use crate::fdi::resolver::GuardedResolver;
use crate::fdi::trust::{SystemRoots, Trust};

/// A client with a bundle is kept this long after its last use: longer than any poll interval, so
/// that no reconcile builds one anew, however many bundles there are.
const KEEP: Duration = Duration::from_hours(2);

/// Gateways close idle connections after about a minute. The client closes them first: a call on a
/// connection that is being closed is a call whose outcome nobody knows.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Idle connections to one host. After a long list each has a buffer of up to 400 KiB, and all
/// instances of a region have the same host.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// How clients are built.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub user_agent: String,
    pub proxies: Proxies,
}

/// A client, and whether a server asked it for a certificate.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub client: Client,
    pub turns: ReadTurns,
    certificate_requests: Arc<CertificateRequests>,
}

impl HttpClient {
    /// Whether a server asked for a certificate since the last call of this.
    pub fn take_certificate_request(&self) -> bool {
        self.certificate_requests.0.swap(false, Ordering::Relaxed)
    }
}

/// The clients of the process. Each is cheap: the system's authorities are shared.
pub struct Clients {
    settings: ClientSettings,
    resolver: Arc<GuardedResolver>,
    system: Arc<SystemRoots>,
    turns: ReadTurns,
    /// By bundle, with the time of the last use.
    kept: Mutex<HashMap<Bundle, (HttpClient, Instant)>>,
}

/// Which authorities besides the system's: none, or those of the bundle with this SHA-256.
type Bundle = Option<[u8; 32]>;

impl Clients {
    pub fn new(settings: ClientSettings, resolver: GuardedResolver) -> Self {
        let system = Arc::new(SystemRoots::native());
        let turns = ReadTurns::default();
        Self { settings, resolver: Arc::new(resolver), system, turns, kept: Mutex::default() }
    }

    /// The client for `ca_bundle`.
    ///
    /// # Errors
    /// `TlsFailed` when `ca_bundle` is not PEM certificates, or the system has no authorities.
    pub fn client(&self, ca_bundle: Option<&str>) -> Result<HttpClient, CallError> {
        let key = ca_bundle.map(sha256);
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if let Some((client, last_used)) = kept.get_mut(&key) {
            *last_used = now;
            return Ok(client.clone());
        }
        let client = self.build(ca_bundle)?;
        kept.retain(|bundle, (_, last_used)| bundle.is_none() || last_used.elapsed() < KEEP);
        kept.insert(key, (client.clone(), now));
        Ok(client)
    }

    fn build(&self, ca_bundle: Option<&str>) -> Result<HttpClient, CallError> {
        let unusable = |_| CallError::unavailable("BadClient", "The HTTP client could not be built.");
        let trust = Trust::new(Arc::clone(&self.system), ca_bundle)?;
        let certificate_requests = Arc::new(CertificateRequests::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| CallError::unavailable("BadClient", "The HTTP client could not be built."))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_client_cert_resolver(Arc::clone(&certificate_requests) as Arc<dyn ResolvesClientCert>);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let proxies = self.settings.proxies.clone();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::clone(&self.resolver))
            .proxy(Proxy::custom(move |url| proxies.proxy_for(url).cloned()))
            .connect_timeout(self.settings.connect_timeout)
            .timeout(self.settings.request_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(&self.settings.user_agent)
            .build()
            .map_err(unusable)?;
        Ok(HttpClient { client, turns: self.turns.clone(), certificate_requests })
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// Sends no certificate, and remembers that a server asked for one.
#[derive(Debug, Default)]
struct CertificateRequests(AtomicBool);

impl ResolvesClientCert for CertificateRequests {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
