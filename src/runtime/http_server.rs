//! The HTTP server of `/livez`, `/readyz` and `/metrics`. Any pod may connect, so whoever connects
//! must not be able to use up its memory or keep the kubelet and Prometheus from being answered.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Above this many connections each new one closes the oldest: a probe is answered within
/// milliseconds, so the oldest ones are those that do not end.
const MAX_CONNECTIONS: usize = 64;
/// A connection is for one request; after this it is closed. Prometheus gives up after 10 s itself.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request must have arrived after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of a head before it is refused; hyper takes no less.
const HEADER_BYTES: usize = 8 << 10;
/// Pause when no connection can be accepted, for instance because all file descriptors are used.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 1024;

/// Listens on the address. `[::]` takes IPv4 connections too, and becomes `0.0.0.0` on a machine
/// without IPv6.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() != IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(address).await;
    }
    match bind_dual_stack(address) {
        Err(error) if lacks_ipv6(&error) => {
            info!(%error, "IPv6 is not available; listening on IPv4 only");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

fn bind_dual_stack(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    // Whatever net.ipv6.bindv6only says.
    set_ipv6_v6only(&socket, false)?;
    // On Windows the option would let another process take the port.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Serves forever.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The client is gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                warn!(%error, "cannot accept a connection; retrying");
                sleep(RETRY_INTERVAL).await;
                continue;
            }
        };
        if connections.len() >= MAX_CONNECTIONS {
            connections.retain(|connection| !connection.is_finished());
        }
        if connections.len() >= MAX_CONNECTIONS {
            connections.pop_front().inspect(AbortHandle::abort);
        }
        connections.push_back(tokio::spawn(serve_connection(stream, router.clone())).abort_handle());
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false).max_buf_size(HEADER_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that went away, or sent something else than HTTP, is none of our faults.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_unspecified_ipv6_address_takes_ipv4_connections_too() {
        let listener = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect((std::net::Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn another_address_is_taken_as_it_is_and_one_in_use_is_an_error() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
        assert!(bind(address).await.is_err());
    }

    #[test]
    fn a_machine_without_ipv6_is_told_apart_from_a_port_that_is_taken() {
        assert!(lacks_ipv6(&Errno::AFNOSUPPORT.into()) && lacks_ipv6(&Errno::ADDRNOTAVAIL.into()));
        assert!(!lacks_ipv6(&Errno::ADDRINUSE.into()) && !lacks_ipv6(&Errno::ACCESS.into()));
    }
}
