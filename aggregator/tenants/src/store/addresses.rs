//! Addresses at which tenants are told of their own budgets. Nothing but a code goes to an address before somebody who got the code has
//! entered it, so nobody has messages sent to others; and every message has a link that ends them.
use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use weir_contract::Timestamp;
use weir_database::types::ToSql;
use weir_database::{Connection, OptionalExtension, Row, Transaction, params};

use super::change::{By, ChangeError};
use super::once::note;
use super::{TenantStore, rows};

/// The most addresses of a tenant, proven or not.
pub const ADDRESSES_MAX: usize = 5;
/// The most codes that a tenant may have sent on a day, UTC.
const CODES_A_DAY_MAX: u32 = 20;
/// How long a code is good, in milliseconds.
const CODE_GOOD_MS: u64 = 3_600_000;
/// How often a wrong code may be entered before another one has to be sent.
const TRIES_MAX: u32 = 5;
/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3).
const EMAIL_MAX_BYTES: usize = 254;
const DAY_MS: u64 = 24 * 3_600_000;

/// An address of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressView {
    /// Its number.
    pub id: i64,
    /// The address.
    pub email: String,
    /// Whether messages go there: somebody has entered the code that was sent to it.
    pub proven: bool,
    /// Who added it.
    pub added_by: String,
    /// When it was added.
    #[schemars(with = "String")]
    pub added_at: Timestamp,
    /// When it was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub proven_at: Option<Timestamp>,
}

/// An address that messages go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Its number.
    pub id: i64,
    /// The address.
    pub email: String,
    /// What names it in the link that ends its messages.
    pub stop: String,
}

/// Addresses that messages go to, by tenant.
pub type ProvenAddresses = HashMap<String, Vec<Proven>>;

/// What proves an address, and what ends its messages: random texts.
#[derive(Clone, Debug)]
pub struct Codes {
    /// The code that is sent to it.
    pub code: String,
    /// What names it in the link of its messages.
    pub stop: String,
}

const COLUMNS: &str = "id, email, added_by, added_at, proven_at";

