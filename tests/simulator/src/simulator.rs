//! A running simulator: the listeners around a [`Handle`].

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::handle::Handle;
use crate::server::{self, Kind};
use crate::service::Shared;
use crate::tls::{Certificate, Tls};

/// How to start a simulator. `Options::default()`: plain HTTP on a free loopback port, real time.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen for plain HTTP; port 0 is a free one.
    pub listen: SocketAddr,
    /// Where to listen for TLS, if at all.
    pub listen_tls: Option<SocketAddr>,
    /// The certificate to present at first.
    pub certificate: Certificate,
    /// A further plain listener, for the control API while the others refuse or hold connections.
    pub listen_control: Option<SocketAddr>,
    pub clock: Clock,
    /// Keep the request headers in the log, with secrets masked.
    pub record_headers: bool,
    /// Keep what list answers showed in the log ([`crate::Entry::listed`]): at least 40 bytes per
    /// task and list.
    pub record_lists: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            listen_tls: None,
            certificate: Certificate::default(),
            listen_control: None,
            clock: Clock::real(),
            record_headers: false,
            record_lists: true,
        }
    }
}

impl Options {
    /// TLS as well, on a free loopback port, with this certificate.
    #[must_use]
    pub fn tls(self, certificate: Certificate) -> Self {
        Self { listen_tls: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), certificate, ..self }
    }

    /// With this clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

/// Why a simulator could not start.
#[derive(Debug)]
pub enum StartError {
    /// The address could not be bound.
    Listen(SocketAddr, std::io::Error),
    /// No certificate could be created.
    Certificate(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "can't listen on {address}: {error}"),
            Self::Certificate(why) => write!(f, "can't create a certificate: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running simulator, which dereferences to its controls, a [`Handle`]. Dropping it closes its
/// listeners and connections.
#[derive(Debug)]
pub struct Simulator {
    handle: Handle,
    address: SocketAddr,
    tls: Option<(Tls, SocketAddr)>,
    control: Option<SocketAddr>,
    /// Aborted when dropped.
    _listeners: JoinSet<()>,
}

impl Simulator {
    /// Starts listening; needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let shared = Shared::new(options.clock, options.record_headers, options.record_lists);
        let handle = Handle { shared: Arc::new(shared) };
        let mut listeners = JoinSet::new();
        let address = listen(options.listen, Kind::Plain, &handle, &mut listeners).await?;
        let tls = match options.listen_tls {
            None => None,
            Some(at) => {
                let tls = Tls::new(options.certificate).map_err(|error| StartError::Certificate(error.to_string()))?;
                let address = listen(at, Kind::Tls(tls.clone()), &handle, &mut listeners).await?;
                Some((tls, address))
            }
        };
        let control = match options.listen_control {
            None => None,
            Some(at) => Some(listen(at, Kind::Control, &handle, &mut listeners).await?),
        };
        Ok(Self { handle, address, tls, control, _listeners: listeners })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `https://127.0.0.1:PORT`, when TLS is served.
    pub fn https_url(&self) -> Option<String> {
        self.tls.as_ref().map(|(_, address)| format!("https://{address}"))
    }

    /// The URL of the control listener, when there is one of its own.
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// The ports: HTTP, then TLS and control where there are such listeners.
    pub fn ports(&self) -> Vec<u16> {
        let tls = self.tls.as_ref().map(|(_, address)| address.port());
        let control = self.control.map(|address| address.port());
        [Some(self.address.port()), tls, control].into_iter().flatten().collect()
    }

    /// The certificate of the simulator's authority as PEM, when TLS is served.
    pub fn ca_pem(&self) -> Option<String> {
        self.tls.as_ref().map(|(tls, _)| tls.ca_pem())
    }

    /// Presents another certificate on new connections; does nothing without TLS.
    ///
    /// # Errors
    /// [`StartError::Certificate`]
    pub fn show_certificate(&self, certificate: Certificate) -> Result<(), StartError> {
        let Some((tls, _)) = &self.tls else { return Ok(()) };
        tls.show(certificate).map_err(|error| StartError::Certificate(error.to_string()))
    }

    /// The controls, to keep beside the simulator.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Deref for Simulator {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

async fn listen(
    at: SocketAddr,
    kind: Kind,
    handle: &Handle,
    listeners: &mut JoinSet<()>,
) -> Result<SocketAddr, StartError> {
    let (listener, address) = server::bind(at).await.map_err(|error| StartError::Listen(at, error))?;
    listeners.spawn(server::accept(listener, handle.clone(), kind));
    Ok(address)
}
