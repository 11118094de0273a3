//! One entry of the topic: a header, a log's name, a gateway's name and content, under one checksum.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | [`Kind`] |
//! | 1 | [`Format`]; 0 for a note |
//! | 1 | bytes of the log's name |
//! | 2 | bytes of the gateway's name; 0 for none |
//! | 4, 4 | number of the partition, and how many there are |
//! | 8 | the log's first position |
//! | 8 | the position where the entry belongs |
//! | 8 | position of the record that it follows; 0 for the first one |
//! | 8 | position of the note with the latest list of forgotten users; 0 for none |
//! | 8 | time of receipt, milliseconds since 1970 |
//! | 8 | `forgotten_before`, days since 1970 |
//! | 8, 8 | the writer: its owner, and a number drawn at its start |
//! | 8 | number of the group that the writer sent it with |
//! | 8 | checksum of everything else |
//! | | the log's name, the gateway's name, the content |
//!
//! Numbers are little-endian. The content of a record is its packed body, that of a note is described at [`Kind`].
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;

use crate::record::unpack;
use crate::{Format, NewRecord, Position, Record};

/// The version that this weir writes, and the only one that it reads.
pub(super) const VERSION: u8 = 1;
/// Bytes before the names.
const FIXED_BYTES: usize = 94;
/// The place of the checksum.
const CHECKSUM_AT: usize = 86;
/// The only partition, and how many there are.
const PARTITION: (u32, u32) = (0, 1);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An accepted body.
    Record = 1,
    /// A weir takes the right to write; the content is its name for people.
    Claim = 2,
    /// A part of a list of forgotten users; see `lists.rs`.
    Forgotten = 3,
    /// The writer gives the right to write back.
    Released = 4,
    /// The writer says that it is there; the content is its name for people.
    Present = 5,
    /// Another weir asks whether the writer is there. It belongs nowhere, so it counts for nothing.
    Asked = 6,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Record, Kind::Claim, Kind::Forgotten, Kind::Released, Kind::Present, Kind::Asked];
}

/// The header of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// The log's first position.
    pub(super) first: Position,
    /// Where the entry belongs.
    pub(super) position: Position,
    /// The record that it follows.
    pub(super) follows: Position,
    /// The latest list of forgotten users.
    pub(super) list: Position,
    pub(super) received_at: Timestamp,
    pub(super) forgotten_before: u64,
    pub(super) owner: u64,
    pub(super) writer: u64,
    pub(super) group: u64,
    /// The log's name.
    pub(super) id: Box<str>,
}

/// An entry that was read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Head,
    format: Option<Format>,
    gateway: Option<Box<str>>,
    /// The packed body, or the content of a note.
    pub(super) content: Vec<u8>,
}

/// Why bytes are no entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A later version wrote it.
    Version(u8),
    /// It differs from what was written, or weir did not write it.
    Damaged(String),
}

/// The position of an offset in a log whose first position is `first`: the claim at offset 0 takes the place before it.
pub(super) fn position_at(first: Position, offset: i64) -> Position {
    first.saturating_sub(1).saturating_add(u64::try_from(offset).unwrap_or(0))
}

/// The offset of a position; 0 for one before the log's first.
pub(super) fn offset_of(first: Position, position: Position) -> i64 {
    i64::try_from((position + 1).saturating_sub(first)).unwrap_or(i64::MAX)
}

/// The value of a record.
pub(super) fn record(head: &Head, record: &NewRecord) -> Vec<u8> {
    let format = u8::try_from(record.format.code()).unwrap_or_default();
    encode(head, format, record.gateway.as_deref().unwrap_or_default(), &record.packed)
}

/// The value of a note.
pub(super) fn note(head: &Head, content: &[u8]) -> Vec<u8> {
    encode(head, 0, "", content)
}

