//! Removes a user's name from the log.
//!
//! This is the only change to existing records. The name is overwritten in place, so no other byte moves and no sum changes. A
//! repeat of a redacted event is still recognised: the ledger keeps the hash of its original bytes.
use rusqlite::{Connection, params};

use super::Position;
use super::record::checksum;

/// Records per transaction. Bounds the time that appends wait for a redaction.
pub(crate) const REDACT_STEP: u32 = 200;
/// The longest name of a user, in bytes: `hmac:` and a SHA-512 in hex.
const USER_MAX_BYTES: usize = 5 + 128;

/// The progress of a redaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The last record read; none once all are read.
    pub through: Option<Position>,
    /// Records that named the user.
    pub records: u64,
}

/// Returns true if `user` has the form that events use: `hmac:` and at least 16 hex digits. A shorter text could match an
/// unrelated part of a body.
pub fn is_user(user: &str) -> bool {
    user.len() <= USER_MAX_BYTES
        && user.strip_prefix("hmac:").is_some_and(|hex| hex.len() >= 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The replacement for `user`, of the same length.
pub fn nobody(user: &str) -> String {
    format!("hmac:{}", "0".repeat(user.len().saturating_sub(5)))
}

/// Redacts some records after `after`.
pub(super) fn step(db: &mut Connection, after: Position, user: &str) -> Result<Redacted, rusqlite::Error> {
    // SQLite then also overwrites freed bytes.
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

/// Returns the body without the user; none if it does not name them. Ignores a damaged body, which the reader reports.
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
