//! One page of a list, whatever its entries are: the tasks of an instance, or the runs of one task.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::fdi::json::{Fields, Malformed, Scalar, Text, each_field, utf8};

/// One page.
#[derive(Debug)]
pub struct ListPage<'a, T> {
    pub total: Scalar<'a>,
    /// `None` when the list is missing or `null`; within it, for an entry that is not an object.
    pub entities: Option<Vec<Option<T>>>,
}

impl<'a, T: Default> ListPage<'a, T> {
    /// At most `max` entries are kept. `add` takes a field into its entry.
    ///
    /// # Errors
    /// [`Malformed`] when `body` is not an object, or its list is not one or is repeated.
    pub fn decode(body: &'a [u8], max: usize, add: fn(&mut T, &str, &'a RawValue)) -> Result<Self, Malformed> {
        let body = utf8(body)?;
        // Nearly always every entry is an object, and one pass over the body is enough.
        let read = |isolated| Reader { max, isolated, add }.read(body);
        read(false).or_else(|_| read(true)).map_err(|_| Malformed)
    }
}

/// How a page is read.
struct Reader<'a, T> {
    max: usize,
    /// Each entry is read by itself, in a second pass over it, so that one which is not an object
    /// does not spoil the page.
    isolated: bool,
    add: fn(&mut T, &str, &'a RawValue),
}

impl<'a, T: Default> Reader<'a, T> {
    fn read(&self, body: &'a str) -> serde_json::Result<ListPage<'a, T>> {
        let mut deserializer = serde_json::Deserializer::from_str(body);
        let page = deserializer.deserialize_map(Page(self))?;
        deserializer.end()?;
        Ok(page)
    }
}

struct Page<'r, 'a, T>(&'r Reader<'a, T>);

impl<'de, T: Default> Visitor<'de> for Page<'_, 'de, T> {
    type Value = ListPage<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut total, mut entities) = (Scalar::default(), None);
        while let Some(name) = map.next_key::<Text<'de>>()? {
            match &*name.0 {
                "total" => total.add(map.next_value()?),
                "entities" if entities.is_some() => return Err(A::Error::duplicate_field("entities")),
                "entities" => entities = Some(map.next_value_seed(Entities(self.0))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(ListPage { total, entities: entities.flatten() })
    }
}

struct Entities<'r, 'a, T>(&'r Reader<'a, T>);

impl<'de, T: Default> DeserializeSeed<'de> for Entities<'_, 'de, T> {
    type Value = Option<Vec<Option<T>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Default> Visitor<'de> for Entities<'_, 'de, T> {
    type Value = Option<Vec<Option<T>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element_seed(Entry(self.0))? {
            if entries.len() < self.0.max {
                entries.push(entry);
            }
        }
        Ok(Some(entries))
    }
}

struct Entry<'r, 'a, T>(&'r Reader<'a, T>);

impl<'de, T: Default> DeserializeSeed<'de> for Entry<'_, 'de, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut entry = T::default();
        let mut add = |name: &str, value| (self.0.add)(&mut entry, name, value);
        if !self.0.isolated {
            deserializer.deserialize_map(Fields(add))?;
            return Ok(Some(entry));
        }
        let json: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        let read = each_field(json.get(), &mut add);
        Ok(read.is_ok().then_some(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the fields of each entry; `-` for one that is not an object.
    fn names(body: &str) -> Result<Option<String>, Malformed> {
        let page = ListPage::decode(body.as_bytes(), 1000, |names: &mut String, name, _| names.push_str(name))?;
        let entries = page.entities.map(|entries| entries.into_iter().map(|entry| entry.unwrap_or("-".to_owned())));
        Ok(entries.map(|entries| entries.collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn an_entry_that_is_not_an_object_spoils_no_other_whatever_it_is() {
        for odd in ["1", "1e999", "-1e-999", "99999999999999999999", "null", "true", r#""x""#, "[]", "[[{}]]"] {
            let body = format!(r#"{{"entities":[{{"a":1}},{odd},{{"b":1e999,"\u0063":[{{}}]}}]}}"#);
            assert_eq!(names(&body), Ok(Some("a - bc".to_owned())), "{odd}");
        }
    }

    #[test]
    fn a_missing_list_and_null_are_none_and_a_repeated_one_is_malformed() {
        assert_eq!(names("{}"), Ok(None));
        assert_eq!(names(r#"{"entities":null,"total":1}"#), Ok(None));
        assert_eq!(names(r#"{"entities":[]}"#), Ok(Some(String::new())));
        for body in [r#"{"entities":null,"entities":[]}"#, r#"{"entities":[],"entities":[]}"#] {
            assert_eq!(names(body), Err(Malformed), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_or_no_list_is_malformed() {
        let bodies = ["", "[]", "null", "<html>", r#"{"entities":"#, r#"{"entities":{}}"#, r#"{"entities":1}"#];
        for body in bodies.into_iter().chain([r#"{"entities":[{]}"#, "{} {}", r#"{"entities":[{}]}x"#]) {
            assert_eq!(names(body), Err(Malformed), "{body}");
        }
    }

    #[test]
    fn no_more_entries_are_kept_than_asked_for() {
        let endless = format!(r#"{{"entities":[{}{{}}]}}"#, "{},".repeat(5000));
        assert_eq!(names(&endless).unwrap().unwrap().split(' ').count(), 1000);
    }
}
