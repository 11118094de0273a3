//! Removes a user's name from the log.
//!
//! This is the only change to existing records. The name is overwritten in place, so no other byte moves and no sum changes. A
//! repeat of a redacted event is still recognised: the ledger keeps the hash of its original bytes. A record may therefore be
//! redacted only once the ledger has counted it.
use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::Position;
use super::record::checksum;

/// Records per transaction. Bounds the time that appends wait for a redaction.
pub(crate) const REDACT_STEP: u32 = 200;
/// The first characters of a user's name.
const PREFIX: &str = "hmac:";
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
        && user.strip_prefix(PREFIX).is_some_and(|hex| hex.len() >= 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Names of users to redact.
#[derive(Clone, Debug, Default)]
pub struct Users(Arc<HashSet<String>>);

impl Users {
    /// Takes the names that [`is_user`] accepts.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Users(Arc::new(names.into_iter().filter(|name| is_user(name)).map(str::to_ascii_lowercase).collect()))
    }

    /// Returns true if there is nobody to redact.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Overwrites the digits of each of these names in `body` with zeros. Returns true if there was one.
    ///
    /// Looks up every name that the body has, so that the time does not depend on the number of users.
    pub fn redact(&self, body: &mut [u8]) -> bool {
        let (mut at, mut changed) = (0, false);
        while let Some(found) = find(&body[at..]) {
            let start = at + found + PREFIX.len();
            let digits = body[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let name = [PREFIX.as_bytes(), &body[start..start + digits]].concat().to_ascii_lowercase();
            if std::str::from_utf8(&name).is_ok_and(|name| self.0.contains(name)) {
                body[start..start + digits].fill(b'0');
                changed = true;
            }
            at = start + digits;
        }
        changed
    }
}

fn find(body: &[u8]) -> Option<usize> {
    body.windows(PREFIX.len()).position(|part| part == PREFIX.as_bytes())
}

/// Redacts some records after `after`, up to `until`.
pub(super) fn step(
    db: &mut Connection,
    after: Position,
    until: Position,
    users: &Users,
) -> Result<Redacted, rusqlite::Error> {
    // SQLite then also overwrites freed bytes.
    db.pragma_update(None, "secure_delete", true)?;
    let tx = db.transaction()?;
    let mut done = Redacted { through: None, records: 0 };
    {
        let sql = "SELECT position, body FROM record WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
        let mut select = tx.prepare_cached(sql)?;
        let mut rows = select.query(params![after.cast_signed(), until.cast_signed(), REDACT_STEP])?;
        let mut update = tx.prepare_cached("UPDATE record SET body = ?2, checksum = ?3 WHERE position = ?1")?;
        while let Some(row) = rows.next()? {
            let (position, packed): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            done.through = Some(position.unsigned_abs());
            if let Some(packed) = redacted(&packed, users) {
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
fn redacted(packed: &[u8], users: &Users) -> Option<Vec<u8>> {
    let mut body = lz4_flex::decompress_size_prepended(packed).ok()?;
    users.redact(&mut body).then(|| lz4_flex::compress_prepend_size(&body))
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
        let users = Users::new([user, "alice"]);
        let packed = redacted(&lz4_flex::compress_prepend_size(body.as_bytes()), &users).expect("changed");
        let text = String::from_utf8(lz4_flex::decompress_size_prepended(&packed).expect("unpacked")).expect("text");
        assert_eq!(text, body.replace(user, "hmac:0000000000000000"));
        assert_eq!(redacted(&packed, &users), None);
    }

    #[test]
    fn every_user_of_many_is_found_and_no_part_of_a_longer_name() {
        let names: Vec<String> = (0..500_u64).map(|number| format!("hmac:{number:032x}")).collect();
        let users = Users::new(names.iter().map(String::as_str));
        let mut body = format!(
            "{} {}hmac:{} {}ff hmac:",
            names[7],
            names[499],
            names[3].to_uppercase().replace("HMAC", "hmac"),
            names[8]
        );
        let expected = body.len();
        let mut bytes = std::mem::take(&mut body).into_bytes();
        assert!(users.redact(&mut bytes));
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.len() == expected && text.matches(&"0".repeat(32)).count() == 3, "{text}");
        assert!(text.contains(&format!("{}ff", names[8])), "{text}");
    }
}
