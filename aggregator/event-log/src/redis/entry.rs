//! One entry of the stream: a header of fixed fields and the packed body, under one checksum.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version of the header: 1 |
//! | 1 | [`Format`] |
//! | 8 | time of receipt, milliseconds since 1970 |
//! | 8 | `forgotten_before`, days since 1970 |
//! | 8 | checksum of everything else, and of the position |
//! | the rest | the gateway's name; empty for none |
//!
//! Numbers are little-endian. The checksum covers the position, so that an entry in another's place is noticed too.
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;

use crate::record::unpack;
use crate::{Format, NewRecord, Position, Record};

/// The version that this weir writes, and the only one that it reads.
const VERSION: u8 = 1;
/// Bytes before the gateway's name.
const FIXED_BYTES: usize = 26;
/// The place of the checksum in the header.
const CHECKSUM_AT: usize = 18;
/// Bytes before the time of receipt: `prune.lua` reads it there.
pub(super) const RECEIVED_AT: usize = 2;

/// The header of `record` at `position`.
pub(super) fn header(position: Position, record: &NewRecord) -> Vec<u8> {
    let gateway = record.gateway.as_deref().unwrap_or_default();
    let mut header = Vec::with_capacity(FIXED_BYTES + gateway.len());
    header.push(VERSION);
    header.push(u8::try_from(record.format.code()).unwrap_or_default());
    header.extend_from_slice(&record.received_at.as_millis().to_le_bytes());
    header.extend_from_slice(&record.forgotten_before.to_le_bytes());
    header.extend_from_slice(&[0; 8]);
    header.extend_from_slice(gateway.as_bytes());
    let checksum = checksum(position, &header, &record.packed);
    header[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Reads an entry; the error says what is wrong with it.
pub(super) fn read(position: Position, header: &[u8], packed: &[u8]) -> Result<Record, String> {
    let Some((fixed, gateway)) = header.split_first_chunk::<FIXED_BYTES>() else {
        return Err("its header is too short".to_owned());
    };
    if fixed[0] != VERSION {
        return Err(format!("its header is of version {}, this weir knows {VERSION}", fixed[0]));
    }
    if checksum(position, header, packed) != number(fixed, CHECKSUM_AT) {
        return Err("its checksum does not match".to_owned());
    }
    let format = Format::from_code(i64::from(fixed[1])).ok_or("its format is unknown")?;
    let gateway = std::str::from_utf8(gateway).map_err(|_| "its gateway is no text")?;
    Ok(Record {
        position,
        // The log numbers its records without gaps.
        follows: position.saturating_sub(1),
        received_at: Timestamp::from_millis(number(fixed, RECEIVED_AT)),
        format,
        gateway: (!gateway.is_empty()).then(|| gateway.into()),
        forgotten_before: number(fixed, RECEIVED_AT + 8),
        body: unpack(packed)?,
    })
}

fn number(fixed: &[u8; FIXED_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fixed[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The checksum of an entry, as if its own place in the header held zeros.
fn checksum(position: Position, header: &[u8], packed: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(position);
    hasher.write(&header[..CHECKSUM_AT]);
    hasher.write(&header[FIXED_BYTES..]);
    hasher.write(packed);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Admission;

    fn plain() -> Admission<'static> {
        Admission { received_at: Timestamp::from_millis(7), gateway: None, forgotten_before: 3 }
    }

    fn record(gateway: Option<&str>) -> NewRecord {
        NewRecord::new(Admission { gateway, ..plain() }, Format::Lines, b"{}\n{}")
    }

    #[test]
    fn an_entry_is_read_back_as_it_came() {
        for gateway in [None, Some("gw-1")] {
            let new = record(gateway);
            let found = read(9, &header(9, &new), &new.packed).expect("whole");
            assert_eq!(found, new.into_record(9, 8, b"{}\n{}".to_vec()));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_and_another_place_are_noticed() {
        let new = record(Some("gw-1"));
        let whole = header(9, &new);
        for at in 0..whole.len() {
            let mut header = whole.clone();
            header[at] ^= 1;
            assert!(read(9, &header, &new.packed).is_err(), "byte {at} of the header");
        }
        for at in 0..new.packed.len() {
            let mut packed = new.packed.clone();
            packed[at] ^= 1;
            assert!(read(9, &whole, &packed).is_err(), "byte {at} of the body");
        }
        assert!(read(8, &whole, &new.packed).is_err(), "another's place");
        assert!(read(9, &whole[..5], &new.packed).is_err(), "cut");
    }

    #[test]
    fn any_bytes_are_read_or_refused_whether_or_not_their_checksum_matches() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut bytes = |most: usize| (0..rng.usize(..most)).map(|_| rng.u8(..)).collect::<Vec<u8>>();
        let (mut read_whole, mut refused) = (0, 0);
        for position in 1..5_000 {
            let (mut header, mut packed) = (bytes(64), bytes(64));
            if let Some(fixed) = header.get_mut(..2) {
                fixed.copy_from_slice(&[VERSION, 1]);
            }
            if position % 2 == 0 {
                packed = NewRecord::new(plain(), Format::Event, &packed).packed;
                header.truncate(FIXED_BYTES);
            }
            if header.len() >= FIXED_BYTES {
                let checksum = checksum(position, &header, &packed);
                header[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
            }
            match read(position, &header, &packed) {
                Ok(_) => read_whole += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(read_whole > 1_000 && refused > 1_000, "{read_whole} read, {refused} refused");
    }
}
