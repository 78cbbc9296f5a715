//! Specs and statuses decode whatever is stored: one unusual object must never stop the watch of
//! all the others.

/// Serde for `$type` (declared with `#[serde(remote = "Self")]`): what cannot be decoded becomes
/// `$fallback(error)`.
macro_rules! lenient {
    ($type:ty, $fallback:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let stored = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                Ok(<$type>::deserialize(stored).unwrap_or_else($fallback))
            }
        }
    };
}

pub(super) use lenient;
