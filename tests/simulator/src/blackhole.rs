//! An address at which connecting hangs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A listener that accepts nothing and whose queue is full: the handshake of a further connection
/// is not answered, as behind a firewall that drops packets. Dropped, its connections are reset.
#[derive(Debug)]
pub struct Blackhole {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

/// On the loopback interface a handshake that is answered is so within microseconds.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
/// A queue of length 0 has room for one or two connections, depending on the system.
const ATTEMPTS: usize = 16;

impl Blackhole {
    /// Opens one on a free loopback port.
    ///
    /// # Errors
    /// When nothing can be bound there, or the system goes on answering handshakes.
    pub async fn open() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        for _ in 0..ATTEMPTS {
            match tokio::time::timeout(ANSWERED_WITHIN, TcpStream::connect(address)).await {
                Ok(connected) => queue.push(connected?),
                Err(_) => return Ok(Self { address, _listener: listener, _queue: queue }),
            }
        }
        Err(io::Error::other("the system goes on answering handshakes for a listener whose queue is full"))
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
