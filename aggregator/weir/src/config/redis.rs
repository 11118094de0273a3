//! What `log` and `leases` share: an address of a Redis alone, or fields; and the names under which things stand there.
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use weir_settings::redis::RedisServer;

/// The longest name, in bytes.
pub(super) const NAME_MAX_BYTES: usize = 64;

/// Whether a name may be part of keys.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= NAME_MAX_BYTES && name.bytes().all(is_plain)
}

/// Reads an address alone, or the fields of `T`.
pub(super) fn address_or_fields<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + From<RedisServer>,
{
    struct Either<T>(&'static str, PhantomData<T>);
    impl<'de, T: Deserialize<'de> + From<RedisServer>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, url: &str) -> Result<T, E> {
            RedisServer::deserialize(StrDeserializer::new(url)).map(T::from)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Either(expected, PhantomData))
}

/// The schema of an address alone, or of the fields of `T`.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.insert("description".to_owned(), description.into());
    schema.insert("type".to_owned(), vec!["string", "object"].into());
    schema.insert("pattern".to_owned(), "^rediss?://".into());
    schema
}
