//! What a Secret must hold, and the sentence for each way in which it does not.

use k8s_openapi::api::core::v1::Secret;

use crate::crd::{Auth, SecretRef};
use crate::fdi::SignIn;
use crate::fdi::text::is_invisible;
use crate::reconcile::observation::failure::InstanceError;

/// Which Secret signs in.
pub fn reference(auth: &Auth) -> Result<&SecretRef, InstanceError> {
    let given: Vec<_> = [&auth.access_key, &auth.password, &auth.token].into_iter().flatten().collect();
    match given[..] {
        [one] => Ok(&one.secret_ref),
        _ => Err(InstanceError::SpecInvalid(
            "spec.auth must set exactly one of accessKey, password and token".to_owned(),
        )),
    }
}

/// Reads the keys that the sign-in method needs. A value that cannot be right is never sent:
/// refusals lock keys and users.
pub fn sign_in(auth: &Auth, name: &str, secret: Secret) -> Result<SignIn, InstanceError> {
    let data = Data { name, secret };
    if auth.access_key.is_some() {
        Ok(SignIn::AccessKey {
            access_key: data.ascii("accessKey")?.into(),
            secret_key: data.ascii("secretKey")?.into(),
            security_token: match data.value("securityToken")? {
                Some(_) => Some(data.ascii("securityToken")?.into()),
                None => None,
            },
        })
    } else if auth.password.is_some() {
        Ok(SignIn::Password {
            domain: data.text("domainName")?.to_owned(),
            user: data.text("userName")?.to_owned(),
            password: data.text("password")?.into(),
        })
    } else {
        Ok(SignIn::Token(data.ascii("token")?.into()))
    }
}

/// Why the API server did not return the Secret.
pub fn unreadable(name: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "the operator may not read the Secret \"{name}\": give its ServiceAccount the verb get on secrets in this namespace"
        ),
        kube::Error::Api(status) => {
            format!(
                "the Secret \"{name}\" could not be read: the API server answered {} {}; the operator tries again",
                status.code, status.reason
            )
        }
        _ => {
            format!("the Secret \"{name}\" could not be read: the API server did not answer; the operator tries again")
        }
    }
}

struct Data<'a> {
    name: &'a str,
    secret: Secret,
}

impl Data<'_> {
    /// The value without blanks and newlines around it.
    fn value(&self, key: &str) -> Result<Option<&str>, InstanceError> {
        let Some(bytes) = self.secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes.0).map_err(|_| self.wrong(key, "is not text"))?;
        match text.trim_matches(['\n', '\r', ' ', '\t']) {
            "" => Err(self.wrong(key, "is empty")),
            text => Ok(Some(text)),
        }
    }

    /// A value that a person may have chosen: a name or a password.
    fn text(&self, key: &str) -> Result<&str, InstanceError> {
        let text = self.value(key)?.ok_or_else(|| self.wrong(key, "is missing"))?;
        self.check(key, text, "is invisible", |c| c.is_control() || is_invisible(c))
    }

    /// A value that the cloud has issued. It goes into a header or a signature.
    fn ascii(&self, key: &str) -> Result<&str, InstanceError> {
        let text = self.value(key)?.ok_or_else(|| self.wrong(key, "is missing"))?;
        self.check(key, text, "is not printable ASCII", |c| !c.is_ascii_graphic())
    }

    /// `text`, unless one of its characters is `bad`.
    fn check<'a>(
        &self,
        key: &str,
        text: &'a str,
        how: &str,
        bad: impl Fn(char) -> bool,
    ) -> Result<&'a str, InstanceError> {
        match text.chars().position(bad) {
            None => Ok(text),
            Some(0) if text.starts_with('\u{feff}') => Err(self.wrong(key, "begins with a byte order mark")),
            Some(index) => Err(self.wrong(key, &format!("cannot be right: its character {} {how}", index + 1))),
        }
    }

    fn wrong(&self, key: &str, how: &str) -> InstanceError {
        InstanceError::SecretInvalid(format!("the key \"{key}\" of the Secret \"{}\" {how}: set it", self.name))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::crd::SecretAuth;

    fn secret(data: &[(&str, &[u8])]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    fn token(value: &[u8]) -> Result<SignIn, String> {
        let auth = Auth { token: Some(SecretAuth::default()), ..Auth::default() };
        sign_in(&auth, "roma", secret(&[("token", value)])).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn blanks_and_newlines_around_a_value_are_trimmed() {
        use secrecy::ExposeSecret as _;
        for value in [&b"abc\n"[..], b" abc\r\n", b"\tabc"] {
            let Ok(SignIn::Token(token)) = token(value) else { panic!("a token") };
            assert_eq!(token.expose_secret(), "abc");
        }
    }

    #[test]
    fn each_value_that_cannot_be_right_has_its_message() {
        let says = |value: &[u8]| token(value).unwrap_err();
        assert_eq!(says(b""), r#"the key "token" of the Secret "roma" is empty: set it"#);
        assert_eq!(says(b" \n"), r#"the key "token" of the Secret "roma" is empty: set it"#);
        assert_eq!(says(b"\xff\xfe"), r#"the key "token" of the Secret "roma" is not text: set it"#);
        let ascii =
            r#"the key "token" of the Secret "roma" cannot be right: its character 2 is not printable ASCII: set it"#;
        for value in ["a\0b", "a b", "a\u{e9}", "a\u{200b}b", "a\nb", "a\u{feff}"] {
            assert_eq!(says(value.as_bytes()), ascii, "{value:?}");
        }
        let auth = Auth { password: Some(SecretAuth::default()), ..Auth::default() };
        let missing = sign_in(&auth, "roma", Secret::default()).unwrap_err();
        assert_eq!(missing.message(), r#"the key "domainName" of the Secret "roma" is missing: set it"#);
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        let auth = Auth { access_key: Some(SecretAuth::default()), ..Auth::default() };
        let key = b"\xef\xbb\xbfSKlab000000000000000000000000000000000test\r\n";
        let error = sign_in(&auth, "roma", secret(&[("accessKey", b"AK"), ("secretKey", key)])).unwrap_err();
        assert_eq!(
            error.message(),
            r#"the key "secretKey" of the Secret "roma" begins with a byte order mark: set it"#
        );
    }

    #[test]
    fn names_and_passwords_may_have_any_visible_characters() {
        let auth = Auth { password: Some(SecretAuth::default()), ..Auth::default() };
        let password = |password: &str| {
            let data = [("domainName", "\u{6570}".as_bytes()), ("userName", b"u 1"), ("password", password.as_bytes())];
            sign_in(&auth, "roma", secret(&data)).map_err(|error| error.message().to_owned())
        };
        assert!(password("p\u{e4}ss w\u{f6}rd").is_ok());
        for (value, how) in [("a\u{200b}b", "its character 2 is invisible"), ("a\u{7}", "its character 2 is invisible")]
        {
            assert!(password(value).unwrap_err().contains(how));
        }
        assert!(password("\u{feff}a").unwrap_err().contains("begins with a byte order mark"));
    }
}
