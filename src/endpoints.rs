//! Which hosts credentials may be sent to. Whoever can write an `FdiInstance` chooses its endpoint, so the operator keeps a list.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Hosts of Huawei Cloud itself: `roma.<region>` and `iam[.<region>]`. Wider patterns (`*.*.myhuaweicloud.com`) would cover
/// hosts that customers can name.
pub const HUAWEI_CLOUD: [&str; 4] = [
    "https://roma.*.myhuaweicloud.com",
    "https://iam.myhuaweicloud.com",
    "https://iam.*.myhuaweicloud.com",
    "https://iam.eu-west-101.myhuaweicloud.eu",
];

/// One allowed origin: `https://<host>[:<port>]`, where `*` as a label stands for exactly one label, and as the port for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPattern {
    text: String,
    scheme: &'static str,
    host: String,
    /// `None`: any port.
    port: Option<u16>,
}

/// Why a text is not an [`EndpointPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' must be https://<host>[:<port>] without path, where '*' may stand for one whole label of the host or for the port ({problem})"
)]
pub struct InvalidPattern {
    text: String,
    problem: &'static str,
}

impl EndpointPattern {
    /// True for a pattern that allows unencrypted traffic.
    pub fn is_insecure(&self) -> bool {
        self.scheme == "http"
    }

    fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let mut labels = host.split('.');
        let hosts_match =
            self.host.split('.').all(|wanted| labels.next().is_some_and(|label| wanted == "*" || wanted == label))
                && labels.next().is_none();
        hosts_match
            && url.scheme() == self.scheme
            && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

impl FromStr for EndpointPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidPattern { text: text.to_owned(), problem };
        let (scheme, rest) = text.split_once("://").ok_or(invalid("no scheme"))?;
        let (scheme, default_port) = match scheme {
            "https" => ("https", 443),
            "http" => ("http", 80),
            _ => return Err(invalid("the scheme is neither https nor http")),
        };
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, Some(default_port)),
            Some((host, "*")) => (host, None),
            Some((host, port)) => (host, Some(port.parse().map_err(|_| invalid("the port is no number up to 65535"))?)),
        };
        // The URL parser spells hosts in one way only (lower case, punycode); a pattern spelled otherwise would never match.
        let plain = host.replace('*', "x");
        let normal =
            matches!(Url::parse(&format!("https://{plain}/")).map(|url| url.host_str() == Some(&plain)), Ok(true));
        let labels_ok = host.split('.').all(|label| label == "*" || (!label.is_empty() && !label.contains('*')));
        if !normal || !labels_ok {
            return Err(invalid("the host is not a plain lower-case name or address"));
        }
        Ok(Self { text: text.to_owned(), scheme, host: host.to_owned(), port })
    }
}

impl fmt::Display for EndpointPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedEndpoints(Vec<EndpointPattern>);

impl AllowedEndpoints {
    pub fn new(patterns: Vec<EndpointPattern>) -> Self {
        Self(patterns)
    }

    /// True when credentials may be sent to `url`.
    pub fn allows(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        bare && matches!(url.host(), Some(Host::Domain(_) | Host::Ipv4(_)))
            && self.0.iter().any(|pattern| pattern.allows(url))
    }

    pub fn patterns(&self) -> &[EndpointPattern] {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], url: &str) -> bool {
        AllowedEndpoints::new(patterns.iter().map(|text| text.parse().unwrap()).collect()).allows(&url.parse().unwrap())
    }

    #[test]
    fn by_default_only_hosts_of_the_service_itself_are_allowed() {
        for url in [
            "https://roma.cn-north-4.myhuaweicloud.com",
            "https://ROMA.cn-north-4.myhuaweicloud.com:443/v2",
            "https://iam.myhuaweicloud.com",
            "https://iam.ap-southeast-3.myhuaweicloud.com",
            "https://iam.eu-west-101.myhuaweicloud.eu",
        ] {
            assert!(allowed(&HUAWEI_CLOUD, url), "{url}");
        }
        for url in [
            "http://roma.cn-north-4.myhuaweicloud.com",
            "https://roma.cn-north-4.myhuaweicloud.com:8443",
            "https://roma.a.b.myhuaweicloud.com",
            "https://roma.myhuaweicloud.com",
            "https://roma.cn-north-4.myhuaweicloud.com.evil.example",
            "https://roma.cn-north-4.myhuaweicloud.com.",
            "https://evil.example/roma.cn-north-4.myhuaweicloud.com",
            "https://roma.cn-north-4.myhuaweicloud.com@evil.example",
            "https://user@roma.cn-north-4.myhuaweicloud.com",
            "https://mybucket.obs.cn-north-4.myhuaweicloud.com",
            "https://[::1]",
        ] {
            assert!(!allowed(&HUAWEI_CLOUD, url), "{url}");
        }
    }

    #[test]
    fn a_star_stands_for_one_whole_label_or_any_port() {
        assert!(allowed(&["http://127.0.0.1:*"], "http://127.0.0.1:40123/path"));
        assert!(!allowed(&["http://127.0.0.1:*"], "https://127.0.0.1:40123"));
        assert!(allowed(&["https://*.corp.example:8443"], "https://roma.corp.example:8443"));
        assert!(!allowed(&["https://*.corp.example:8443"], "https://a.b.corp.example:8443"));
    }

    #[test]
    fn a_pattern_that_could_never_match_or_says_more_than_a_host_is_refused() {
        for text in [
            "roma.example",
            "ftp://roma.example",
            "https://",
            "https://roma-*.example",
            "https://Roma.example",
            "https://roma.example/path",
            "https://a@b.example",
            "https://roma.example:99999",
            "https://roma..example",
            "https://roma.example?x",
            "https://roma.example:",
        ] {
            assert!(text.parse::<EndpointPattern>().is_err(), "{text}");
        }
    }
}
