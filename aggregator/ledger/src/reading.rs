//! Readings: usage that no request reports, such as gigabyte-hours of storage, imported from where it is measured.
//!
//! A reading is one amount of one tenant at one time. The importer chooses its id, so importing it again changes
//! nothing. Parsing checks every field; after that readings are compared and stored in one form,
//! [`Reading::canonical`], whatever their input format.
pub mod amount;

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use weir_contract::tenant::is_id_byte;
use weir_contract::{TenantId, Timestamp};

pub use amount::Amount;

/// The longest id of a reading, in bytes.
pub const ID_MAX_BYTES: usize = 128;
/// The longest name of a measured quantity, in bytes.
pub const NAME_MAX_BYTES: usize = 64;
/// The fields of a reading in the order of their output; also the columns of a CSV file.
pub const FIELDS: [&str; 5] = ["id", "tenant", "name", "time", "amount"];

const ID: &str = "id: 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ | / + = - that begin with a letter or digit, such as \
                  acme/storage/2026-11-21T03";
const TENANT: &str = "tenant: an id of the tenants file, such as acme";
const NAME: &str = "name: 1 to 64 characters of a-z 0-9 _, such as storage_gb_hours";
const TIME: &str = "time: an RFC 3339 time with its offset, such as 2026-11-21T03:00:00Z";
const AMOUNT: &str = "amount: a decimal from 0 to 999999999.999999, in JSON in quotes, such as \"12.5\"; for more, count in a \
                      larger unit";

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The id by which repeats are recognised, unique among all readings of all tenants.
    #[serde(deserialize_with = "read_id")]
    pub id: Box<str>,
    /// The tenant.
    #[serde(deserialize_with = "read_tenant")]
    pub tenant: TenantId,
    /// The measured quantity; meters sum it by this name.
    #[serde(deserialize_with = "read_name")]
    pub name: Box<str>,
    /// The time of the reading; it counts in the hour of this moment.
    #[serde(deserialize_with = "read_time")]
    pub time: Timestamp,
    /// The amount.
    #[serde(deserialize_with = "read_amount")]
    pub amount: Amount,
}

impl Reading {
    /// Reads a reading from JSON. The error names the field, the expected form and the column.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Reads a reading from its fields, in the order of [`FIELDS`]. The error is the index of the wrong field and the
    /// problem.
    pub fn of(fields: [&str; FIELDS.len()]) -> Result<Self, (usize, String)> {
        let [id, tenant, name, time, amount] = fields;
        Ok(Reading {
            id: check_id(id).map_err(|problem| (0, problem))?,
            tenant: check_tenant(tenant).map_err(|problem| (1, problem))?,
            name: check_name(name).map_err(|problem| (2, problem))?,
            time: check_time(time).map_err(|problem| (3, problem))?,
            amount: check_amount(amount).map_err(|problem| (4, problem))?,
        })
    }

    /// The canonical JSON: two readings are equal if and only if it is.
    pub fn canonical(&self) -> Vec<u8> {
        // Texts and numbers always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Returns true if `text` can be the id of a reading. Ids must not contain the form of user names, so that forgetting a
/// user never changes a reading.
pub fn is_id(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    begins && text.len() <= ID_MAX_BYTES && text.bytes().all(is_id_byte) && !text.contains("hmac:")
}

/// Returns true if `text` can name a measured quantity.
pub fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

fn wrong(text: &str, expected: &str) -> String {
    let shown: String = text.chars().take(ID_MAX_BYTES).collect();
    let (field, form) = expected.split_once(": ").unwrap_or(("", expected));
    format!("{field}: {shown:?} is not {form}")
}

fn check_id(text: &str) -> Result<Box<str>, String> {
    if is_id(text) { Ok(text.into()) } else { Err(wrong(text, ID)) }
}

fn check_tenant(text: &str) -> Result<TenantId, String> {
    let tenant = TenantId::new(text).map_err(|error| format!("tenant: {text:?}: {error}"))?;
    if text.contains("hmac:") { Err(wrong(text, TENANT)) } else { Ok(tenant) }
}

fn check_name(text: &str) -> Result<Box<str>, String> {
    if is_name(text) { Ok(text.into()) } else { Err(wrong(text, NAME)) }
}

fn check_time(text: &str) -> Result<Timestamp, String> {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    // Times before 1970 are too old in any case.
    let millis = time.map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0));
    millis.map(Timestamp::from_millis).ok_or_else(|| wrong(text, TIME))
}

