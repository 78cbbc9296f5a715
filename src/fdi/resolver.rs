//! Resolves the names of endpoints, and refuses answers that lead into private networks.
//!
//! A tenant may choose any name on the operator's allow-list. Whoever answers for one of them in
//! DNS must not be able to direct the operator's requests, which are signed, to services inside the
//! cluster.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::fdi::endpoint::AllowList;
use crate::fdi::proxy::Proxies;

/// Resolves a host name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The resolver of the operating system.
pub fn system() -> Lookup {
    Arc::new(|host| {
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    })
}

/// A name that resolves to private addresses only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} resolves to {address}, which is not a public address")]
pub struct PrivateAddress {
    pub host: String,
    pub address: IpAddr,
}

/// Resolves the names of public endpoints to public addresses only.
pub struct GuardedResolver {
    pub allowed: AllowList,
    pub proxies: Proxies,
    pub lookup: Lookup,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let guarded = !self.allowed.may_be_private(&host) && !self.proxies.has_host(&host);
        let addresses = (self.lookup)(host.clone());
        async move {
            let mut addresses = addresses.await?;
            if guarded {
                let private = addresses.iter().copied().find(|address| is_private(*address));
                addresses.retain(|address| !is_private(*address));
                if let (Some(address), []) = (private, &addresses[..]) {
                    return Err(PrivateAddress { host, address }.into());
                }
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        }
        .boxed()
    }
}

/// Loopback, private, link-local, shared (CGNAT), unique local, unspecified or no single host.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let shared = (u32::from(address) >> 22) == (u32::from(Ipv4Addr::new(100, 64, 0, 0)) >> 22);
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.octets()[0] == 0
        || address.is_broadcast()
        || address.is_multicast()
        || shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    // IPv4 in IPv6: mapped, compatible, and NAT64 (RFC 6052).
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => None,
    };
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || embedded.is_some_and(is_private_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_networks_are_private_and_those_of_the_internet_are_not() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "192.169.0.1",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    fn resolver(answer: &[&str]) -> GuardedResolver {
        let answer: Vec<IpAddr> = answer.iter().map(|address| address.parse().unwrap()).collect();
        let extra = ["https://roma.corp.example:8443".to_owned()];
        GuardedResolver {
            allowed: AllowList::new(&extra, true).unwrap(),
            proxies: Proxies::new(|name| (name == "HTTPS_PROXY").then(|| "http://proxy.corp:3128".to_owned())),
            lookup: Arc::new(move |_| std::future::ready(Ok(answer.clone())).boxed()),
        }
    }

    async fn resolve(answer: &[&str], host: &str) -> Result<Vec<String>, String> {
        let addresses = resolver(answer).resolve(host.parse().unwrap()).await;
        addresses
            .map(|addresses| addresses.map(|address| address.ip().to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_public_endpoint_must_have_a_public_address() {
        let cloud = "roma.cn-north-4.myhuaweicloud.com";
        let refused = resolve(&["10.0.0.1", "::1"], cloud).await.unwrap_err();
        assert_eq!(refused, format!("{cloud} resolves to 10.0.0.1, which is not a public address"));
        assert_eq!(
            resolve(&["10.0.0.1", "1.1.1.1"], cloud).await.unwrap(),
            ["1.1.1.1"],
            "only private ones are left out"
        );
        assert_eq!(resolve(&[], cloud).await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn allowed_endpoints_proxies_and_the_own_machine_may_be_private() {
        for host in ["roma.corp.example", "proxy.corp", "localhost", "a.localhost"] {
            assert_eq!(resolve(&["10.0.0.1"], host).await.unwrap(), ["10.0.0.1"], "{host}");
        }
    }
}
