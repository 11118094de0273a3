//! Where the event log is: `log:` of weir.yaml.
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use weir_event_log::redis::{DEFAULT_NAME, RedisPlace};
use weir_settings::redis::{NO_CLUSTER, RedisServer};

use super::redis::NAME_MAX_BYTES;
use super::{ConfigError, redis};

/// The most replicas that an append waits for.
const REPLICAS_MAX: u32 = 5;

/// The event log elsewhere than in `data`: the address of a Redis alone, or with a name and replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct LogFile(Written);

/// An event log in a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The Redis, 7.0 or newer.
    redis: RedisServer,
    /// The log's name, part of its keys: `a` to `z`, digits, `.`, `_` and `-`. Absent: `weir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Replicas that must have an event before it is acknowledged, at most 5. Absent: none; then Redis itself must sync every write
    /// (`appendonly yes`, `appendfsync always`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
}

impl LogFile {
    /// Checks the settings of the file at `path`; relative paths in them start at `base`.
    pub(super) fn check(self, path: &Path, base: &Path) -> Result<RedisPlace, ConfigError> {
        let wrong = |field, problem| Err(ConfigError::Field { path: path.to_owned(), field, problem });
        let Written { redis: server, name, replicas } = self.0;
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
}

impl From<RedisServer> for Written {
    fn from(redis: RedisServer) -> Self {
        Written { redis, name: None, replicas: None }
    }
}

impl<'de> Deserialize<'de> for LogFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the address of a Redis, or `redis`, `name` and `replicas`";
        redis::address_or_fields(deserializer, expected).map(LogFile)
    }
}

impl JsonSchema for LogFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Log".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "The event log in a Redis: its address alone (`redis://localhost:6379`), or these fields.";
        redis::schema_of::<Written>(generator, description)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Option<RedisPlace>, String> {
        Config::parse(Path::new("/etc/weir/weir.yaml"), text)
            .map(|config| config.log)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_is_in_data_or_in_a_redis() {
        assert_eq!(parse("").expect("good"), None);
        let place = parse("log: redis://localhost:6379").expect("good").expect("a place");
        assert_eq!((place.name.as_str(), place.replicas, place.base.as_path()), ("weir", 0, Path::new("/etc/weir")));
        let text =
            "log: {redis: {url: 'rediss://weir@r:1', password: {file: key}, ca: ca.pem}, name: eu-1, replicas: 2}";
        let place = parse(text).expect("good").expect("a place");
        assert_eq!((place.label().as_str(), place.replicas), ("rediss://weir@r:1 (eu-1)", 2));
    }

    #[test]
    fn whatever_is_wrong_with_it_is_named() {
        for (text, words) in [
            ("log: sqlite", "no address of a Redis"),
            ("log: {redis: 'redis://r', nmae: x}", "nmae"),
            ("log: {redis: 'redis://r', name: 'a b'}", "log.name: \"a b\" is no name"),
            ("log: {redis: 'redis://r', replicas: 6}", "log.replicas: must be at most 5"),
            ("{log: 'redis://r', log_max_mb: 100}", "maxmemory"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
