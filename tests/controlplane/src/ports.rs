//! Free loopback ports.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Below the range from which the kernel takes ports for outgoing connections (32768 on Linux), so
/// that no connection can take the port of an API server that a test has stopped for a moment.
const FROM: u16 = 10_000;
const TO: u16 = 30_000;

/// `N` different ports that were free a moment ago. Another process may bind one first, so the
/// caller must be ready to retry.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], Error> {
    let start = RandomState::new().hash_one(()) % u64::from(TO - FROM);
    let start = FROM + u16::try_from(start).unwrap_or_default();
    // All listeners stay open until all ports are found.
    let listeners: Vec<TcpListener> = (start..TO)
        .chain(FROM..start)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(N)
        .collect();
    let ports: Vec<u16> = listeners.iter().filter_map(|listener| Some(listener.local_addr().ok()?.port())).collect();
    ports.try_into().map_err(|_| Error::NoPort { from: FROM, to: TO })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ_and_can_be_bound() {
        let [one, two, three] = free::<3>().unwrap();
        assert!(one != two && two != three && one != three);
        assert!((FROM..TO).contains(&one));
        TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
    }
}
