//! A JSON document that keeps what its bytes say: digits of numbers, order of members, duplicates.
//!
//! Counts may not pass through a float: 9007199254740993 has no `f64`. Grammar: RFC 8259.

use base64::Engine;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Shortest text without spaces that is taken for binary data; shorter ones may be identifiers.
const BINARY_MIN_CHARS: usize = 200;

impl Json {
    /// Parses one document; none where it is not valid JSON.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Json> {
        let raw: Box<RawValue> = serde_json::from_slice(bytes).ok()?;
        Json::from_raw(&raw)
    }

    /// Parses what is finished of a document that was cut: the members or items of its root that came whole.
    pub(crate) fn parse_cut(text: &str) -> Option<Json> {
        let close = match text.bytes().next()? {
            b'{' => '}',
            b'[' => ']',
            _ => return None,
        };
        let with_close = |text: &str| Json::parse(format!("{text}{close}").as_bytes());
        // A number at the end may have lost digits.
        if text.trim_end().ends_with(['}', ']', '"'])
            && let Some(document) = with_close(text)
        {
            return Some(document);
        }
        with_close(text.get(..last_comma_of_root(text)?)?)
    }

    fn from_raw(raw: &RawValue) -> Option<Json> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let members: Members = serde_json::from_str(text).ok()?;
                let read = |(name, raw): (String, Box<RawValue>)| Some((name, Json::from_raw(&raw)?));
                Json::Object(members.0.into_iter().map(read).collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
                Json::List(items.iter().map(|raw| Json::from_raw(raw)).collect::<Option<_>>()?)
            }
            b'"' => Json::Text(serde_json::from_str(text).ok()?),
            b't' => Json::Bool(true),
            b'f' => Json::Bool(false),
            b'n' => Json::Null,
            _ => Json::Number(text.to_owned()),
        })
    }

    /// A member's value; the last of duplicates, as most parsers have it. None where it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else {
            return None;
        };
        let value = members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)?;
        (*value != Json::Null).then_some(value)
    }

    /// The value at the end of a path of members.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The count at the end of a path of members.
    pub(crate) fn count(&self, path: &[&str]) -> Option<u64> {
        match self.at(path)? {
            Json::Number(digits) => whole_number(digits),
            _ => None,
        }
    }

    /// The text at the end of a path of members.
    pub(crate) fn text(&self, path: &[&str]) -> Option<&str> {
        match self.at(path)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of the list at the end of a path; none where there is no list.
    pub(crate) fn items(&self, path: &[&str]) -> &[Json] {
        match self.at(path) {
            Some(Json::List(items)) => items,
            _ => &[],
        }
    }

    /// Whether the member is an object.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Json::Object(_))
    }

    /// Whether any object names a member twice.
    pub(crate) fn has_duplicates(&self) -> bool {
        match self {
            Json::Object(members) => {
                let twice = |(place, (name, _)): (usize, &(String, Json))| {
                    members.iter().take(place).any(|(earlier, _)| earlier == name)
                };
                members.iter().enumerate().any(twice) || members.iter().any(|(_, value)| value.has_duplicates())
            }
            Json::List(items) => items.iter().any(Json::has_duplicates),
            _ => false,
        }
    }

    /// Whether any number is so great that a few of them may not fit into one count.
    pub(crate) fn has_giant(&self) -> bool {
        match self {
            Json::Number(digits) => whole_number(digits).is_some_and(|count| count > u64::MAX / 32),
            Json::List(items) => items.iter().any(Json::has_giant),
            Json::Object(members) => members.iter().any(|(_, value)| value.has_giant()),
            _ => false,
        }
    }

    /// Whether any text, list or object in it says something.
    pub(crate) fn says_something(&self) -> bool {
        match self {
            Json::Text(text) => !text.is_empty(),
            Json::List(items) => items.iter().any(Json::says_something),
            Json::Object(members) => members.iter().any(|(_, value)| value.says_something()),
            Json::Null | Json::Bool(_) | Json::Number(_) => false,
        }
    }

    /// Bytes of binary data inside, and how many pieces of it there are.
    pub(crate) fn binary(&self) -> (u64, u64) {
        let sum = |(bytes, pieces): (u64, u64), value: &Json| {
            let (more, others) = value.binary();
            (bytes + more, pieces + others)
        };
        match self {
            Json::Text(text) if is_binary(text) => (text.len() as u64, 1),
            Json::List(items) => items.iter().fold((0, 0), sum),
            Json::Object(members) => members.iter().map(|(_, value)| value).fold((0, 0), sum),
            _ => (0, 0),
        }
    }
}

