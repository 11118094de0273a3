//! What settings write as an address alone, or as fields of which one is the address.
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads either. `expected` says in an error what may stand there.
pub(crate) fn address_or_fields<'de, W, D>(deserializer: D, expected: &'static str) -> Result<W, D::Error>
where
    W: Deserialize<'de> + for<'a> From<&'a str>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Either { expected, written: PhantomData })
}

/// The schema of either: that of the fields, which says that it may be a text that fits `pattern`.
pub(crate) fn schema<W: JsonSchema>(generator: &mut SchemaGenerator, description: &str, pattern: &str) -> Schema {
    let mut schema = W::json_schema(generator);
    schema.insert("description".to_owned(), description.into());
    schema.insert("type".to_owned(), vec!["string", "object"].into());
    schema.insert("pattern".to_owned(), pattern.into());
    schema
}

struct Either<W> {
    expected: &'static str,
    written: PhantomData<W>,
}

impl<'de, W: Deserialize<'de> + for<'a> From<&'a str>> Visitor<'de> for Either<W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, address: &str) -> Result<W, E> {
        Ok(address.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<W, A::Error> {
        W::deserialize(MapAccessDeserializer::new(map))
    }
}
