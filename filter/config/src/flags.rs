//! What people write about feature flags: a part of [`super::shape`]. The flags themselves are those of [`weir_contract::flags`].
use std::collections::BTreeMap;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_contract::flags::FlagValue;

/// A condition on flags: `use-claude` where that flag is true, or `{tone: short}` where each has the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "FlagIsShape"))]
pub struct FlagIs(pub BTreeMap<String, FlagValue>);

/// The form in YAML.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it describes a form")]
enum FlagIsShape {
    /// A flag of type bool that is true.
    Name(String),
    /// Flags, each with the value that it must have.
    Values(BTreeMap<String, FlagValue>),
}

impl Serialize for FlagIs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FlagIs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Condition;
        impl<'de> Visitor<'de> for Condition {
            type Value = FlagIs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a flag, or names with values: `{tone: short}`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FlagIs, E> {
                Ok(FlagIs(BTreeMap::from([(name.to_owned(), FlagValue::Bool(true))])))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<FlagIs, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry()? {
                    values.insert(name, value);
                }
                Ok(FlagIs(values))
            }
        }
        deserializer.deserialize_any(Condition)
    }
}
