//! Durations as people write them: `10m`, `45d`, `1h 30m`.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::time::Duration;

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub u64);

weir_contract::text_schema!(Millis, "a span of time: whole numbers and ms, s, m, h or d", "10m", "^[0-9]+");

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format!("{text:?} is no duration such as 60s, 10m or 45d: {error}")))?;
        u64::try_from(duration.as_millis()).map(Millis).map_err(de::Error::custom)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(Duration::from_millis(self.0)))
    }
}
