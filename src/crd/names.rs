//! Names of Kubernetes objects.

/// What the API server accepts as the name of an object: labels of a DNS name, joined by dots.
pub(super) const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Whether a text matches [`DNS_NAME`] and is not too long.
pub fn is_dns_name(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().all(|byte| alphanumeric(&byte) || byte == b'-')
            && label.as_bytes().first().is_some_and(alphanumeric)
            && label.as_bytes().last().is_some_and(alphanumeric)
    };
    text.len() <= 253 && text.split('.').all(label)
}
