//! Where credentials may go: regions, endpoints in one normal form, and the allow-list.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::fdi::error::{CallError, Cause, Class};

/// Hosts that are allowed without configuration. Here `*` is a region: any other label would cover
/// names that customers of the cloud can choose, such as `roma.obs`, the bucket named "roma".
const DEFAULT_PATTERNS: [&str; 4] = [
    "https://roma.*.myhuaweicloud.com",
    "https://iam.myhuaweicloud.com",
    "https://iam.*.myhuaweicloud.com",
    "https://iam.eu-west-101.myhuaweicloud.eu",
];

/// Domains of the public cloud, whose regions share users and keys.
const CLOUD_SITES: [&str; 2] = [".myhuaweicloud.com", ".myhuaweicloud.eu"];

/// Where an instance is: a region of the public cloud, or an endpoint's URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    Region(String),
    Endpoint(String),
}

/// An allowed origin in its normal form: `scheme://host[:port]` in lower case, without default
/// port, trailing dot or slash. Two spellings of one endpoint are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    origin: String,
    host: String,
    port: u16,
    https: bool,
    loopback: bool,
}

/// A pattern of the allow-list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} cannot be an allowed endpoint: {reason}")]
pub struct InvalidPattern {
    pub pattern: String,
    pub reason: &'static str,
}

/// The endpoints that credentials may be sent to.
#[derive(Debug, Clone)]
pub struct AllowList {
    /// Of the public cloud.
    defaults: Vec<Endpoint>,
    /// From the operator's configuration.
    extra: Vec<Endpoint>,
    allow_insecure: bool,
}

