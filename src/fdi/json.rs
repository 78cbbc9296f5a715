//! Tolerant reading of JSON: what is damaged or odd in one value must not spoil the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The body cannot be read as what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Replaces, in place, what may be in a string of a sloppy service but not in JSON: bytes that are
/// not UTF-8, half a surrogate pair, unknown escapes, control characters, a byte order mark.
pub fn mend(body: &mut [u8]) {
    // Nearly always there is nothing to mend, and that is found much faster than it is done.
    // Without a branch many bytes are compared at once.
    let odd = |part: &[u8]| part.iter().fold(0, |odd, &byte| odd | u8::from(byte == b'\\') | u8::from(byte < b' '));
    let plain = body.chunks(4096).all(|part| odd(part) == 0);
    if plain && std::str::from_utf8(body).is_ok_and(|text| !text.starts_with('\u{feff}')) {
        return;
    }
    if body.starts_with("\u{feff}".as_bytes()) {
        body[..3].fill(b' ');
    }
    let mut at = 0;
    while at < body.len() {
        at += match body[at] {
            b'\\' => mend_escape(&mut body[at..]),
            byte => {
                if byte < b' ' {
                    body[at] = b' ';
                }
                1
            }
        };
    }
    let mut valid = 0;
    while let Err(error) = std::str::from_utf8(&body[valid..]) {
        let from = valid + error.valid_up_to();
        valid = error.error_len().map_or(body.len(), |length| from + length);
        body[from..valid].fill(b'?');
    }
}

/// Mends the escape at the start of `text`. Returns its length.
fn mend_escape(text: &mut [u8]) -> usize {
    match (text.get(1), code_unit(text)) {
        (_, Some(0xD800..=0xDBFF)) if matches!(text.get(6..).and_then(code_unit), Some(0xDC00..=0xDFFF)) => 12,
        (_, Some(0xD800..=0xDFFF)) => {
            text[2..6].copy_from_slice(b"fffd");
            6
        }
        (_, Some(_)) => 6,
        (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), None) => 2,
        _ => {
            text[0] = b'?';
            1
        }
    }
}

/// The UTF-16 code unit of the `\uXXXX` at the start of `text`.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(text, 16).ok()
}

/// The body as text: [`mend`] makes it one.
///
/// # Errors
/// [`Malformed`] when it is not UTF-8.
pub fn utf8(body: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(body).map_err(|_| Malformed)
}

/// Calls `read` with each field of the object `json`, repeated ones included.
///
/// # Errors
/// [`Malformed`] when `json` is not an object.
pub fn each_field<'a>(json: &'a str, read: impl FnMut(&str, &'a RawValue)) -> Result<(), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Fields(read)).and_then(|()| deserializer.end()).map_err(|_| Malformed)
}

/// Calls the function with each field of an object.
pub struct Fields<F>(pub F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            (self.0)(&name.0, value);
        }
        Ok(())
    }
}

/// A string. Only one with escapes is copied.
#[derive(serde::Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The first `max` elements of the list that a field holds: `None` when it is missing or `null`.
///
/// # Errors
/// [`Malformed`] when the field is repeated or not a list.
pub fn elements<'a>(values: &[&'a RawValue], max: usize) -> Result<Option<Vec<&'a RawValue>>, Malformed> {
    struct Elements(usize);

    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                if elements.len() < self.0 {
                    elements.push(element);
                }
            }
            Ok(elements)
        }
    }

    match values {
        [] => Ok(None),
        [json] if json.get() == "null" => Ok(None),
        [json] => serde_json::Deserializer::from_str(json.get())
            .deserialize_seq(Elements(max))
            .map(Some)
            .map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

/// Any JSON value, of which only strings and integers are kept.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// Missing or `null`.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Integer(i64),
    /// Anything else.
    Other,
}

