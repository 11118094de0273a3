//! Rates as people write them: `1000/min`.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use weir_contract::Text;

use super::duration::Span;

/// The most units of one period that a bucket can count.
pub const UNITS_MAX: u64 = 4_000_000_000;

/// A number of units per period, refilled evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units, at least 1 and at most [`UNITS_MAX`].
    pub units: u64,
    /// The period in milliseconds, at least 1.
    pub period_ms: u64,
}

#[cfg(feature = "schema")]
weir_contract::text_schema!(
    Rate,
    "units and a period of at most 31 days: s, min, h, d or a span such as 10s",
    "1000/min",
    "^ *[0-9]+ */ *[0-9]*[a-z]+ *$"
);

impl Rate {
    /// Reads `UNITS/PERIOD`: the period is `s`, `min`, `h`, `d`, or a span such as `10s`. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (units, period) = text.split_once('/')?;
        let units: u64 = units.trim().parse().ok()?;
        let period_ms = match period.trim() {
            "s" | "sec" | "second" => 1_000,
            "m" | "min" | "minute" => 60_000,
            "h" | "hour" => 3_600_000,
            "d" | "day" => 86_400_000,
            span => Span::parse(span)?.as_millis(),
        };
        let fits = (1..=UNITS_MAX).contains(&units) && (1..=31 * 86_400_000).contains(&period_ms);
        fits.then_some(Rate { units, period_ms })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.units, Span::from_millis(self.period_ms))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let text = text.as_str();
        Rate::parse(text).ok_or_else(|| {
            de::Error::custom(format_args!(
                "{text:?} is no rate; write 1 to {UNITS_MAX} and a period of at most 31 days: 1000/min, 50/s, 2000000/h"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let rate = |units, period_ms| Some(Rate { units, period_ms });
        assert_eq!(Rate::parse("1000/min"), rate(1000, 60_000));
        assert_eq!(Rate::parse("50/s"), rate(50, 1000));
        assert_eq!(Rate::parse("5/10s"), rate(5, 10_000));
        assert_eq!(Rate::parse("2000000 / day"), rate(2_000_000, 86_400_000));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "1000", "0/min", "-1/s", "1.5/s", "1/fortnight", "4000000001/s", "1/0s", "1/32d"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
