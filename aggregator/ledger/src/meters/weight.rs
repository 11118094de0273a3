//! Exact weights: decimals, never floating-point numbers.
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use weir_contract::glob;

use crate::reading::amount::MICRO;

/// Billionths in one unit.
pub const NANO: u64 = 1_000_000_000;
/// The largest weight. With [`crate::validate::VALUE_MAX`], a sum has room for millions of the largest events.
pub(crate) const WEIGHT_MAX: u64 = 1_000;
/// The most models that one meter weighs by name.
pub(crate) const WEIGHED_MODELS_MAX: usize = 1_000;

/// A factor of amounts: 0 to [`WEIGHT_MAX`] with up to nine decimals, written as `0.1` or `"0.1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u64);

impl Default for Weight {
    fn default() -> Self {
        Weight(NANO)
    }
}

impl Weight {
    /// Reads a decimal; None if it is malformed or too large.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
            return None;
        }
        let nano = format!("{decimals:0<9}").parse::<u64>().ok()?;
        let weight = whole.parse::<u64>().ok()?.checked_mul(NANO)?.checked_add(nano)?;
        (weight <= WEIGHT_MAX * NANO).then_some(Weight(weight))
    }

    /// Returns true for a factor of 1.
    pub fn is_one(&self) -> bool {
        self.0 == NANO
    }

    /// Returns true if the weight has at most three decimals.
    pub(crate) fn is_in_thousandths(&self) -> bool {
        self.0.is_multiple_of(NANO / 1_000)
    }

    /// `micro` millionths times this weight, as whole units and billionths. Exact if [`Weight::is_in_thousandths`].
    pub(crate) fn times_micro(self, micro: u64) -> (u64, u64) {
        let nano = u128::from(micro) * u128::from(self.0) / u128::from(MICRO);
        let whole = nano / u128::from(NANO);
        (u64::try_from(whole).unwrap_or(u64::MAX), (nano % u128::from(NANO)) as u64)
    }

    /// `amount` times this weight, as whole units and billionths.
    pub fn times(self, amount: u64) -> (u64, u64) {
        if self.is_one() {
            return (amount, 0);
        }
        let nano = u128::from(amount) * u128::from(self.0);
        let whole = nano / u128::from(NANO);
        // The remainder is below NANO, and amounts of accepted events are bounded, so both fit.
        (u64::try_from(whole).unwrap_or(u64::MAX), (nano % u128::from(NANO)) as u64)
    }
}

/// Billionths as a decimal without trailing zeros.
pub fn decimal(nano: u64) -> String {
    let (whole, rest) = (nano / NANO, nano % NANO);
    if rest == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{rest:09}");
    text.trim_end_matches('0').to_owned()
}

impl JsonSchema for Weight {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weight".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A decimal from 0 to 1000 with at most nine decimals: `0.1`.",
            "type": ["string", "number"],
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?$",
            "minimum": 0,
            "maximum": WEIGHT_MAX,
        })
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&decimal(self.0))
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Weight::parse(&text).ok_or_else(|| {
            de::Error::custom(format_args!(
                "a weight is a decimal from 0 to {WEIGHT_MAX} with at most nine decimals, such as 0.1"
            ))
        })
    }
}

/// Weights by the model that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelWeights {
    /// Each model, by the name the provider answers with, or the one sent to it where it names none. `*` stands for any text; an
    /// exact name goes first, then the longest pattern.
    pub response_model: BTreeMap<String, Weight>,
    /// The weight of all other models, and of unknown ones. Absent: their amounts are excluded as `no_weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Weight>,
}

impl ModelWeights {
    /// The weight of an answer by `model`; None if the meter does not count it.
    pub fn of(&self, model: Option<&str>) -> Option<Weight> {
        model.and_then(|model| self.named(model)).or(self.otherwise)
    }

    fn named(&self, model: &str) -> Option<Weight> {
        let fits = |(pattern, _): &(&String, &Weight)| pattern.contains('*') && glob::matches(pattern, model);
        let by_pattern = || self.response_model.iter().filter(fits).max_by_key(|(pattern, _)| pattern.len());
        self.response_model.get(model).or_else(|| Some(by_pattern()?.1)).copied()
    }
}

/// A placeholder for fields that clients can set. Billing must not depend on them, so naming one is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientSet;

impl<'de> Deserialize<'de> for ClientSet {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(
            "feature, prompt_version, request_model, user, service_tier and idempotency_key_hash can be set by clients, so \
             nothing may be billed by them; use plan, route, class, response_model, outcome or usage",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> Weight {
        Weight::parse(text).expect("a weight")
    }

    #[test]
    fn weights_are_exact() {
        assert_eq!(weight("0.1").times(7), (0, 700_000_000));
        assert_eq!(weight("1.5").times(3), (4, 500_000_000));
        assert_eq!(weight("0.333333333").times(3), (0, 999_999_999));
        assert_eq!(weight("1000").times(1_000_000_000), (1_000_000_000_000, 0));
        assert!(weight("1").is_one() && weight("1.000").is_one() && Weight::default().is_one());
    }

    #[test]
    fn readings_are_weighed_exactly() {
        assert_eq!(weight("1").times_micro(1), (0, 1_000));
        assert_eq!(weight("0.001").times_micro(1_234_567_891), (1, 234_567_891));
        assert_eq!(weight("1000").times_micro(1_000_000_000_000_000), (1_000_000_000_000, 0));
        assert!(weight("0.001").is_in_thousandths() && !weight("0.0001").is_in_thousandths());
    }

    #[test]
    fn what_is_no_decimal_or_too_large_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000000001", "1000.1", "99999999999999999999", "0,1"] {
            assert_eq!(Weight::parse(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_written_short_and_read_back() {
        for text in ["0", "1", "0.1", "12.345678901"] {
            let nano = weight(text).0;
            assert_eq!(decimal(nano), text);
        }
    }
}