fn encode(head: &Head, format: u8, gateway: &str, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(FIXED_BYTES + head.id.len() + gateway.len() + content.len());
    value.extend([VERSION, head.kind as u8, format, u8::try_from(head.id.len()).unwrap_or(u8::MAX)]);
    value.extend(u16::try_from(gateway.len()).unwrap_or(u16::MAX).to_le_bytes());
    value.extend(PARTITION.0.to_le_bytes());
    value.extend(PARTITION.1.to_le_bytes());
    let received_at = head.received_at.as_millis();
    let numbers = [
        head.first,
        head.position,
        head.follows,
        head.list,
        received_at,
        head.forgotten_before,
        head.owner,
        head.writer,
        head.group,
        0,
    ];
    value.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    value.extend(head.id.as_bytes());
    value.extend(gateway.as_bytes());
    value.extend(content);
    let checksum = checksum(&value);
    value[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
    value
}

/// Reads an entry.
pub(super) fn read(value: &[u8]) -> Result<Entry, Unreadable> {
    let damaged = |what: &str| Unreadable::Damaged(what.to_owned());
    let Some((fixed, rest)) = value.split_first_chunk::<FIXED_BYTES>() else {
        return Err(damaged("it is too short; weir did not write it"));
    };
    if fixed[0] != VERSION {
        return Err(Unreadable::Version(fixed[0]));
    }
    if number(fixed, CHECKSUM_AT) != checksum(value) {
        return Err(damaged("its checksum does not match"));
    }
    let partition = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    if (partition(6), partition(10)) != PARTITION {
        return Err(damaged("it is of a log with more partitions"));
    }
    let kind =
        Kind::ALL.into_iter().find(|kind| *kind as u8 == fixed[1]).ok_or_else(|| damaged("its kind is unknown"))?;
    let (id_bytes, gateway_bytes) = (usize::from(fixed[3]), usize::from(u16::from_le_bytes([fixed[4], fixed[5]])));
    let names = rest.split_at_checked(id_bytes + gateway_bytes);
    let (names, content) = names.ok_or_else(|| damaged("it is cut"))?;
    let (id, gateway) = names.split_at(id_bytes);
    let text =
        |bytes: &[u8]| std::str::from_utf8(bytes).map(Box::<str>::from).map_err(|_| damaged("a name is no text"));
    let at = |index: usize| number(fixed, 14 + 8 * index);
    let head = Head {
        kind,
        first: at(0),
        position: at(1),
        follows: at(2),
        list: at(3),
        received_at: Timestamp::from_millis(at(4)),
        forgotten_before: at(5),
        owner: at(6),
        writer: at(7),
        group: at(8),
        id: text(id)?,
    };
    let gateway = if gateway.is_empty() { None } else { Some(text(gateway)?) };
    Ok(Entry { head, format: Format::from_code(i64::from(fixed[2])), gateway, content: content.to_vec() })
}

impl Entry {
    /// The record; the error says what is wrong with it.
    pub(super) fn into_record(self) -> Result<Record, String> {
        let Head { position, follows, received_at, forgotten_before, .. } = self.head;
        let format = self.format.ok_or("its format is unknown")?;
        let body = unpack(&self.content)?;
        Ok(Record { position, follows, received_at, format, gateway: self.gateway, forgotten_before, body })
    }
}

fn number(fixed: &[u8; FIXED_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fixed[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The checksum of a value, without the place where it stands itself.
fn checksum(value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&value[..CHECKSUM_AT]);
    hasher.write(&value[FIXED_BYTES..]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Admission;

    fn head(kind: Kind) -> Head {
        Head {
            kind,
            first: 5,
            position: 9,
            follows: 7,
            list: 2,
            received_at: Timestamp::from_millis(7),
            forgotten_before: 3,
            owner: 11,
            writer: 12,
            group: 13,
            id: "a log".into(),
        }
    }

    fn new(gateway: Option<&str>) -> NewRecord {
        let admission = Admission { received_at: Timestamp::from_millis(7), gateway, forgotten_before: 3 };
        NewRecord::new(admission, Format::Lines, b"{}\n{}")
    }

    #[test]
    fn an_entry_is_read_back_as_it_came() {
        for gateway in [None, Some("gw-1")] {
            let found = read(&record(&head(Kind::Record), &new(gateway))).expect("whole");
            assert_eq!(found.head, head(Kind::Record));
            let expected = new(gateway).into_record(9, 7, b"{}\n{}".to_vec());
            assert_eq!(found.into_record(), Ok(expected));
        }
        let found = read(&note(&head(Kind::Claim), b"a weir")).expect("whole");
        assert_eq!((found.head.kind, found.content.as_slice()), (Kind::Claim, b"a weir".as_slice()));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed_and_a_cut_as_well() {
        let whole = record(&head(Kind::Record), &new(Some("gw-1")));
        for at in 0..whole.len() {
            let mut value = whole.clone();
            value[at] ^= 1;
            assert!(read(&value).is_err(), "byte {at}");
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_though_their_checksum_matches() {
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut whole, mut refused) = (0, 0);
        for round in 0..5_000 {
            let mut value: Vec<u8> = (0..FIXED_BYTES + rng.usize(..64)).map(|_| rng.u8(..)).collect();
            value[..4].copy_from_slice(&[VERSION, rng.u8(1..8), rng.u8(..6), rng.u8(..32)]);
            value[4..14].copy_from_slice(&[rng.u8(..32), 0, 0, 0, 0, 0, 1, 0, 0, 0]);
            if round % 2 == 0 {
                value[3..5].copy_from_slice(&[0, 0]);
                value.truncate(FIXED_BYTES);
                value.extend(new(None).packed);
            }
            let checksum = checksum(&value);
            value[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
            match read(&value).map(Entry::into_record) {
                Ok(_) => whole += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(whole > 100 && refused > 100, "{whole} read, {refused} refused");
    }

    #[test]
    fn a_position_is_an_offset_from_the_log_s_first_one() {
        for (first, offset, position) in [(1, 0, 0), (1, 1, 1), (1, 9, 9), (7, 0, 6), (7, 1, 7)] {
            assert_eq!((position_at(first, offset), offset_of(first, position)), (position, offset));
        }
        assert_eq!(offset_of(7, 0), 0, "before the log's first");
    }
}