impl TenantStore {
    /// A tenant's addresses, in the order in which they were added.
    pub fn addresses(&self, tenant: &str) -> Result<Vec<AddressView>, ChangeError> {
        let db = self.db();
        rows::tenant(&db, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
        let mut select =
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM alert_address WHERE tenant = ?1 ORDER BY id"))?;
        let rows = select.query_map([tenant], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Adds an address, or gives one that is not proven another code. The caller sends the code there.
    pub fn add_address(&self, tenant: &str, email: &str, codes: &Codes, by: &By) -> Result<AddressView, ChangeError> {
        check_email(email)?;
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let owner = rows::tenant(&tx, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
        let known = find(&tx, "tenant = ?1 AND email = ?2", params![tenant, email])?;
        if known.as_ref().is_some_and(|known| known.proven) {
            return Err(ChangeError::Taken(format!("the address {email}")));
        }
        let count: usize =
            tx.query_row("SELECT count(*) FROM alert_address WHERE tenant = ?1", [tenant], |row| row.get(0))?;
        if known.is_none() && count >= ADDRESSES_MAX {
            return Err(ChangeError::Invalid(format!("a tenant has at most {ADDRESSES_MAX} addresses; remove one")));
        }
        count_code(&tx, tenant, by.at)?;
        let sql = "INSERT INTO alert_address(tenant, email, added_by, added_at, code, code_ends, stop)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(tenant, email)
                   DO UPDATE SET code = excluded.code, code_ends = excluded.code_ends, tries = 0";
        let ends = by.at.as_millis() + CODE_GOOD_MS;
        let values = params![tenant, email, by.who, by.at.as_millis(), hash(&codes.code), ends, codes.stop];
        tx.execute(sql, values)?;
        let view = find(&tx, "tenant = ?1 AND email = ?2", params![tenant, email])?
            .ok_or_else(|| ChangeError::Invalid("the address is not kept".to_owned()))?;
        if known.is_none() {
            let after = json!({"email": masked(email)});
            note(&tx, by, (&owner.entry.id, owner.version), "alert address add", None, Some(&after))?;
        }
        tx.commit()?;
        Ok(view)
    }

    /// Proves an address by the code that was sent to it. From now on messages go there.
    pub fn prove_address(&self, tenant: &str, id: i64, code: &str, by: &By) -> Result<AddressView, ChangeError> {
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let owner = rows::tenant(&tx, tenant)?.ok_or_else(|| ChangeError::NoTenant(tenant.to_owned()))?;
        let view = of_tenant(&tx, tenant, id)?;
        if view.proven {
            return Ok(view);
        }
        let sql = "SELECT code, code_ends, tries FROM alert_address WHERE id = ?1";
        let (kept, ends, tries): (Option<[u8; 32]>, Option<u64>, u32) =
            tx.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if tries >= TRIES_MAX || ends.is_none_or(|ends| ends <= by.at.as_millis()) {
            return Err(ChangeError::Contradiction(
                "the code is no longer good: add the address again for another one",
            ));
        }
        // Case and spaces are those of whoever typed it.
        if kept != Some(hash(code)) {
            tx.execute("UPDATE alert_address SET tries = tries + 1 WHERE id = ?1", [id])?;
            tx.commit()?;
            return Err(ChangeError::Invalid("this is not the code that was sent to the address".to_owned()));
        }
        let sql = "UPDATE alert_address SET proven_at = ?2, code = NULL, code_ends = NULL WHERE id = ?1";
        tx.execute(sql, params![id, by.at.as_millis()])?;
        let after = json!({"email": masked(&view.email)});
        note(&tx, by, (&owner.entry.id, owner.version), "alert address prove", None, Some(&after))?;
        let view = of_tenant(&tx, tenant, id)?;
        self.commit(tx, by.at)?;
        self.read_proven(&db)?;
        Ok(view)
    }

    /// Removes an address: messages that wait for it are not sent any more.
    pub fn remove_address(&self, tenant: &str, id: i64, by: &By) -> Result<AddressView, ChangeError> {
        self.take_away("alert address remove", by, |tx| Ok((tenant.to_owned(), of_tenant(tx, tenant, id)?)))
    }

    /// Removes the address that a message's link names. None if there is none any more.
    pub fn stop_address(&self, stop: &str, at: Timestamp) -> Result<Option<AddressView>, ChangeError> {
        let by = By { who: "the link in a message".to_owned(), at, key: None };
        let found = self.take_away("alert address stop", &by, |tx| {
            let sql = "SELECT tenant FROM alert_address WHERE stop = ?1";
            let tenant: Option<String> = tx.query_row(sql, [stop], |row| row.get(0)).optional()?;
            let view = find(tx, "stop = ?1", params![stop])?;
            tenant.zip(view).ok_or_else(gone)
        });
        match found {
            Ok(view) => Ok(Some(view)),
            Err(ChangeError::NoAddress) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take_away(
        &self,
        act: &str,
        by: &By,
        find: impl FnOnce(&Transaction<'_>) -> Result<(String, AddressView), ChangeError>,
    ) -> Result<AddressView, ChangeError> {
        let mut db = self.db();
        let tx = db.write_transaction()?;
        let (tenant, view) = find(&tx)?;
        let owner = rows::tenant(&tx, &tenant)?.ok_or(ChangeError::NoTenant(tenant))?;
        tx.execute("DELETE FROM alert_address WHERE id = ?1", [view.id])?;
        let before = json!({"email": masked(&view.email)});
        note(&tx, by, (&owner.entry.id, owner.version), act, Some(&before), None)?;
        self.commit(tx, by.at)?;
        self.read_proven(&db)?;
        Ok(view)
    }

    /// The addresses that messages go to. At most [`ADDRESSES_MAX`] of each tenant.
    pub fn proven(&self) -> Arc<ProvenAddresses> {
        Arc::clone(&self.proven.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(super) fn read_proven(&self, db: &Connection) -> Result<(), ChangeError> {
        let read = proven_of(db)?;
        *self.proven.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(read);
        Ok(())
    }
}

/// Reads the addresses that messages go to.
pub(super) fn proven_of(db: &Connection) -> Result<ProvenAddresses, weir_database::Error> {
    let sql = "SELECT tenant, id, email, stop FROM alert_address WHERE proven_at IS NOT NULL ORDER BY id";
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    let mut proven = ProvenAddresses::new();
    while let Some(row) = rows.next()? {
        let address = Proven { id: row.get(1)?, email: row.get(2)?, stop: row.get(3)? };
        proven.entry(row.get(0)?).or_default().push(address);
    }
    Ok(proven)
}

/// An address as the history has it, which keeps what it has for ever: enough to tell which one.
fn masked(email: &str) -> String {
    let (local, domain) = email.split_once('@').unwrap_or((email, ""));
    format!("{}…@{domain}", local.chars().next().unwrap_or_default())
}

fn gone() -> ChangeError {
    ChangeError::NoAddress
}

fn find(tx: &Transaction<'_>, condition: &str, values: &[&dyn ToSql]) -> Result<Option<AddressView>, ChangeError> {
    let sql = format!("SELECT {COLUMNS} FROM alert_address WHERE {condition}");
    Ok(tx.prepare_cached(&sql)?.query_row(values, read).optional()?)
}

fn of_tenant(tx: &Transaction<'_>, tenant: &str, id: i64) -> Result<AddressView, ChangeError> {
    find(tx, "tenant = ?1 AND id = ?2", params![tenant, id])?.ok_or_else(gone)
}

fn read(row: &Row<'_>) -> Result<AddressView, weir_database::Error> {
    let proven_at = row.get::<_, Option<u64>>(4)?.map(Timestamp::from_millis);
    Ok(AddressView {
        id: row.get(0)?,
        email: row.get(1)?,
        proven: proven_at.is_some(),
        added_by: row.get(2)?,
        added_at: Timestamp::from_millis(row.get(3)?),
        proven_at,
    })
}

/// Counts a code of today. Refuses one beyond the bound.
fn count_code(tx: &Transaction<'_>, tenant: &str, at: Timestamp) -> Result<(), ChangeError> {
    let day = at.as_millis() / DAY_MS;
    let sql = "INSERT INTO alert_codes(tenant, day, sent) VALUES (?1, ?2, 1) ON CONFLICT(tenant)
               DO UPDATE SET sent = CASE WHEN alert_codes.day = excluded.day THEN alert_codes.sent + 1 ELSE 1 END,
                 day = excluded.day RETURNING sent";
    let sent: u32 = tx.query_row(sql, params![tenant, day], |row| row.get(0))?;
    if sent > CODES_A_DAY_MAX {
        return Err(ChangeError::Invalid(format!(
            "a tenant has at most {CODES_A_DAY_MAX} codes sent a day; try tomorrow"
        )));
    }
    Ok(())
}

fn hash(code: &str) -> [u8; 32] {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    Sha256::digest(code.to_ascii_lowercase()).into()
}

/// Checks the form of an address: one mailbox, without a name, comments or lines.
fn check_email(email: &str) -> Result<(), ChangeError> {
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
    };
    let fits = email.len() <= EMAIL_MAX_BYTES
        && email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && local.bytes().all(is_local) && domain.contains('.') && domain.split('.').all(is_label)
        });
    if fits {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!(
        "{email:?} is no e-mail address such as ann@example.com, of at most {EMAIL_MAX_BYTES} bytes"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::change::NewTenant;
    use weir_database::Fence;
    use weir_database::testing::place;

    fn by(at: u64) -> By {
        By { who: "Ann".to_owned(), at: Timestamp::from_millis(at), key: None }
    }

    fn codes(number: u32) -> Codes {
        Codes { code: format!("code{number}"), stop: format!("stop{number}") }
    }

    fn open(dir: &std::path::Path, now: u64) -> TenantStore {
        let place = place(&dir.join("tenants.sqlite"));
        TenantStore::open(place, &Fence::default(), Timestamp::from_millis(now)).expect("a store")
    }

    fn store(dir: &std::path::Path) -> TenantStore {
        let store = open(dir, 1);
        for id in ["acme", "globex"] {
            let new: NewTenant = serde_json::from_value(json!({"id": id, "plan": "p"})).expect("a tenant");
            store.create(&new, &by(1)).expect("made");
        }
        store
    }

    fn emails(store: &TenantStore, tenant: &str) -> Vec<String> {
        store.proven().get(tenant).into_iter().flatten().map(|proven| proven.email.clone()).collect()
    }

    #[test]
    fn an_address_is_told_only_after_its_code_was_entered_and_until_it_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        let added = store.add_address("acme", "ann@example.com", &codes(1), &by(10)).expect("added");
        assert!(!added.proven && emails(&store, "acme").is_empty());
        assert!(store.prove_address("globex", added.id, "code1", &by(11)).is_err(), "it is another tenant's");
        assert!(store.prove_address("acme", added.id, "code2", &by(11)).is_err());
        assert!(store.prove_address("acme", added.id, " CODE-1 ", &by(12)).expect("proven").proven);
        assert_eq!(emails(&store, "acme"), ["ann@example.com"]);
        assert_eq!(emails(&store, "globex"), Vec::<String>::new());
        let again = store.add_address("acme", "ann@example.com", &codes(2), &by(13));
        assert!(matches!(again, Err(ChangeError::Taken(_))), "{again:?}");
        drop(store);
        let store = open(dir.path(), 20);
        assert_eq!(emails(&store, "acme"), ["ann@example.com"], "it is known after a restart");
        assert!(store.remove_address("globex", added.id, &by(21)).is_err());
        assert!(store.stop_address("stop2", Timestamp::from_millis(22)).expect("asked").is_none());
        let stopped = store.stop_address("stop1", Timestamp::from_millis(22)).expect("asked").expect("it was there");
        assert_eq!((stopped.email.as_str(), emails(&store, "acme").len()), ("ann@example.com", 0));
        let history = store.history("acme", &Default::default()).expect("read").changes;
        let acts: Vec<&str> = history.iter().map(|entry| entry.act.as_str()).collect();
        assert_eq!(acts, ["alert address stop", "alert address prove", "alert address add", "create"]);
    }

    #[test]
    fn a_code_ends_after_an_hour_or_five_wrong_ones() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        let id = store.add_address("acme", "ann@example.com", &codes(1), &by(10)).expect("added").id;
        let late = store.prove_address("acme", id, "code1", &by(10 + CODE_GOOD_MS));
        assert!(matches!(late, Err(ChangeError::Contradiction(_))), "{late:?}");
        store.add_address("acme", "ann@example.com", &codes(2), &by(20)).expect("another code");
        for _ in 0..TRIES_MAX {
            assert!(matches!(store.prove_address("acme", id, "code1", &by(21)), Err(ChangeError::Invalid(_))));
        }
        let guessed = store.prove_address("acme", id, "code2", &by(22));
        assert!(matches!(guessed, Err(ChangeError::Contradiction(_))), "{guessed:?}");
        store.add_address("acme", "ann@example.com", &codes(3), &by(23)).expect("another code");
        assert!(store.prove_address("acme", id, "code3", &by(24)).is_ok());
    }

    #[test]
    fn addresses_and_codes_are_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        for number in 0..5 {
            store.add_address("acme", &format!("a{number}@example.com"), &codes(number), &by(10)).expect("added");
        }
        let sixth = store.add_address("acme", "a6@example.com", &codes(6), &by(10)).expect_err("full");
        assert!(sixth.to_string().contains("at most 5"), "{sixth}");
        for _ in 5..CODES_A_DAY_MAX {
            store.add_address("acme", "a0@example.com", &codes(7), &by(10)).expect("another code");
        }
        let often = store.add_address("acme", "a0@example.com", &codes(8), &by(10)).expect_err("too many");
        assert!(often.to_string().contains("20 codes"), "{often}");
        store.add_address("acme", "a0@example.com", &codes(8), &by(10 + DAY_MS)).expect("the next day");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "a b@example.com",
            "ann@example.com\nBcc: x@y.z",
            "ann@-x.com",
            "Ann <ann@example.com>",
            "ann@example.com,bob@example.com",
        ] {
            assert!(check_email(text).is_err(), "{text:?}");
        }
        assert!(check_email("ann+weir@mail.example.com").is_ok());
    }
}
