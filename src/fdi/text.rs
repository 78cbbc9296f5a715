//! Texts that come from outside, made fit for a status or a log: one line, bounded, without secrets.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};

/// Shorter values are not looked for: hiding every `a` would make messages unreadable and tell the secret as well.
const SCRUB_MIN: usize = 6;

/// `text` on one line without control characters, cut at a character boundary to at most `max` bytes.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let room = max.saturating_sub(line.len() + usize::from(!line.is_empty()));
        if room == 0 {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let fitting = cut(word, room);
        line.push_str(fitting);
        if fitting.len() < word.len() {
            break;
        }
    }
    line
}

/// The longest start of `text` that has at most `max` bytes and ends at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The secrets of one sign-in. A server that echoes what it was sent must not get them into a message.
pub(crate) struct Scrub(Vec<SecretString>);

impl Scrub {
    pub(crate) fn new(secrets: Vec<SecretString>) -> Self {
        Self(secrets)
    }

    /// The same and one more.
    pub(crate) fn and(&self, secret: Option<&SecretString>) -> Self {
        Self(self.0.iter().chain(secret).cloned().collect())
    }

    /// `text` with every secret replaced. To be called before `text` is cut: half a secret is one too.
    pub(crate) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in self.0.iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= SCRUB_MIN) {
            if clean.contains(secret) {
                clean = Cow::Owned(clean.replace(secret, "***"));
            }
        }
        clean
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_bounded_line() {
        assert_eq!(plain("  a\n\tb\u{7}  c ", 100), "a b c");
        assert_eq!(plain("数据集成", 7), "数据");
        assert_eq!(plain("one two", 5), "one t");
        assert_eq!(plain(" \n ", 10), "");
    }

    #[test]
    fn a_secret_in_a_text_is_replaced_and_a_short_one_left() {
        let scrub = Scrub::new(vec!["correct horse".into(), "a".into()]);
        assert_eq!(scrub.clean("bad password 'correct horse'"), "bad password '***'");
    }
}
