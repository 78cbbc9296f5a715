//! A TCP proxy that can lose its connections silently, as a NAT gateway or a firewall does: they
//! carry nothing any more and neither end is notified. New connections work.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Proxy {
    address: SocketAddr,
    lost: watch::Sender<u32>,
    running: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (lost, losing) = watch::channel(0);
        let running = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (target, mut losing) = (target.clone(), losing.clone());
                losing.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        // Both ends stay open until the test ends.
                        Ok(()) = losing.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, lost, running }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards nothing more over the present connections, and keeps them open.
    pub fn lose_connections(&self) {
        self.lost.send_modify(|times| *times += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}