impl<'a> Scalar<'a> {
    pub fn new(json: &'a RawValue) -> Self {
        match json.get() {
            "null" => Self::Absent,
            text if text.starts_with('"') => {
                serde_json::from_str::<Text<'a>>(text).map_or(Self::Other, |text| Self::Text(text.0))
            }
            text => text.parse().map_or(Self::Other, Self::Integer),
        }
    }

    /// Takes in one more value of the same field. Values that differ are no value.
    pub fn add(&mut self, json: &'a RawValue) {
        let value = Self::new(json);
        if *self == Self::Absent {
            *self = value;
        } else if value != Self::Absent && value != *self {
            *self = Self::Other;
        }
    }

    /// The text, or the number as text.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Integer(number) => Some(Cow::Owned(number.to_string())),
            Self::Absent | Self::Other => None,
        }
    }

    /// A count: a number that is not negative, or its text.
    ///
    /// # Errors
    /// [`Malformed`] when there is a value that is no count.
    pub fn count(&self) -> Result<Option<usize>, Malformed> {
        match self {
            Self::Absent => Ok(None),
            Self::Integer(number) => usize::try_from(*number).map(Some).map_err(|_| Malformed),
            Self::Text(text) => text.trim().parse().map(Some).map_err(|_| Malformed),
            Self::Other => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &[u8]) -> String {
        let mut bytes = text.to_vec();
        mend(&mut bytes);
        assert_eq!(bytes.len(), text.len(), "it is mended in place");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn damaged_strings_become_valid_json_and_valid_ones_stay() {
        for (text, expected) in [
            (&br#""\ud83d\ude00 \\ud83d \n \u0000 \"""#[..], r#""\ud83d\ude00 \\ud83d \n \u0000 \"""#),
            (br#""\ud83d""#, r#""\ufffd""#),
            (br#""\uDE00\ud83d\n""#, r#""\ufffd\ufffd\n""#),
            (br#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (br#""\x41 \u12g4 \u+123""#, r#""?x41 ?u12g4 ?u+123""#),
            (b"\"a\xff\xfe\xe6\x95\"", r#""a????""#),
            (b"\"\xe6\x95\xb0\"", "\"\u{6570}\""),
            (b"\"a\tb\x00\n\"", "\"a b  \""),
            (b"\xef\xbb\xbf{}", "   {}"),
            (b"\\", "?"),
            (b"\"\xe6\x95", "\"??"),
        ] {
            assert_eq!(mended(text), expected);
        }
    }

    #[test]
    fn each_value_is_read_by_itself() {
        let mut seen = Vec::new();
        let json = r#"{"a":1e999,"b":[[{}]],"c":"x","c":2,"\u0064":null,"e":-7,"f":1.0,"g":9223372036854775808}"#;
        each_field(json, |key, value| seen.push((key.to_owned(), Scalar::new(value)))).unwrap();
        let scalars: Vec<Scalar<'_>> = seen.iter().map(|(_, scalar)| scalar.clone()).collect();
        let text = Scalar::Text("x".into());
        let [two, minus_seven] = [2, -7].map(Scalar::Integer);
        let other = || Scalar::Other;
        assert_eq!(scalars, [other(), other(), text, two, Scalar::Absent, minus_seven, other(), other()]);
        assert_eq!(seen.iter().map(|(key, _)| key.as_str()).collect::<String>(), "abccdefg");
        for json in ["", "[]", "null", "{", "{} {}", r#"{"a"}"#, "<html>"] {
            assert!(each_field(json, |_, _| {}).is_err(), "{json}");
        }
    }

    #[test]
    fn repeated_fields_that_differ_have_no_value() {
        fn read(json: &str) -> Scalar<'_> {
            let mut scalar = Scalar::default();
            each_field(json, |_, value| scalar.add(value)).unwrap();
            scalar
        }
        assert_eq!(read(r#"{"a":1,"a":1}"#), Scalar::Integer(1));
        assert_eq!(read(r#"{"a":null,"a":1}"#), Scalar::Integer(1));
        assert_eq!(read(r#"{"a":1,"a":0}"#), Scalar::Other);
    }
}