/// Where the last member or item of the root ends that is followed by another.
fn last_comma_of_root(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped, mut last) = (0_u64, false, false, None);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => last = Some(at),
            _ => {}
        }
    }
    last
}

/// Base64 in either alphabet, or a data URL of it.
fn is_binary(text: &str) -> bool {
    let payload =
        text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).map_or(text, |(_, data)| data);
    payload.len() >= BINARY_MIN_CHARS
        && payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte))
}

/// Decodes standard base64, as Bedrock wraps its payloads.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// The value of a JSON number, where it is a whole number that fits: `1e3` is 1000, `12.0` is 12, `-1` and `1.5` are none.
fn whole_number(written: &str) -> Option<u64> {
    let (negative, unsigned) = written.strip_prefix('-').map_or((false, written), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.parse().ok()?;
    let shift = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let kept = match shift {
        0.. => format!("{digits}{}", "0".repeat(usize::try_from(shift).ok().filter(|shift| *shift <= 20)?)),
        _ => {
            let dropped = usize::try_from(shift.unsigned_abs()).ok()?;
            let split = digits.len().checked_sub(dropped)?;
            let (kept, zeros) = digits.split_at(split);
            zeros.bytes().all(|digit| digit == b'0').then_some(kept)?.to_owned()
        }
    };
    if negative { None } else { kept.parse().ok() }
}

/// The members of an object in their order, duplicates included.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_their_digits_and_not_from_a_float() {
        let cases = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0e999999", Some(0)),
            ("1e3", Some(1000)),
            ("1.5E1", Some(15)),
            ("12.0", Some(12)),
            ("1200e-2", Some(12)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e20", None),
            ("1e99999999999", None),
            ("1.5", None),
            ("-1", None),
        ];
        for (written, value) in cases {
            let document = Json::parse(format!("{{\"n\":{written}}}").as_bytes()).unwrap();
            assert_eq!(document.count(&["n"]), value, "{written}");
        }
    }

    #[test]
    fn members_are_found_by_their_decoded_name_and_duplicates_are_seen() {
        let document = Json::parse(br#"{"\u0075sage":{"a":1,"a":"2"}}"#).unwrap();
        assert_eq!(document.text(&["usage", "a"]), Some("2"));
        assert!(document.has_duplicates());
        assert!(!Json::parse(br#"{"a":{"b":1},"b":1}"#).unwrap().has_duplicates());
    }

    #[test]
    fn of_a_cut_document_only_finished_members_are_read() {
        let finished = |text| Json::parse_cut(text).map(|document| (document.count(&["a"]), document.count(&["b"])));
        assert_eq!(finished(r#"{"a":12,"b":34"#), Some((Some(12), None)));
        assert_eq!(finished(r#"{"a":12,"c":{"b":34"#), Some((Some(12), None)));
        assert_eq!(finished(r#"{"a":12,"b":34,"c":{"d":",}"}"#), Some((Some(12), Some(34))));
        assert_eq!(finished(r#"{"a":1"#), None);
    }

    #[test]
    fn long_base64_is_binary_and_prose_is_not() {
        let image = "A".repeat(400);
        let body = format!(r#"{{"a":"data:image/png;base64,{image}","b":"{image}","c":"{}"}}"#, "word ".repeat(100));
        assert_eq!(Json::parse(body.as_bytes()).unwrap().binary(), (400 + 22 + 400, 2));
    }
}
