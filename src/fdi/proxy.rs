//! Which proxy a request takes, from the environment, as Go's `net/http` reads it, so that one set
//! of variables serves all programs of a cluster.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<Url>,
    http: Option<Url>,
    exceptions: Vec<Exception>,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Network {
        address: IpAddr,
        prefix: u32,
        port: Option<u16>,
    },
    /// `.example.com` and `*.example.com` are the names below it, `example.com` is that name as
    /// well.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// `variable` reads one variable of the environment.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        // As other programs do it: the upper case name wins.
        let first = |names: [&str; 2]| names.into_iter().filter_map(&variable).find(|value| !value.trim().is_empty());
        let proxy = |names: [&str; 2]| {
            let value = first(names)?;
            let url = parse(value.trim());
            if url.is_none() {
                tracing::warn!("{} is not the URL of a proxy and is ignored", names[0]);
            }
            url
        };
        let all = proxy(["ALL_PROXY", "all_proxy"]);
        let exceptions = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            https: proxy(["HTTPS_PROXY", "https_proxy"]).or_else(|| all.clone()),
            http: proxy(["HTTP_PROXY", "http_proxy"]).or(all),
            exceptions: exceptions.split([',', ' ']).filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy for a request to `url`.
    pub fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.exceptions.iter().any(|exception| exception.covers(url)))
    }

    /// Whether `host` is that of a proxy.
    pub fn has_host(&self, host: &str) -> bool {
        [&self.https, &self.http].into_iter().flatten().any(|proxy| proxy.host_str() == Some(host))
    }
}

impl fmt::Debug for Proxies {
    /// Without the URLs, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("exceptions", &self.exceptions).finish_non_exhaustive()
    }
}

/// A URL, where `host:port` alone is one of http.
fn parse(text: &str) -> Option<Url> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.ok().filter(Url::has_host)
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits(address).1)?;
            return Some(Self::Network { address, prefix, port: None });
        }
        let (host, port) = host_and_port(&text);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Network { address, prefix: bits(address).1, port });
        }
        let below = host.strip_prefix('*').unwrap_or(host).strip_prefix('.');
        let name = below.unwrap_or(host).trim_end_matches('.');
        (!name.is_empty()).then(|| Self::Domain { name: name.to_owned(), itself: below.is_none(), port })
    }

    fn covers(&self, url: &Url) -> bool {
        let same_port = |port: &Option<u16>| port.is_none() || *port == url.port_or_known_default();
        match (self, url.host()) {
            (Self::Everything, _) => true,
            (Self::Network { address, prefix, port }, Some(Host::Ipv4(host))) => {
                same_port(port) && within(host.into(), *address, *prefix)
            }
            (Self::Network { address, prefix, port }, Some(Host::Ipv6(host))) => {
                same_port(port) && within(host.into(), *address, *prefix)
            }
            (Self::Domain { name, itself, port }, Some(Host::Domain(host))) => {
                let host = host.trim_end_matches('.');
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                same_port(port) && (below || (*itself && host == name))
            }
            _ => false,
        }
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn host_and_port(text: &str) -> (&str, Option<u16>) {
    let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = match split {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

fn within(host: IpAddr, network: IpAddr, prefix: u32) -> bool {
    let ((host, host_bits), (network, network_bits)) = (bits(host), bits(network));
    host_bits == network_bits && (host ^ network).checked_shr(host_bits - prefix).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::new(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn proxy_for(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.proxy_for(&url.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_is_for_the_rest() {
        let both = proxies(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1"), ("ALL_PROXY", "c:1")]);
        assert_eq!(proxy_for(&both, "https://x"), Some("http://a:1/".into()));
        assert_eq!(proxy_for(&both, "http://x"), Some("http://c:1/".into()));
        assert!(both.has_host("a") && both.has_host("c") && !both.has_host("x"));
        let lower = proxies(&[("HTTPS_PROXY", ""), ("https_proxy", "http://u:p@b:1")]);
        assert_eq!(proxy_for(&lower, "https://x"), Some("http://u:p@b:1/".into()));
        assert_eq!(proxy_for(&lower, "http://x"), None);
        assert!(!format!("{lower:?}").contains("u:p"));
        assert_eq!(proxy_for(&proxies(&[("HTTPS_PROXY", "http://")]), "https://x"), None);
    }

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        let excepted = |exceptions: &str, url: &str| {
            proxy_for(&proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", exceptions)]), url).is_none()
        };
        for (exceptions, url, expected) in [
            ("*", "https://anything", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://a.example.com", true),
            ("example.com", "https://notexample.com", false),
            (".example.com", "https://a.example.com", true),
            (".example.com", "https://example.com", false),
            ("*.example.com", "https://a.b.example.com", true),
            ("*.example.com", "https://example.com", false),
            ("EXAMPLE.com.", "https://example.com", true),
            ("example.com:8443", "https://example.com:8443", true),
            ("example.com:8443", "https://a.example.com:8443", true),
            ("example.com:8443", "https://example.com", false),
            ("example.com:443", "https://example.com", true),
            ("*.example.com:443", "https://a.example.com", true),
            ("a, example.com ,b", "https://example.com", true),
            ("a example.com", "https://example.com", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("0.0.0.0/0", "https://11.1.2.3", true),
            ("0.0.0.0/0", "https://[2001:db8::1]", false),
            ("10.1.2.3", "https://10.1.2.3:8443", true),
            ("10.1.2.3:443", "https://10.1.2.3:8443", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:443", "https://[2001:db8::1]", true),
            ("2001:db8::/32", "https://[2001:db8::7]", true),
            ("10.0.0.0/33,/8,:80,", "https://10.0.0.1", false),
            ("", "https://example.com", false),
        ] {
            assert_eq!(excepted(exceptions, url), expected, "NO_PROXY={exceptions} {url}");
        }
    }
}
