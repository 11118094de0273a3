//! Whole numbers in JSON. JSON Schema takes `12.0` for an integer, and writers that keep doubles write it.
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Number;

/// The number as an integer if it is exactly one: `12` and `12.0`, but neither `12.5` nor a double beyond its exact
/// range.
pub fn whole(number: &Number) -> Option<i64> {
    /// 2^53. Up to here a double represents every integer exactly.
    const EXACT_MAX: i64 = 1 << 53;
    let text = number.to_string();
    let value: i64 = text.strip_suffix(".0").unwrap_or(&text).parse().ok()?;
    (value.abs() < EXACT_MAX).then_some(value)
}

/// Reads a whole number, also where it is written as `12.0`.
///
/// # Errors
/// If it is none, or does not fit.
pub fn number<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<T, D::Error> {
    read(&Number::deserialize(deserializer)?)
}

/// Reads a list of whole numbers, also where one is written as `12.0`.
///
/// # Errors
/// If one is none, or does not fit.
pub fn numbers<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::<Number>::deserialize(deserializer)?.iter().map(read).collect()
}

fn read<T: TryFrom<i64>, E: Error>(number: &Number) -> Result<T, E> {
    let value = whole(number).ok_or_else(|| E::custom(format!("{number} is no whole number")))?;
    T::try_from(value).map_err(|_| E::custom(format!("{number} is out of range")))
}
