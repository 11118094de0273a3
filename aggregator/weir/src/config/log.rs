//! Where the event log is: `log:` of weir.yaml.
use std::fmt;
use std::path::Path;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use weir_event_log::kafka::KafkaPlace;
use weir_event_log::place::LogPlace;
use weir_event_log::redis::{DEFAULT_NAME, RedisPlace};
use weir_settings::kafka::KafkaServer;
use weir_settings::redis::{NO_CLUSTER, RedisServer};

use super::redis::NAME_MAX_BYTES;
use super::{ConfigError, redis};

/// The most replicas that an append waits for.
const REPLICAS_MAX: u32 = 5;

/// The event log elsewhere than in `data`: the address of a Redis or a Kafka alone, or with more fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct LogFile(Written);

/// An event log in a Redis or in a Kafka: one of `redis` and `kafka`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The Redis, 7.0 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisServer>,
    /// The Kafka, and the topic in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kafka: Option<KafkaServer>,
    /// The log's name in a Redis, part of its keys: `a` to `z`, digits, `.`, `_` and `-`. Absent: `weir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Replicas of a Redis that must have an event before it is acknowledged, at most 5. Absent: none; then Redis itself must sync every
    /// write (`appendonly yes`, `appendfsync always`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
}

impl LogFile {
    /// Checks the settings of the file at `path`; relative paths in them start at `base`. The log must keep records for `keep`.
    pub(super) fn check(self, path: &Path, base: &Path, keep: Duration) -> Result<LogPlace, ConfigError> {
        let wrong = |field, problem| Err(ConfigError::Field { path: path.to_owned(), field, problem });
        let Written { redis, kafka, name, replicas } = self.0;
        match (redis, kafka) {
            (Some(server), None) => redis_log(path, base, server, (name, replicas)).map(LogPlace::Redis),
            (None, Some(_)) if name.is_some() => {
                wrong("log.name", "is for a Redis; a log in a Kafka has the name of its topic".to_owned())
            }
            (None, Some(_)) if replicas.is_some() => {
                wrong("log.replicas", "is for a Redis; set `min.insync.replicas` of the topic".to_owned())
            }
            (None, Some(server)) => {
                Ok(LogPlace::Kafka(KafkaPlace { base: base.to_owned(), keep, ..KafkaPlace::new(server) }))
            }
            _ => wrong("log", "give one of `redis` and `kafka`".to_owned()),
        }
    }
}

fn redis_log(
    path: &Path,
    base: &Path,
    server: RedisServer,
    (name, replicas): (Option<String>, Option<u32>),
) -> Result<RedisPlace, ConfigError> {
    let wrong = |field, problem| Err(ConfigError::Field { path: path.to_owned(), field, problem });
    if server.is_cluster() {
        return wrong("log.redis", NO_CLUSTER.to_owned());
    }
    let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
    if !redis::is_name(&name) {
        let problem = format!("{name:?} is no name: 1 to {NAME_MAX_BYTES} of a-z, 0-9, `.`, `_` and `-`");
        return wrong("log.name", problem);
    }
    let replicas = replicas.unwrap_or(0);
    if replicas > REPLICAS_MAX {
        return wrong("log.replicas", format!("must be at most {REPLICAS_MAX}"));
    }
    Ok(RedisPlace { server, base: base.to_owned(), name, replicas })
}

impl<'de> Deserialize<'de> for LogFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Log;
        impl<'de> Visitor<'de> for Log {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the address of a Redis or of a Kafka, or `redis`, `name` and `replicas`, or `kafka`")
            }

            fn visit_str<E: serde::de::Error>(self, url: &str) -> Result<Written, E> {
                let address = StrDeserializer::new(url);
                Ok(if KafkaServer::is_address(url) {
                    Written { kafka: Some(KafkaServer::deserialize(address)?), ..Written::default() }
                } else {
                    Written { redis: Some(RedisServer::deserialize(address)?), ..Written::default() }
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(Log).map(LogFile)
    }
}

impl JsonSchema for LogFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Log".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "The event log in a Redis or in a Kafka: its address alone (`redis://localhost:6379`, \
                           `kafka://localhost:9092/weir`), or these fields.";
        let mut schema = redis::schema_of::<Written>(generator, description);
        schema.insert("pattern".to_owned(), "^(rediss?|kafkas?)://".into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Option<LogPlace>, String> {
        Config::parse(Path::new("/etc/weir/weir.yaml"), text)
            .map(|config| config.log)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_is_in_data_in_a_redis_or_in_a_kafka() {
        assert_eq!(parse("").expect("good"), None);
        let redis = |text: &str| match parse(text).expect("good") {
            Some(LogPlace::Redis(place)) => place,
            other => panic!("{other:?}"),
        };
        let place = redis("log: redis://localhost:6379");
        assert_eq!((place.name.as_str(), place.replicas, place.base.as_path()), ("weir", 0, Path::new("/etc/weir")));
        let text =
            "log: {redis: {url: 'rediss://weir@r:1', password: {file: key}, ca: ca.pem}, name: eu-1, replicas: 2}";
        let place = redis(text);
        assert_eq!((place.label().as_str(), place.replicas), ("rediss://weir@r:1 (eu-1)", 2));
        for text in [
            "log: 'kafka://k:9092/weir'",
            "log: {kafka: 'kafka://k:9092/weir'}",
            "log: {kafka: {url: 'kafka://k:9092/weir'}}",
        ] {
            let Some(LogPlace::Kafka(place)) = parse(&format!("{{{text}, log_retention: 3d}}")).expect("good") else {
                panic!("{text}")
            };
            assert_eq!((place.label().as_str(), place.keep.as_secs()), ("kafka://k:9092/weir", 3 * 86_400));
        }
    }

    #[test]
    fn whatever_is_wrong_with_it_is_named() {
        for (text, words) in [
            ("log: sqlite", "no address of a Redis"),
            ("log: {redis: 'redis://r', nmae: x}", "nmae"),
            ("log: {redis: 'redis://r', name: 'a b'}", "log.name: \"a b\" is no name"),
            ("log: {redis: 'redis://r', replicas: 6}", "log.replicas: must be at most 5"),
            ("{log: 'redis://r', log_max_mb: 100}", "maxmemory"),
            ("log: kafka://k", "no address of a topic"),
            ("log: {name: eu-1}", "one of `redis` and `kafka`"),
            ("log: {redis: 'redis://r', kafka: 'kafka://k:1/w'}", "one of `redis` and `kafka`"),
            ("log: {kafka: 'kafka://k:1/w', name: eu-1}", "the name of its topic"),
            ("log: {kafka: 'kafka://k:1/w', replicas: 2}", "min.insync.replicas"),
            ("{log: 'kafka://k:1/w', export: [{name: a, kafka: 'kafka://k:1/w'}]}", "the topic of the event log"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
