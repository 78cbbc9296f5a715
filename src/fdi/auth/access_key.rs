//! `SDK-HMAC-SHA256`, the cloud's signature over a request (developer guide "API signing"; test
//! vectors of the official SDK). Unlike AWS' scheme it uses the key directly, without date or
//! region scope.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

/// Name of the scheme, the first word of the `Authorization` header.
const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// What is percent-encoded in paths and queries: everything but `A-Z a-z 0-9 - _ . ~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as the signature sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path as it goes over the wire, percent-encoded.
    pub path: &'a str,
    /// Query as it goes over the wire, percent-encoded, without `?`.
    pub query: &'a str,
    /// Every header to be signed, `Host` and `X-Sdk-Date` included. Names with `_` are left out, as
    /// the SDK does.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The request in its canonical form.
    pub fn canonical(&self) -> String {
        let headers = self.signed_headers();
        let mut lines = String::new();
        for (name, value) in &headers {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{name}:{value}");
        }
        format!(
            "{}\n{}\n{}\n{lines}\n{}\n{}",
            self.method.to_ascii_uppercase(),
            canonical_path(self.path),
            canonical_query(self.query),
            names(&headers),
            hex(digest(&SHA256, self.body).as_ref())
        )
    }

    /// What is signed: the scheme, the date, and the hash of the canonical request.
    pub fn string_to_sign(&self, date: &str) -> String {
        format!("{ALGORITHM}\n{date}\n{}", hex(digest(&SHA256, self.canonical().as_bytes()).as_ref()))
    }

    /// Signature of the request, in lower-case hex.
    pub fn signature(&self, secret_key: &str, date: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_bytes());
        hex(hmac::sign(&key, self.string_to_sign(date).as_bytes()).as_ref())
    }

    /// Value of the `Authorization` header. `date` is the value of `X-Sdk-Date`.
    pub fn authorization(&self, access_key: &str, secret_key: &str, date: &str) -> String {
        let names = names(&self.signed_headers());
        let signature = self.signature(secret_key, date);
        format!("{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature}")
    }

    /// Names in lower case and trimmed values, by name.
    fn signed_headers(&self) -> Vec<(String, &str)> {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !name.contains('_'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        headers.sort();
        headers
    }
}

/// `now` as `X-Sdk-Date` has it: `YYYYMMDDTHHMMSSZ` in UTC.
pub fn sdk_date(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Decoded, split at `/`, each segment encoded again, and closed with a `/` that is not on the
/// wire. An encoded `/` becomes a separator: a quirk of the official SDK that the service shares.
fn canonical_path(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut canonical = decoded.split('/').map(encoded).collect::<Vec<_>>().join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// Pairs by name, then value, each encoded again. Sorted before encoding.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode_str(name).decode_utf8_lossy(), percent_decode_str(value).decode_utf8_lossy())
        })
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

fn names(headers: &[(String, &str)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// `text` with everything but `A-Z a-z 0-9 - _ . ~` percent-encoded.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A request of this client before it is signed.
pub struct Parts<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub content_type: &'a str,
    pub project_id: &'a str,
    pub body: &'a [u8],
}

impl Parts<'_> {
    /// The headers to add to the request: the signature, and the signed ones besides `Content-Type`
    /// and `Host`, which the HTTP client sends.
    pub fn sign(
        &self,
        access_key: &SecretString,
        secret_key: &SecretString,
        security_token: Option<&SecretString>,
        now: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let date = sdk_date(now);
        let mut headers = vec![
            ("content-type", self.content_type),
            ("host", self.host),
            ("x-project-id", self.project_id),
            ("x-sdk-date", &date),
        ];
        headers.extend(security_token.map(|token| ("x-security-token", token.expose_secret())));
        let request =
            Request { method: self.method, path: self.path, query: self.query, headers: &headers, body: self.body };
        let authorization = request.authorization(access_key.expose_secret(), secret_key.expose_secret(), &date);
        let added = headers.iter().filter(|(name, _)| name.starts_with("x-"));
        let added = added.map(|(name, value)| (*name, (*value).to_owned()));
        [("authorization", authorization)].into_iter().chain(added).collect()
    }
}

#[cfg(test)]
mod tests;
