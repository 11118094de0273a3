//! Takes a user out of the log.
//!
//! The one change that a record ever sees: the user's name is overwritten by as many other bytes. Sums do not change, and
//! repeats of the event are still known by the bytes it had when it was counted.
use rusqlite::{Connection, params};

use super::Position;
use super::record::checksum;

/// How many records are looked at in one transaction: appends wait for no longer than that takes.
pub const REDACT_STEP: u32 = 200;
/// The most bytes of a user's name: SHA-512 in hex.
const USER_MAX_BYTES: usize = 5 + 128;

/// How far a redaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The last record that was looked at; none when there are no more.
    pub through: Option<Position>,
    /// How many records named the user.
    pub records: u64,
}

/// Whether `user` is a name as events have it: `hmac:` and at least 16 hex digits. Anything shorter could be part of
/// something else.
pub fn is_user(user: &str) -> bool {
    user.len() <= USER_MAX_BYTES
        && user.strip_prefix("hmac:").is_some_and(|hex| hex.len() >= 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What stands in place of `user` from then on: of the same length, so that nothing moves.
pub fn nobody(user: &str) -> String {
    format!("hmac:{}", "0".repeat(user.len().saturating_sub(5)))
}

/// Redacts some records after `after`.
pub(super) fn step(db: &mut Connection, after: Position, user: &str) -> Result<Redacted, rusqlite::Error> {
    // Freed bytes are overwritten, too.
    db.pragma_update(None, "secure_delete", true)?;
    let tx = db.transaction()?;
    let mut done = Redacted { through: None, records: 0 };
    {
        let sql = "SELECT position, body FROM record WHERE position > ?1 ORDER BY position LIMIT ?2";
        let mut select = tx.prepare_cached(sql)?;
        let mut rows = select.query(params![after.cast_signed(), REDACT_STEP])?;
        let mut update = tx.prepare_cached("UPDATE record SET body = ?2, checksum = ?3 WHERE position = ?1")?;
        while let Some(row) = rows.next()? {
            let (position, packed): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            done.through = Some(position.unsigned_abs());
            if let Some(packed) = redacted(&packed, user) {
                update.execute(params![position, packed, checksum(&packed)])?;
                done.records += 1;
            }
        }
    }
    tx.commit()?;
    if done.through.is_none() {
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(done)
}

/// The body without the user; none if it does not name them. What cannot be unpacked is left for the reader to report.
fn redacted(packed: &[u8], user: &str) -> Option<Vec<u8>> {
    let mut body = lz4_flex::decompress_size_prepended(packed).ok()?;
    let (user, nobody) = (user.as_bytes(), nobody(user));
    let places: Vec<usize> =
        body.windows(user.len()).enumerate().filter(|(_, bytes)| *bytes == user).map(|(at, _)| at).collect();
    for at in &places {
        body[*at..*at + user.len()].copy_from_slice(nobody.as_bytes());
    }
    (!places.is_empty()).then(|| lz4_flex::compress_prepend_size(&body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_an_hmac_and_nothing_shorter() {
        assert!(is_user("hmac:0123456789abcdef"));
        for text in ["", "hmac:", "hmac:0123", "alice", "hmac:0123456789abcdeg", &format!("hmac:{}", "a".repeat(129))] {
            assert!(!is_user(text), "{text}");
        }
    }

    #[test]
    fn a_body_keeps_its_length_and_everything_else() {
        let user = "hmac:0123456789abcdef";
        let body = format!(r#"{{"user":"{user}","x":"{user}","y":"hmac:fedcba9876543210"}}"#);
        let packed = redacted(&lz4_flex::compress_prepend_size(body.as_bytes()), user).expect("changed");
        let text = String::from_utf8(lz4_flex::decompress_size_prepended(&packed).expect("unpacked")).expect("text");
        assert_eq!(text, body.replace(user, "hmac:0000000000000000"));
        assert_eq!(redacted(&packed, user), None);
    }
}
