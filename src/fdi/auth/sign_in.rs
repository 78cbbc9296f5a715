//! The three ways to sign in: an access key that signs each request, a password for which IAM
//! issues a token, or a token from elsewhere.

use std::fmt;

use http::header::{HeaderName, HeaderValue};
use ring::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};

use crate::fdi::error::{CallError, Cause, Class};
use crate::fdi::text::Redactor;

pub const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How to sign in, with the Secret's values.
#[derive(Clone)]
pub enum SignIn {
    /// An IAM token for the project, made elsewhere.
    Token(SecretString),
    /// An IAM user; `domain` is the account's name.
    Password { domain: String, user: String, password: SecretString },
    /// A permanent access key, or a temporary one with its security token.
    AccessKey { access_key: SecretString, secret_key: SecretString, security_token: Option<SecretString> },
}

/// The three ways, for messages that depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Token,
    Password,
    AccessKey,
}

/// SHA-256 over all data of a [`SignIn`]: equal exactly when the data are. It has no readable form,
/// because the hash of a short password reveals the password.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

impl Fingerprint {
    fn of(parts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        // Each part follows its length, so that different parts never join to the same bytes.
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl SignIn {
    /// Shows whether a Secret's data has changed, without keeping the data.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.parts())
    }

    /// Whom refusals can lock, whichever secret is sent: the access key or the user.
    pub fn principal(&self) -> Option<Fingerprint> {
        match self {
            Self::Token(_) => None,
            Self::Password { .. } => Some(Fingerprint::of(&self.parts()[..3])),
            Self::AccessKey { .. } => Some(Fingerprint::of(&self.parts()[..2])),
        }
    }

    fn parts(&self) -> Vec<&str> {
        match self {
            Self::Token(token) => vec!["token", token.expose_secret()],
            Self::Password { domain, user, password } => vec!["password", domain, user, password.expose_secret()],
            Self::AccessKey { access_key, secret_key, security_token } => {
                let mut parts = vec!["accessKey", access_key.expose_secret(), secret_key.expose_secret()];
                parts.extend(security_token.as_ref().map(ExposeSecret::expose_secret));
                parts
            }
        }
    }

    pub fn method(&self) -> Method {
        match self {
            Self::Token(_) => Method::Token,
            Self::Password { .. } => Method::Password,
            Self::AccessKey { .. } => Method::AccessKey,
        }
    }

    /// Keeps the secret values out of messages.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(match self {
            Self::Token(token) => vec![token.clone()],
            Self::Password { password, .. } => vec![password.clone()],
            Self::AccessKey { access_key, secret_key, security_token } => {
                [Some(secret_key), security_token.as_ref(), Some(access_key)].into_iter().flatten().cloned().collect()
            }
        })
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignIn::{:?}", self.method())
    }
}

impl Method {
    /// What to do about a refusal without a more specific hint.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Token => {
                "Tokens end after 24 hours. Put a new token into the Secret, or sign in with accessKey or password."
            }
            Self::Password => "Check domainName, userName and password in the Secret.",
            Self::AccessKey => "Check accessKey and secretKey in the Secret, and securityToken for a temporary key.",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::AccessKey => "accessKey or securityToken",
        }
    }
}

/// `value` as a header that debug output does not show.
///
/// # Errors
/// Class `SignIn` when the value contains characters that a header cannot carry.
pub fn secret_header(method: Method, value: &str) -> Result<HeaderValue, CallError> {
    let mut header = HeaderValue::from_str(value).ok().filter(|_| !value.is_empty()).ok_or_else(|| {
        let message = format!(
            "The Secret's {} is empty or has characters that cannot be sent. Check that the Secret holds the plain value.",
            method.key()
        );
        CallError::new(Class::SignIn, Cause::SignInRefused, "SecretNotSendable", &message)
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_key(security_token: Option<&str>) -> SignIn {
        SignIn::AccessKey {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "s3cr3t-key".into(),
            security_token: security_token.map(Into::into),
        }
    }

    #[test]
    fn fingerprints_are_equal_exactly_when_the_data_are() {
        let password = |domain: &str, user: &str| SignIn::Password {
            domain: domain.into(),
            user: user.into(),
            password: "s3cr3t-pw".into(),
        };
        assert_eq!(access_key(None).fingerprint(), access_key(None).fingerprint());
        assert_ne!(access_key(None).fingerprint(), access_key(Some("")).fingerprint());
        assert_ne!(password("ab", "c").fingerprint(), password("a", "bc").fingerprint());
        assert_ne!(SignIn::Token("a".into()).fingerprint(), SignIn::Token("b".into()).fingerprint());
    }

    #[test]
    fn values_for_one_key_or_user_have_one_principal_whatever_the_secret() {
        assert_eq!(access_key(None).principal(), access_key(Some("st")).principal());
        let user = |user: &str, password: &str| SignIn::Password {
            domain: "d".into(),
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(user("u", "a").principal(), user("u", "b").principal());
        assert_ne!(user("u", "a").principal(), user("v", "a").principal());
        assert_eq!(SignIn::Token("a".into()).principal(), None, "no number of refusals locks a token");
    }

    #[test]
    fn debug_output_shows_the_method_and_no_value() {
        let shown = format!("{:?} {:?}", access_key(Some("s3cr3t-st")), access_key(None).fingerprint());
        assert_eq!(shown, "SignIn::AccessKey Fingerprint");
    }

    #[test]
    fn a_value_that_no_header_can_carry_is_refused_without_being_shown() {
        for value in ["", "a\nb", "a\u{7f}b"] {
            let error = secret_header(Method::Token, value).err().map(|error| (error.class, error.message));
            let (class, message) = error.unwrap_or((Class::Config, String::new()));
            assert_eq!(class, Class::SignIn);
            assert!(message.starts_with("The Secret's token is empty or has characters"), "{message}");
        }
        assert!(secret_header(Method::Token, "MIIa+/=").is_ok_and(|header| header.is_sensitive()));
    }
}
