//! Prepares texts from outside for a status or a log: one line, bounded, without secrets.

use std::borrow::Cow;
use std::fmt::Display;

use secrecy::{ExposeSecret, SecretString};

/// Shorter values are not redacted: hiding every `a` would garble messages and reveal the secret as
/// well.
const SECRET_MIN: usize = 6;

/// Whether `c` is invisible and may change how the text around it is shown: bidi controls,
/// zero-width characters, tags. Joiners of scripts and emoji are not among them.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line with printable characters only, cut at a character to at most `max` bytes.
pub fn single_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    let visible: String = text.chars().filter(|&c| !is_invisible(c)).collect();
    for word in visible.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let room = max.saturating_sub(line.len() + usize::from(!line.is_empty()));
        if room == 0 {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let fitting = prefix(word, room);
        line.push_str(fitting);
        if fitting.len() < word.len() {
            break;
        }
    }
    line
}

/// `text` with printable characters only and at most `max` bytes, cut at a character with an
/// ellipsis. For texts whose author sees that something is missing.
pub fn truncate(text: &str, max: usize) -> String {
    let visible = text.chars().filter(|&c| !is_invisible(c));
    let clean: String = visible.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= max {
        return clean;
    }
    format!("{}…", prefix(&clean, max.saturating_sub('…'.len_utf8())))
}

/// The longest start of `text` that has at most `max` bytes and ends at a character boundary.
pub fn prefix(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// At most `max` items by name and the number of the others: "a, b and 3 more".
pub fn listed<T: AsRef<str>>(items: impl IntoIterator<Item = T>, max: usize) -> String {
    let mut items = items.into_iter();
    let first: Vec<T> = items.by_ref().take(max).collect();
    let names = first.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    match items.count() {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// A number and what is counted: "1 task", "2 tasks".
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// The secrets of one sign-in, which a server may echo and no message may contain.
#[derive(Debug)]
pub struct Redactor(Vec<SecretString>);

impl Redactor {
    pub fn new(secrets: Vec<SecretString>) -> Self {
        Self(secrets)
    }

    /// The same and one more.
    pub fn with(&self, secret: Option<&SecretString>) -> Self {
        Self(self.0.iter().chain(secret).cloned().collect())
    }

    /// `text` with every secret replaced. Call it before truncating: half a secret is a secret too.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in self.0.iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= SECRET_MIN) {
            if clean.contains(secret) {
                clean = Cow::Owned(clean.replace(secret, "***"));
            }
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_bounded_line() {
        assert_eq!(single_line("  a\n\tb\u{7}  c ", 100), "a b c");
        assert_eq!(single_line("数据集成", 7), "数据");
        assert_eq!(single_line("one two", 5), "one t");
        assert_eq!(single_line(" \n ", 10), "");
    }

    #[test]
    fn characters_that_change_how_others_are_shown_are_removed() {
        let text = "a\u{202e}b\u{2066}\u{200b}\u{feff}c\u{2028}d\u{e0041}";
        assert_eq!(single_line(text, 100), "abc d");
        assert_eq!(truncate(text, 100), "abc\u{2028}d");
        assert_eq!(single_line("\u{1f468}\u{200d}\u{1f469}", 100), "\u{1f468}\u{200d}\u{1f469}", "one emoji");
    }

    #[test]
    fn a_long_text_is_truncated_at_a_character_with_an_ellipsis() {
        assert_eq!(truncate("a\nb", 10), "a b");
        assert_eq!(truncate("数据集成", 10), "数据…");
    }

    #[test]
    fn a_long_enumeration_names_the_first_and_counts_the_others() {
        assert_eq!(listed(["a", "b"], 2), "a, b");
        assert_eq!(listed(["a", "b", "c", "d"], 2), "a, b and 2 more");
    }

    #[test]
    fn a_secret_in_a_text_is_replaced_and_a_short_one_left() {
        let redactor = Redactor::new(vec!["correct horse".into(), "a".into()]);
        assert_eq!(redactor.redact("bad password 'correct horse'"), "bad password '***'");
    }
}
