//! The identity of an event.
//!
//! A *source* is the life of one worker VM. It numbers its events without a gap, so that the aggregator can tell
//! which numbers are missing. The event's UUID follows from source and number, so that every reader of an event
//! computes the same id.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::text::Text;
use crate::time::Timestamp;

/// The longest name of a gateway, in bytes.
pub(crate) const GATEWAY_NAME_MAX_BYTES: usize = 64;

/// The life of one worker VM: `/weir/{gateway}/{32 hex digits}`.
///
/// The 128 bits are random, so that no two lives share a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SourceId(Box<str>);

/// The text is no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source is /weir/GATEWAY/ and 32 lower-case hex digits, GATEWAY 1 to 64 of A-Z a-z 0-9 . _ -")]
pub struct SourceIdError;

impl SourceId {
    /// A new life of a worker of `gateway` (1 to [`GATEWAY_NAME_MAX_BYTES`] of `A-Z a-z 0-9 . _ -`).
    pub fn new(gateway: &str, life: [u8; 16]) -> Result<Self, SourceIdError> {
        Self::parse(&format!("/weir/{gateway}/{}", hex::encode(life)))
    }

    /// Reads a source back.
    pub fn parse(text: &str) -> Result<Self, SourceIdError> {
        let (gateway, life) = text.strip_prefix("/weir/").and_then(|rest| rest.split_once('/')).ok_or(SourceIdError)?;
        let hex = life.len() == 32 && life.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && is_gateway_name(gateway) { Ok(SourceId(text.into())) } else { Err(SourceIdError) }
    }

    /// The source as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The gateway's name.
    pub fn gateway(&self) -> &str {
        self.0.strip_prefix("/weir/").and_then(|rest| rest.split_once('/')).map_or("", |(gateway, _)| gateway)
    }
}

/// Whether `name` may name a gateway.
pub fn is_gateway_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= GATEWAY_NAME_MAX_BYTES
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SourceId::parse(&Text::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An event's number within its source, from 1, without a gap.
///
/// In JSON a string of 20 digits, so that numbers sort as text (CloudEvents `sequence` extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Reads exactly 20 decimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse().ok().map(Sequence) } else { None }
    }

    /// Its 20 digits.
    pub(crate) fn text(self) -> [u8; 20] {
        let mut digits = [b'0'; 20];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        digits
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

/// Every event is written with one, so this avoids `Display`, which takes ten times as long.
impl Serialize for Sequence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sequence::parse(&Text::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom("a sequence is a string of 20 digits"))
    }
}

/// An event's UUIDv7 (RFC 9562): the event's time, then 74 bits that follow from source and sequence.
///
/// Ordered by time, which keeps the aggregator's index of ids small and warm; unique, because (source, sequence) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

/// The start of the count for all ids of one source: 74 bits of the SHA-256 of its name.
///
/// Ids of one source never collide, as the number is added to it; ids of two sources, whose names are random, collide
/// no more often than random ones. A source hashes its name once instead of for every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdSeed {
    high: [u8; 2],
    low: u64,
}

impl IdSeed {
    /// The seed of a source.
    pub fn of(source: &SourceId) -> Self {
        let digest: [u8; 32] = Sha256::digest(source.as_str()).into();
        let [first, second, rest @ ..] = digest;
        let low = rest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        IdSeed { high: [first, second], low }
    }

    /// The id of the event `sequence`, made at `time`.
    pub fn id(self, time: Timestamp, sequence: Sequence) -> EventId {
        let ([a, b], [c, d, e, f, g, h, i, j]) = (self.high, self.low.wrapping_add(sequence.0).to_be_bytes());
        let tail = [a, b, c, d, e, f, g, h, i, j];
        EventId(uuid::Builder::from_unix_timestamp_millis(time.as_millis(), &tail).into_uuid())
    }
}

impl EventId {
    /// The id of the event `sequence` of `source`, made at `time`.
    pub fn derive(time: Timestamp, source: &SourceId, sequence: Sequence) -> Self {
        IdSeed::of(source).id(time, sequence)
    }

    /// The hyphenated form.
    pub(crate) fn text(&self) -> [u8; 36] {
        let mut text = [0; 36];
        self.0.hyphenated().encode_lower(&mut text);
        text
    }

    /// The 16 bytes, big-endian: they sort as the text does.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From the 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        EventId(Uuid::from_bytes(bytes))
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(EventId)
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn source() -> SourceId {
        SourceId::new("gw-1", [0x6f; 16]).expect("a valid source")
    }

    #[test]
    fn an_id_follows_from_time_source_and_number() {
        let time = Timestamp::from_millis(1_795_230_855_926);
        let id = EventId::derive(time, &source(), Sequence(7));
        assert_eq!(id, EventId::derive(time, &source(), Sequence(7)));
        assert_ne!(id, EventId::derive(time, &source(), Sequence(8)));
        assert_eq!(id.to_string().as_bytes()[14], b'7', "version 7");
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn no_two_numbers_of_a_source_have_one_id() {
        let time = Timestamp::from_millis(1_795_230_855_926);
        let seed = IdSeed { high: [0xFF; 2], low: u64::MAX - 2 };
        // Announcements count down from the top.
        let numbers = (1..1_000).chain((1..1_000).map(|last| u64::MAX - last)).chain((0..60).map(|bit| 1 << bit));
        let numbers: std::collections::BTreeSet<u64> = numbers.collect();
        let ids: std::collections::BTreeSet<EventId> = numbers.iter().map(|n| seed.id(time, Sequence(*n))).collect();
        assert_eq!(ids.len(), numbers.len());
    }

    #[test]
    fn ids_sort_by_time() {
        let at = |ms| EventId::derive(Timestamp::from_millis(ms), &source(), Sequence(1));
        assert!(at(1_000) < at(1_001));
        assert!(at(1_001) < at(1_000_000_000_000));
    }

    #[test]
    fn sequences_sort_as_text_and_are_read_strictly() {
        assert_eq!(Sequence(184_467).to_string(), "00000000000000184467");
        assert_eq!(Sequence::parse("00000000000000184467"), Some(Sequence(184_467)));
        for number in [0, 9, 184_467, u64::MAX] {
            let written = serde_json::to_string(&Sequence(number)).unwrap();
            assert_eq!(written, format!("\"{}\"", Sequence(number)));
        }
        for text in ["184467", "+0000000000000184467", "99999999999999999999", ""] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_source_names_a_gateway_and_a_life() {
        assert_eq!(source().as_str(), "/weir/gw-1/6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f");
        for text in [
            "",
            "/weir/gw-1",
            "/weir//6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f",
            "/weir/a/6F6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f",
            "/weir/a/b/6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f",
        ] {
            assert_eq!(SourceId::parse(text), Err(SourceIdError), "{text}");
        }
    }
}
