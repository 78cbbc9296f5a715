//! What a Secret must hold, and the sentence for each way in which it does not.

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use crate::crd::{Auth, SecretRef};
use crate::fdi::SignIn;
use crate::reconcile::observation::failure::InstanceError;

/// Which Secret signs in.
pub(super) fn reference(auth: &Auth) -> Result<&SecretRef, InstanceError> {
    let given: Vec<_> = [&auth.access_key, &auth.password, &auth.token].into_iter().flatten().collect();
    match given[..] {
        [one] => Ok(&one.secret_ref),
        _ => Err(InstanceError::SpecInvalid(
            "spec.auth must set exactly one of accessKey, password and token".to_owned(),
        )),
    }
}

/// Reads the keys that the sign-in method needs.
pub(super) fn sign_in(auth: &Auth, name: &str, secret: Secret) -> Result<SignIn, InstanceError> {
    let data = Data { name, secret };
    if auth.access_key.is_some() {
        Ok(SignIn::AccessKey {
            access_key: data.value("accessKey")?,
            secret_key: data.value("secretKey")?,
            security_token: data.optional("securityToken")?,
        })
    } else if auth.password.is_some() {
        Ok(SignIn::Password {
            domain: data.text("domainName")?,
            user: data.text("userName")?,
            password: data.value("password")?,
        })
    } else {
        Ok(SignIn::Token(data.value("token")?))
    }
}

/// Why the API server did not give us the Secret.
pub(super) fn unreadable(name: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "the operator may not read the Secret {name}: give its ServiceAccount the verb get on secrets in this namespace"
        ),
        kube::Error::Api(status) => {
            format!("the Secret {name} could not be read: the API server answered {} {}", status.code, status.reason)
        }
        _ => format!("the Secret {name} could not be read: the API server did not answer"),
    }
}

struct Data<'a> {
    name: &'a str,
    secret: Secret,
}

impl Data<'_> {
    fn optional(&self, key: &str) -> Result<Option<SecretString>, InstanceError> {
        let Some(bytes) = self.secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes.0).ok().map(|text| text.trim_matches(['\n', '\r', ' ', '\t']));
        match text {
            // A header or a JSON text could not carry it, so it cannot be what was meant.
            Some(text) if text.chars().any(char::is_control) => Err(self.wrong(key, "has control characters")),
            None => Err(self.wrong(key, "is not text")),
            Some("") => Err(self.wrong(key, "is empty")),
            Some(text) => Ok(Some(SecretString::from(text))),
        }
    }

    fn value(&self, key: &str) -> Result<SecretString, InstanceError> {
        self.optional(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn text(&self, key: &str) -> Result<String, InstanceError> {
        use secrecy::ExposeSecret as _;
        Ok(self.value(key)?.expose_secret().to_owned())
    }

    fn wrong(&self, key: &str, how: &str) -> InstanceError {
        InstanceError::SecretInvalid(format!("the key {key} of the Secret {} {how}: set it", self.name))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::crd::SecretAuth;

    fn token(value: &[u8]) -> Result<SignIn, String> {
        let auth = Auth { token: Some(SecretAuth::default()), ..Auth::default() };
        let data = [("token".to_owned(), ByteString(value.to_vec()))].into();
        let secret = Secret { data: Some(data), ..Secret::default() };
        sign_in(&auth, "roma", secret).map_err(|problem| problem.message().to_owned())
    }

    #[test]
    fn a_trailing_newline_is_trimmed() {
        use secrecy::ExposeSecret as _;
        let Ok(SignIn::Token(token)) = token(b"abc\n") else { panic!("a token") };
        assert_eq!(token.expose_secret(), "abc");
    }

    #[test]
    fn every_way_to_be_wrong_has_its_sentence() {
        let says = |value: &[u8]| token(value).unwrap_err();
        assert_eq!(says(b""), "the key token of the Secret roma is empty: set it");
        assert_eq!(says(b" \n"), "the key token of the Secret roma is empty: set it");
        assert_eq!(says(b"\xff\xfe"), "the key token of the Secret roma is not text: set it");
        assert_eq!(says(b"a\x00b"), "the key token of the Secret roma has control characters: set it");
        let auth = Auth { password: Some(SecretAuth::default()), ..Auth::default() };
        let missing = sign_in(&auth, "roma", Secret::default()).unwrap_err();
        assert_eq!(missing.message(), "the key domainName of the Secret roma is missing: set it");
    }
}