fn check_amount(text: &str) -> Result<Amount, String> {
    Amount::parse(text).ok_or_else(|| wrong(text, AMOUNT))
}

/// Reads a JSON string with the function `1`; `0` describes the expected form.
struct Text<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    deserializer.deserialize_str(Text(ID, check_id))
}

fn read_tenant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TenantId, D::Error> {
    deserializer.deserialize_str(Text(TENANT, check_tenant))
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    deserializer.deserialize_str(Text(NAME, check_name))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    deserializer.deserialize_str(Text(TIME, check_time))
}

fn read_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    deserializer.deserialize_str(Text(AMOUNT, check_amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id":"acme/1","tenant":"acme","name":"storage_gb_hours","time":"2026-11-21T03:00:00.000Z","amount":"12.5"}"#;

    #[test]
    fn a_reading_is_the_same_however_it_is_written() {
        let reading = Reading::parse(GOOD.as_bytes()).expect("a reading");
        assert_eq!(reading.canonical(), GOOD.as_bytes());
        let other = r#" {"amount": "012.500000", "time": "2026-11-21T04:00:00+01:00", "name": "storage_gb_hours",
            "tenant": "acme", "id": "acme/1"} "#;
        assert_eq!(Reading::parse(other.as_bytes()).expect("a reading"), reading);
        let fields = ["acme/1", "acme", "storage_gb_hours", "2026-11-21T03:00:00Z", "12.50"];
        assert_eq!(Reading::of(fields), Ok(reading));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field_and_what_to_write() {
        let long = format!("\"{}\"", "a".repeat(ID_MAX_BYTES + 1));
        let edits = [
            (r#""acme/1""#, r#""""#, "id: \"\" is not 1 to 128 characters"),
            (r#""acme/1""#, r#""é""#, "id: \"é\" is not"),
            (r#""acme/1""#, r#""/1""#, "begin with a letter or digit"),
            (r#""acme/1""#, long.as_str(), "id: \"aaa"),
            (r#""acme/1""#, r#""a-hmac:0123456789abcdef""#, "id: "),
            (r#""acme","name""#, r#""a c","name""#, "tenant: \"a c\""),
            (r#""acme","name""#, r#""hmac:0123456789abcdef","name""#, "tenant: "),
            ("storage_gb_hours", "Storage", "name: \"Storage\" is not 1 to 64 characters of a-z 0-9 _"),
            ("2026-11-21T03:00:00.000Z", "2026-11-21", "time: \"2026-11-21\" is not an RFC 3339 time"),
            ("2026-11-21T03:00:00.000Z", "2026-11-21T03:00:00", "time: "),
            (r#""12.5""#, "12.5", "expected amount: a decimal from 0"),
            (r#""12.5""#, r#""-1""#, "amount: \"-1\" is not a decimal from 0"),
            (r#""amount""#, r#""amuont""#, "unknown field `amuont`, expected one of"),
            (r#","amount":"12.5""#, "", "missing field `amount`"),
            (r#"{"id""#, r#"{"id":"x","id""#, "duplicate field `id`"),
        ];
        for (from, to, told) in edits {
            let text = GOOD.replacen(from, to, 1);
            let error = Reading::parse(text.as_bytes()).expect_err(&text).to_string();
            assert!(error.contains(told) && error.contains(" column "), "{text}: {error}");
        }
    }
}
