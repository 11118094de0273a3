//! The center of fleet-wide limits: `leases:` of weir.yaml.
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use weir_leases::Timing;
use weir_leases_redis::{DEFAULT_NAME, LeasesPlace};
use weir_settings::duration::Millis;
use weir_settings::redis::RedisServer;

use super::redis::NAME_MAX_BYTES;
use super::{ConfigError, redis};

/// The bounds of the length of a lease. Gateways call every second, and wait two seconds for an answer.
const TTL_MIN: Millis = Millis(5_000);
const TTL_MAX: Millis = Millis(60_000);
/// The bounds of a gateway's clock error: gateways themselves allow for the smaller one.
const CLOCK_ERROR_MIN: Millis = Millis(2_000);
const CLOCK_ERROR_MAX: Millis = Millis(10_000);
/// The bounds of the part that leases hold, in percent.
const LENT_PERCENT_MIN: u8 = 10;
const LENT_PERCENT_MAX: u8 = 90;

/// The center of fleet-wide limits: the address of a Redis alone, or with settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct LeasesFile(Written);

/// The center of limits with `scope: fleet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The Redis, 7.0 or newer, that several `weir serve` share. Absent: this one is the center alone, and keeps leases in `data`, or where `ledger` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisServer>,
    /// The leases' name, part of their keys in the Redis: `a` to `z`, digits, `.`, `_` and `-`. Absent: `weir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How long a lease lasts, `5s` to `60s`: for so long gateways go on while nobody answers, and a killed gateway's units are lost.
    /// Absent: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<Millis>,
    /// How much a gateway's clock may fall behind within `ttl`, steps and drift together, `2s` to `10s`. Absent: `2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock_error: Option<Millis>,
    /// The part of a limit that all leases together are to hold, 10 to 90 percent. The rest is for gateways that run low: less for
    /// few large requests, more for many small ones. Absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lent_percent: Option<u8>,
}

/// The settings of `leases:`, after validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseSettings {
    /// The Redis; None means in the data directory.
    pub place: Option<LeasesPlace>,
    /// How much gateways hold, and for how long.
    pub timing: Timing,
}

impl LeasesFile {
    /// Checks the settings of the file at `path`; relative paths in them start at `base`.
    pub(super) fn check(self, path: &Path, base: &Path) -> Result<LeaseSettings, ConfigError> {
        let wrong = |field, problem: &str| {
            Err(ConfigError::Field { path: path.to_owned(), field, problem: problem.to_owned() })
        };
        let Written { redis: server, name, ttl, clock_error, lent_percent } = self.0;
        if server.is_none() && name.is_some() {
            return wrong("leases.name", "names leases in a Redis: give `redis` as well");
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if !redis::is_name(&name) {
            return wrong("leases.name", &format!("must be 1 to {NAME_MAX_BYTES} of a-z, 0-9, `.`, `_` and `-`"));
        }
        let default = Timing::default();
        let timing = Timing {
            ttl_ms: ttl.map_or(default.ttl_ms, |ttl| ttl.0),
            clock_error_ms: clock_error.map_or(default.clock_error_ms, |error| error.0),
            lent_percent: lent_percent.map_or(default.lent_percent, u64::from),
        };
        if !(TTL_MIN.0..=TTL_MAX.0).contains(&timing.ttl_ms) {
            return wrong("leases.ttl", "must be 5s to 60s");
        }
        if !(CLOCK_ERROR_MIN.0..=CLOCK_ERROR_MAX.0).contains(&timing.clock_error_ms) {
            return wrong("leases.clock_error", "must be 2s to 10s");
        }
        if !(LENT_PERCENT_MIN.into()..=LENT_PERCENT_MAX.into()).contains(&timing.lent_percent) {
            return wrong("leases.lent_percent", "must be 10 to 90");
        }
        let place = server.map(|server| LeasesPlace { server, base: base.to_owned(), name });
        Ok(LeaseSettings { place, timing })
    }
}

impl From<RedisServer> for Written {
    fn from(redis: RedisServer) -> Self {
        Written { redis: Some(redis), ..Written::default() }
    }
}

impl<'de> Deserialize<'de> for LeasesFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the address of a Redis, or `redis`, `name`, `ttl`, `clock_error` and `lent_percent`";
        redis::address_or_fields(deserializer, expected).map(LeasesFile)
    }
}

impl JsonSchema for LeasesFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Leases".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "The center of limits with `scope: fleet`: the address of a Redis alone (`redis://localhost:6379`), or these fields.";
        redis::schema_of::<Written>(generator, description)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<LeaseSettings, String> {
        Config::parse(Path::new("/etc/weir/weir.yaml"), text)
            .map(|config| config.leases)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn leases_are_in_data_or_in_a_redis() {
        assert_eq!(parse("").expect("good"), LeaseSettings::default());
        let place = parse("leases: redis://localhost:6379").expect("good").place.expect("a place");
        assert_eq!((place.name.as_str(), place.base.as_path()), ("weir", Path::new("/etc/weir")));
        let text = "leases: {redis: {url: 'rediss://weir@r:1', password: {file: key}}, name: eu-1, ttl: 20s, lent_percent: 30}";
        let settings = parse(text).expect("good");
        assert_eq!(settings.place.expect("a place").label(), "rediss://weir@r:1 (eu-1)");
        assert_eq!(settings.timing, Timing { ttl_ms: 20_000, clock_error_ms: 2_000, lent_percent: 30 });
        assert_eq!(parse("leases: {clock_error: 5s}").expect("good").timing.clock_error_ms, 5_000);
    }

    #[test]
    fn whatever_is_wrong_with_it_is_named() {
        for (text, words) in [
            ("leases: sqlite", "no address of a Redis"),
            ("leases: {ttl: 10s, nmae: x}", "nmae"),
            ("leases: {name: x}", "leases.name: names leases in a Redis"),
            ("leases: {redis: 'redis://r', name: 'a*'}", "leases.name: must be 1 to 64"),
            ("leases: {ttl: 4s}", "leases.ttl: must be 5s to 60s"),
            ("leases: {clock_error: 1s}", "leases.clock_error: must be 2s to 10s"),
            ("leases: {lent_percent: 95}", "leases.lent_percent: must be 10 to 90"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
