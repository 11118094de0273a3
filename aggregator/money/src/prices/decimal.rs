//! Prices and factors as decimals, never floating-point numbers.
use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use weir_ledger::amount::Pico;

/// The most decimals of a price for a million tokens: a token's price then has twelve, and every amount is exact.
pub(crate) const PER_MILLION_DECIMALS: usize = 6;
/// The most decimals of the price of a single unit.
pub(crate) const PER_UNIT_DECIMALS: usize = 12;
/// The most decimals of a factor.
pub(crate) const FACTOR_DECIMALS: usize = 6;
/// The highest price of a million tokens or of a unit, and the highest factor: a higher one is a slip of the hand.
const HIGHEST: i128 = 1_000_000;

/// A decimal that is not negative, with at most `DECIMALS` decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal<const DECIMALS: usize>(Pico);

/// The price of a million tokens.
pub type PerMillion = Decimal<PER_MILLION_DECIMALS>;
/// The price of a single unit.
pub type PerUnit = Decimal<PER_UNIT_DECIMALS>;
/// A factor of prices.
pub type Factor = Decimal<FACTOR_DECIMALS>;

impl<const DECIMALS: usize> Decimal<DECIMALS> {
    /// Reads a decimal; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('-') {
            return Err(format!("{text:?} is negative; a price is 0 or more"));
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !is_number(whole) || !is_number(decimals) {
            return Err(format!("{text:?} is not a decimal such as 2.5"));
        }
        let (whole, decimals) = (whole.trim_start_matches('0'), decimals.trim_end_matches('0'));
        if decimals.len() > DECIMALS {
            return Err(format!("{text:?} has too many digits after the point; at most {DECIMALS} are exact"));
        }
        let short = format!("{}.{decimals:0<1}", if whole.is_empty() { "0" } else { whole });
        match Pico::parse(&short).filter(|value| value.0 <= HIGHEST * weir_ledger::amount::PICO) {
            Some(value) => Ok(Decimal(value)),
            None => Err(format!("{text:?} is above {HIGHEST}; check the unit it is given for")),
        }
    }

    /// From an amount; None if it is negative, too high or has too many decimals.
    pub fn of(amount: Pico) -> Option<Self> {
        Self::parse(&amount.to_string()).ok()
    }

    /// The value.
    pub fn value(self) -> Pico {
        self.0
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl<const DECIMALS: usize> fmt::Display for Decimal<DECIMALS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const DECIMALS: usize> Serialize for Decimal<DECIMALS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, const DECIMALS: usize> Deserialize<'de> for Decimal<DECIMALS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads the text of a decimal. YAML hands an unquoted number over as it is written, so no digit is lost.
struct Text<const DECIMALS: usize>;

impl<const DECIMALS: usize> Visitor<'_> for Text<DECIMALS> {
    type Value = Decimal<DECIMALS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a decimal with at most {DECIMALS} decimals, in JSON in quotes, such as \"2.5\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Decimal::parse(text).map_err(E::custom)
    }
}

impl<const DECIMALS: usize> JsonSchema for Decimal<DECIMALS> {
    fn schema_name() -> Cow<'static, str> {
        format!("Decimal{DECIMALS}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": format!("A decimal of at least 0 with at most {DECIMALS} decimals: `2.5`."),
            "type": ["string", "number"],
            "pattern": format!(r"^[0-9]+(\.[0-9]{{1,{DECIMALS}}}0*)?$"),
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_exact_and_written_short() {
        for text in ["0", "2.5", "0.000001", "1000000"] {
            assert_eq!(PerMillion::parse(text).expect("a price").to_string(), text);
        }
        assert_eq!(PerMillion::parse("2.500000000").expect("trailing zeros").to_string(), "2.5");
    }

    #[test]
    fn what_is_wrong_with_a_price_is_told() {
        let cases = [
            ("-1", "negative"),
            ("0.0000001", "too many digits"),
            ("1000000.1", "above 1000000"),
            ("99999999999999999999999999999999999999", "above 1000000"),
            ("0.0000000000001", "too many digits"),
            ("1e3", "not a decimal"),
            ("", "not a decimal"),
        ];
        for (text, told) in cases {
            let error = PerMillion::parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