impl Endpoint {
    /// Reads and normalizes `text`. Path prefixes are refused, because signatures cover the path
    /// and a gateway that adds one breaks them; so is everything else besides scheme, host and
    /// port.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "it is not a URL such as https://roma.example.com")?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("it must begin with https://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must not have a query or fragment");
        }
        if url.path() != "/" {
            return Err("it must not have a path");
        }
        let (host, loopback) = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                if name.is_empty() || name.split('.').any(str::is_empty) {
                    return Err("its host name has an empty label");
                }
                (name.to_owned(), is_localhost(name))
            }
            Some(Host::Ipv4(address)) => (address.to_string(), is_this_machine(address)),
            Some(Host::Ipv6(address)) => (format!("[{address}]"), is_this_machine_v6(address)),
            None => return Err("it has no host"),
        };
        let port = url.port_or_known_default().ok_or("it has no port")?;
        let shown_port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let origin = format!("{}://{host}{shown_port}", url.scheme());
        Ok(Self { origin, host, port, https, loopback })
    }

    /// `scheme://host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.origin
    }

    /// `host[:port]` as the `Host` header has it.
    pub fn authority(&self) -> &str {
        self.origin.split_once("://").map_or(&self.origin, |(_, authority)| authority)
    }

    /// Whose users and keys sign in here: those of the public cloud as a whole, or of this origin.
    pub fn site(&self) -> &str {
        CLOUD_SITES.into_iter().find(|site| self.host.ends_with(site)).unwrap_or(&self.origin)
    }

    /// Whether `self`, read as a pattern, covers `endpoint`; `star` says what a `*` stands for.
    fn covers(&self, endpoint: &Self, star: fn(&str) -> bool) -> bool {
        self.https == endpoint.https && self.port == endpoint.port && self.covers_host(&endpoint.host, star)
    }

    fn covers_host(&self, host: &str, star: fn(&str) -> bool) -> bool {
        let (mut pattern, mut labels) = (self.host.split('.'), host.split('.'));
        loop {
            match (pattern.next(), labels.next()) {
                (None, None) => break true,
                (Some("*"), Some(label)) if star(label) => {}
                (Some(wanted), Some(label)) if wanted == label => {}
                _ => break false,
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn any_label(_: &str) -> bool {
    true
}

/// Whether `text` has the form of a region, such as `cn-north-4` or `my-kualalumpur-1`. Names that
/// customers or other services have in the same domain do not.
fn is_region(text: &str) -> bool {
    let lower = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut parts = text.split('-');
    let (country, area, number, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    country.is_some_and(|country| country.len() == 2 && lower(country))
        && area.is_some_and(lower)
        && number.is_some_and(|number| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
        && rest.is_none()
}

/// Loopback, and the unspecified address, which leads there too.
fn is_this_machine(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

fn is_this_machine_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unspecified() || address.to_ipv4_mapped().is_some_and(is_this_machine)
}

impl AllowList {
    /// The defaults and the `extra` patterns: `https://host[:port]`, where a label of the host may
    /// be `*`. With `allow_insecure`, loopback is allowed (any scheme and port), and so are
    /// `http://` patterns.
    ///
    /// # Errors
    /// [`InvalidPattern`] for a pattern that can never match, or whose `*` is not a single label.
    pub fn new(extra: &[String], allow_insecure: bool) -> Result<Self, InvalidPattern> {
        let defaults = DEFAULT_PATTERNS.into_iter().map(|text| pattern(text, false)).collect::<Result<_, _>>()?;
        let extra = extra.iter().map(|text| pattern(text, allow_insecure)).collect::<Result<_, _>>()?;
        Ok(Self { defaults, extra, allow_insecure })
    }

    /// Whether `host` may have a private address: because the configuration names it, or because it
    /// is this machine.
    pub fn may_be_private(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.extra.iter().any(|pattern| pattern.covers_host(&host, any_label))
            || (self.allow_insecure && is_localhost(&host))
    }

    /// The endpoint of the instance at `location`.
    ///
    /// # Errors
    /// `EndpointNotAllowed`, with the allowed endpoints.
    pub fn roma(&self, location: &Location) -> Result<Endpoint, CallError> {
        match location {
            Location::Region(region) => {
                let region = region_name(region)?;
                self.check("region", &format!("https://roma.{region}.myhuaweicloud.com"))
            }
            Location::Endpoint(endpoint) => self.check("endpoint", endpoint),
        }
    }

    /// The IAM endpoint for an instance at `location`, unless `iam_endpoint` names another one.
    ///
    /// # Errors
    /// `EndpointNotAllowed`; also when no IAM endpoint can be derived from `location`.
    pub fn iam(&self, location: &Location, iam_endpoint: Option<&str>) -> Result<Endpoint, CallError> {
        if let Some(endpoint) = iam_endpoint {
            return self.check("iamEndpoint", endpoint);
        }
        let region = match location {
            Location::Region(region) => Some(region_name(region)?),
            Location::Endpoint(_) => {
                let host = self.roma(location)?.host;
                let region = host.strip_prefix("roma.").and_then(|rest| rest.strip_suffix(".myhuaweicloud.com"));
                region.map(str::to_owned)
            }
        };
        match region.as_deref() {
            // The one region in a domain of its own, and the one without an IAM of its own.
            Some("eu-west-101") => self.check("region", "https://iam.eu-west-101.myhuaweicloud.eu"),
            Some("ru-northwest-2") => self.check("region", "https://iam.myhuaweicloud.com"),
            Some(region) => self.check("region", &format!("https://iam.{region}.myhuaweicloud.com")),
            None => Err(CallError::new(
                Class::Config,
                Cause::EndpointNotAllowed,
                "NoIamEndpoint",
                "To sign in with a password at an own endpoint, iamEndpoint must be set too.",
            )),
        }
    }

    fn check(&self, field: &str, text: &str) -> Result<Endpoint, CallError> {
        let shown = shown(text);
        let endpoint = Endpoint::parse(text)
            .map_err(|reason| not_allowed(&format!("{field} {shown} cannot be used: {reason}.")))?;
        if endpoint.host.contains('*') {
            return Err(not_allowed(&format!("{field} {shown} cannot be used: its host must not have a *.")));
        }
        if endpoint.loopback {
            return self.allow_insecure.then_some(endpoint).ok_or_else(|| {
                not_allowed(&format!(
                    "{field} {shown} is not allowed: it is the operator's own machine, and the operator was not started with --allow-insecure-endpoints."
                ))
            });
        }
        if !endpoint.https && !self.allow_insecure {
            return Err(not_allowed(&format!(
                "{field} {shown} is not allowed: it must begin with https://, because the operator was not started with --allow-insecure-endpoints."
            )));
        }
        if self.defaults.iter().any(|pattern| pattern.covers(&endpoint, is_region))
            || self.extra.iter().any(|pattern| pattern.covers(&endpoint, any_label))
        {
            return Ok(endpoint);
        }
        let allowed: Vec<&str> = self.defaults.iter().chain(&self.extra).map(Endpoint::as_str).collect();
        Err(not_allowed(&format!(
            "{field} {shown} is not in the operator's list of allowed endpoints: correct it, or have the operator \
             started with it in --allowed-endpoints. Allowed are {} (a * is a region, such as cn-north-4; in those of \
             --allowed-endpoints it is any one label).",
            allowed.join(", ")
        )))
    }
}

fn pattern(text: &str, allow_insecure: bool) -> Result<Endpoint, InvalidPattern> {
    let invalid = |reason| InvalidPattern { pattern: text.to_owned(), reason };
    let pattern = Endpoint::parse(text).map_err(invalid)?;
    if pattern.host.split('.').any(|label| label.contains('*') && label != "*") {
        return Err(invalid("a * must stand for a whole label"));
    }
    let own = pattern.host.split('.').rev().take_while(|label| *label != "*").count();
    if own < 2 && pattern.host.contains('*') {
        return Err(invalid("the last two labels of the host must not be *"));
    }
    if !allow_insecure && (pattern.loopback || !pattern.https) {
        return Err(invalid("plain http and loopback need --allow-insecure-endpoints"));
    }
    Ok(pattern)
}

/// A DNS label (RFC 1123), as the names of namespaces are.
pub fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| alphanumeric(&byte) || byte == b'-')
        && [text.as_bytes().first(), text.as_bytes().last()].into_iter().flatten().all(alphanumeric)
}

/// A region in lower case.
fn region_name(region: &str) -> Result<String, CallError> {
    let region = region.to_ascii_lowercase();
    if is_region(&region) {
        return Ok(region);
    }
    let shown = shown(&region);
    Err(not_allowed(&format!("region {shown} cannot be used: it must have the form of a region, such as cn-north-4.")))
}

/// What a user wrote, quoted for a message; a password in it is not repeated.
fn shown(text: &str) -> String {
    let text = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://***{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    };
    format!("\"{}\"", crate::fdi::text::single_line(&text, 100))
}

fn not_allowed(message: &str) -> CallError {
    CallError::new(Class::Config, Cause::EndpointNotAllowed, "EndpointNotAllowed", message)
}

#[cfg(test)]
mod tests;
