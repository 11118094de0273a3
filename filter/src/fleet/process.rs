//! The name of a gateway process: what all its workers are to weir serve.
//!
//! The first worker that needs it writes it to the shared data, where it outlives workers and configurations. A wiped store
//! begins another process; what the old one held ends by itself.
//!
//! The value is text, `1 CHECKSUM KEY NAME`: Kong compares keys by CRC32 and copies values after unlocking them.
use crate::hash;
use crate::store::{Read, Store, Write};

const KEY: &str = "weir/fleet/1/process";

/// The generations under which a missing key is created: on Envoy, and on Kong; see [`Store::write`].
const CREATE_CAS: [u32; 2] = [u32::MAX, 0];

/// How often a torn value is read again.
const READS_MAX: usize = 3;

/// The process's name; `own` becomes it where it has none. None while the store fails.
pub(super) fn name(store: &mut impl Store, own: &str) -> Option<String> {
    for _ in 0..READS_MAX {
        match store.read(KEY) {
            Read::Found(text, cas) => match parse(&text) {
                Some(name) => return Some(name),
                None => {
                    // Torn, or another key's. A value that stays so is replaced.
                    if store.read(KEY) == Read::Found(text, cas) {
                        let _raced = store.write(KEY, line(own).as_bytes(), cas);
                    }
                }
            },
            Read::Missing => {
                for cas in CREATE_CAS {
                    if store.read(KEY) == Read::Missing && store.write(KEY, line(own).as_bytes(), cas) == Write::Written
                    {
                        return Some(own.to_owned());
                    }
                }
            }
            Read::Failed => return None,
        }
    }
    None
}

fn line(name: &str) -> String {
    let rest = [KEY, " ", name].concat();
    format!("1 {:016x} {rest}", hash::sum(rest.as_bytes()))
}

fn parse(text: &[u8]) -> Option<String> {
    let (sum, rest) = std::str::from_utf8(text).ok()?.strip_prefix("1 ")?.split_once(' ')?;
    if u64::from_str_radix(sum, 16) != Ok(hash::sum(rest.as_bytes())) {
        return None;
    }
    Some(rest.strip_prefix(KEY)?.strip_prefix(' ')?.to_owned())
}
