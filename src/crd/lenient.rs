//! Specs and statuses decode whatever is stored: one unusual object must never stop the watch of
//! all the others.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fdi::text::single_line;

/// Longest description of what is wrong with a spec, in bytes.
const ERROR_MAX: usize = 256;

/// Serde for `$type` (declared with `#[serde(remote = "Self")]`): `$decode` makes one of any value.
macro_rules! lenient {
    ($type:ty, $decode:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let stored = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                Ok($decode(&stored))
            }
        }
    };
}

pub(super) use lenient;

/// What is wrong with a spec, as texts for a status.
pub(super) fn describe(error: &impl ToString) -> String {
    single_line(&error.to_string(), ERROR_MAX)
}

/// A field of something that as a whole cannot be decoded, or its default.
pub(super) fn field<T: DeserializeOwned + Default>(stored: &Value, name: &str) -> T {
    T::deserialize(&stored[name]).unwrap_or_default()
}
