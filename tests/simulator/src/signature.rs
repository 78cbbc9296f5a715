//! The `SDK-HMAC-SHA256` signature, from the verifier's side: everything is rebuilt from the
//! request as it was received (raw path, raw query, the headers named in `SignedHeaders`). Source:
//! signer of huaweicloudsdkcore 3.1.219 and the signing guide's "api-sign-algorithm" pages.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use ring::{digest, hmac};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// What a client may send as `X-Sdk-Content-Sha256` instead of a hash.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Everything but `A-Z a-z 0-9 - _ . ~` is percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// Percent-encoded, as received.
    pub path: &'a str,
    /// Percent-encoded, as received, without `?`; empty when there was none.
    pub query: &'a str,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

/// The parts of `Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=a;b, Signature=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    pub access: String,
    pub signed_headers: Vec<String>,
    pub signature: String,
}

impl Authorization {
    /// `None` when the header is not of this algorithm or lacks a part.
    pub fn parse(header: &str) -> Option<Self> {
        let rest = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let part = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name));
        Some(Self {
            access: part("Access=")?.to_owned(),
            signed_headers: part("SignedHeaders=")?.split(';').map(str::to_owned).collect(),
            signature: part("Signature=")?.to_owned(),
        })
    }
}

impl Signed<'_> {
    /// The value of a header, its name compared without regard to case; several values are joined
    /// by commas.
    fn header(&self, name: &str) -> Option<String> {
        let mut values =
            self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).peekable();
        values.peek()?;
        Some(values.collect::<Vec<_>>().join(","))
    }

    /// The six lines that are hashed: method, path, query, headers, header names, payload hash.
    /// `None` when a header named in `signed_headers` is not in the request.
    pub fn canonical_request(&self, signed_headers: &[String]) -> Option<String> {
        let mut headers = String::new();
        for name in signed_headers {
            let _ = writeln!(headers, "{}:{}", name.to_ascii_lowercase(), self.header(name)?);
        }
        Some(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method.to_ascii_uppercase(),
            canonical_path(self.path),
            canonical_query(self.query),
            signed_headers.join(";"),
            self.payload_hash(),
        ))
    }

    fn payload_hash(&self) -> String {
        match self.header("x-sdk-content-sha256") {
            Some(value) if value == UNSIGNED_PAYLOAD => value,
            _ => hex(digest::digest(&digest::SHA256, self.body).as_ref()),
        }
    }

    /// True when `authorization` was made with `secret` for exactly this request at `date` (its
    /// `X-Sdk-Date`).
    pub fn is_signed_with(&self, secret: &str, date: &str, authorization: &Authorization) -> bool {
        self.canonical_request(&authorization.signed_headers)
            .is_some_and(|canonical| signature(secret, &string_to_sign(date, &canonical)) == authorization.signature)
    }

    /// The `Authorization` header of this request: what an honest client would send.
    /// `None` when a header named in `signed_headers` is not in the request.
    pub fn authorize(&self, access: &str, secret: &str, date: &str, signed_headers: &[&str]) -> Option<String> {
        let names: Vec<String> = signed_headers.iter().map(|&name| name.to_owned()).collect();
        let signature = signature(secret, &string_to_sign(date, &self.canonical_request(&names)?));
        Some(format!("{ALGORITHM} Access={access}, SignedHeaders={}, Signature={signature}", names.join(";")))
    }
}

/// Decoded, split on `/`, each segment encoded again, ended by `/` (in this form only, never on the
/// wire).
fn canonical_path(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let mut canonical =
        decoded.split(|&b| b == b'/').map(|s| percent_encode(s, RESERVED).to_string()).collect::<Vec<_>>().join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// The pairs sorted by decoded name, then value, and encoded again.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query_pairs(query).collect();
    pairs.sort();
    let encode = |text: &[u8]| percent_encode(text, RESERVED).to_string();
    pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// The decoded pairs of a raw query in the order received. `+` is a space, as in every form
/// decoder; a name without `=` has an empty value; an empty piece (`&&`) is no pair.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    let decode = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect::<Vec<u8>>();
    query.split('&').filter(|piece| !piece.is_empty()).map(move |piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (decode(name), decode(value))
    })
}

fn string_to_sign(date: &str, canonical_request: &str) -> String {
    let hash = digest::digest(&digest::SHA256, canonical_request.as_bytes());
    format!("{ALGORITHM}\n{date}\n{}", hex(hash.as_ref()))
}

fn signature(secret: &str, string_to_sign: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex(hmac::sign(&key, string_to_sign.as_bytes()).as_ref())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
#[path = "signature_vectors.rs"]
mod vectors;
