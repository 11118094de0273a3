//! Types and values of flags: those that a structured field (RFC 8941) can say.
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// The largest integer of a structured field, and the largest decimal in thousandths.
const NUMBER_MAX: i64 = 999_999_999_999_999;
/// The longest text, in bytes.
const TEXT_MAX_BYTES: usize = 128;
/// Thousandths of one.
const THOUSAND: i64 = 1_000;

/// The type of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FlagType {
    /// `true` or `false`.
    Bool,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number with at most three digits after the point.
    Number,
}

impl FlagType {
    /// What its values are.
    pub(crate) fn values(self) -> &'static str {
        match self {
            FlagType::Bool => "true or false",
            FlagType::String => "at most 128 printable ASCII characters",
            FlagType::Integer => "a whole number of at most 15 digits",
            FlagType::Number => "a number with at most 12 digits before the point and three after it",
        }
    }

    /// Reads a value as a person types it.
    pub fn parse(self, text: &str) -> Option<FlagValue> {
        match self {
            FlagType::Bool => match text {
                "true" | "on" => Some(FlagValue::Bool(true)),
                "false" | "off" => Some(FlagValue::Bool(false)),
                _ => None,
            },
            FlagType::String => FlagValue::Text(text.into()).as_type(self),
            FlagType::Integer => FlagValue::Integer(text.parse().ok()?).as_type(self),
            FlagType::Number => thousandths(text).map(FlagValue::Thousandths)?.as_type(self),
        }
    }
}

impl std::fmt::Display for FlagType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FlagType::Bool => "bool",
            FlagType::String => "string",
            FlagType::Integer => "integer",
            FlagType::Number => "number",
        })
    }
}

/// A value of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "FlagValueShape"))]
pub enum FlagValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number, in thousandths.
    Thousandths(i64),
    /// A text.
    Text(Box<str>),
}

/// The form in YAML.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it describes a form")]
enum FlagValueShape {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl FlagValue {
    /// The same value as one of this type; None if it is none.
    pub fn as_type(&self, kind: FlagType) -> Option<FlagValue> {
        let fits = |number: i64| (-NUMBER_MAX..=NUMBER_MAX).contains(&number);
        match (self, kind) {
            (FlagValue::Bool(_), FlagType::Bool) => Some(self.clone()),
            (FlagValue::Text(text), FlagType::String) => {
                let is_text = text.len() <= TEXT_MAX_BYTES && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                is_text.then(|| self.clone())
            }
            (FlagValue::Integer(number), FlagType::Integer) => fits(*number).then(|| self.clone()),
            (FlagValue::Thousandths(number), FlagType::Integer) => {
                (number % THOUSAND == 0).then_some(FlagValue::Integer(number / THOUSAND))
            }
            (FlagValue::Thousandths(number), FlagType::Number) => fits(*number).then(|| self.clone()),
            (FlagValue::Integer(number), FlagType::Number) => {
                let number = number.checked_mul(THOUSAND).filter(|number| fits(*number))?;
                Some(FlagValue::Thousandths(number))
            }
            _ => None,
        }
    }
}

/// A decimal of at most three digits after the point, in thousandths.
fn thousandths(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole, 12) || !is_digits(rest, 3) {
        return None;
    }
    let rest: i64 = format!("{rest:0<3}").parse().ok()?;
    Some(sign * (whole.parse::<i64>().ok()? * THOUSAND + rest))
}

/// As a person types it, and as JSON has it but for quotes.
impl std::fmt::Display for FlagValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FlagValue::Bool(value) => write!(f, "{value}"),
            FlagValue::Integer(value) => write!(f, "{value}"),
            FlagValue::Thousandths(value) => {
                let (sign, value) = (if *value < 0 { "-" } else { "" }, value.unsigned_abs());
                let rest = format!("{:03}", value % 1_000);
                let rest = rest.trim_end_matches('0');
                write!(f, "{sign}{}.{}", value / 1_000, if rest.is_empty() { "0" } else { rest })
            }
            FlagValue::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for FlagValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FlagValue::Bool(value) => serializer.serialize_bool(*value),
            FlagValue::Integer(value) => serializer.serialize_i64(*value),
            // At most 15 digits: a double has them exactly.
            FlagValue::Thousandths(_) => {
                serializer.serialize_f64(self.to_string().parse().map_err(ser::Error::custom)?)
            }
            FlagValue::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for FlagValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl Visitor<'_> for Value {
            type Value = FlagValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false, a text, or a number with at most three digits after the point")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<FlagValue, E> {
                Ok(FlagValue::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<FlagValue, E> {
                Ok(FlagValue::Integer(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<FlagValue, E> {
                i64::try_from(value).map(FlagValue::Integer).map_err(|_| E::custom("a number of too many digits"))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<FlagValue, E> {
                let number = thousandths(&value.to_string());
                number
                    .map(FlagValue::Thousandths)
                    .ok_or_else(|| E::custom("a number has at most three digits after the point"))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<FlagValue, E> {
                Ok(FlagValue::Text(value.into()))
            }
        }
        deserializer.deserialize_any(Value)
    }
}
