//! Rows of sagas and their journals as values.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, OptionalExtension, Row, params};

use super::{Act, FirstKey, Kept, NewProvisioning};
use crate::store::change::By;
use crate::store::rows::{id, parsed, text};

/// The acts of a saga's journal that are kept from its beginning on, and those of its end.
const JOURNAL_FIRST: u32 = 200;
const JOURNAL_LAST: u32 = 800;

const SAGA: &str = "number, tenant, kind, who, spec, saga, keys, open, started_at, changed_at, told";

/// A saga as it is kept.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its number.
    pub number: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// `provision` or `deprovision`.
    pub kind: String,
    /// Who asked for it.
    pub who: String,
    /// What was asked for.
    pub spec: Value,
    /// The saga.
    pub saga: String,
    /// The keys that the tenant comes with.
    pub keys: Vec<FirstKey>,
    /// Whether it goes on.
    pub open: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last went on.
    pub changed_at: Timestamp,
    /// What the outside system itself answered, as JSON.
    pub told: Option<String>,
}

/// An act of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When.
    pub at: Timestamp,
    /// The step.
    pub step: String,
    /// What was about to be done; `answer` for what came of it.
    pub act: String,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A page of a journal, the earliest act first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// The acts.
    pub acts: Vec<JournalEntry>,
    /// The cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

pub(super) fn insert(
    db: &Connection,
    new: &NewProvisioning<'_>,
    by: &By,
    request: &[u8; 32],
    keys: &[FirstKey],
) -> Result<i64, weir_database::Error> {
    let sql =
        "INSERT INTO provisioning(tenant, kind, who, key, request, spec, saga, keys, open, started_at, changed_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?9) RETURNING number";
    let values = params![
        new.tenant.as_str(),
        new.kind,
        by.who,
        by.key,
        request,
        new.spec.to_string(),
        new.saga,
        text(&keys),
        by.at.as_millis(),
    ];
    db.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

pub(super) fn by_key(db: &Connection, who: &str, key: &str) -> Result<Option<(Saved, [u8; 32])>, weir_database::Error> {
    let sql = format!("SELECT {SAGA}, request FROM provisioning WHERE who = ?1 AND key = ?2");
    db.prepare_cached(&sql)?.query_row([who, key], |row| Ok((read(row)?, row.get(11)?))).optional()
}

pub(super) fn by_number(db: &Connection, number: i64) -> Result<Option<Saved>, weir_database::Error> {
    let sql = format!("SELECT {SAGA} FROM provisioning WHERE number = ?1");
    db.prepare_cached(&sql)?.query_row([number], read).optional()
}

pub(super) fn latest(db: &Connection, tenant: &str, kind: Option<&str>) -> Result<Option<Saved>, weir_database::Error> {
    let sql = format!(
        "SELECT {SAGA} FROM provisioning WHERE tenant = ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY number DESC LIMIT 1"
    );
    db.prepare_cached(&sql)?.query_row(params![tenant, kind], read).optional()
}

pub(super) fn open(db: &Connection) -> Result<Vec<i64>, weir_database::Error> {
    // `+number`, since in the order of numbers the plan would go through all that have ended.
    let mut select = db.prepare_cached("SELECT number FROM provisioning WHERE open = 1 ORDER BY +number")?;
    select.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn keep(db: &Connection, kept: Kept<'_>) -> Result<(), weir_database::Error> {
    let sql = "UPDATE provisioning SET saga = ?2, open = ?3, changed_at = ?4 WHERE number = ?1";
    db.prepare_cached(sql)?.execute(params![kept.number, kept.saga, kept.open, kept.at.as_millis()])?;
    write_act(db, kept.number, kept.at, kept.act)
}

pub(super) fn write_keys(db: &Connection, number: i64, keys: &[FirstKey]) -> Result<(), weir_database::Error> {
    db.prepare_cached("UPDATE provisioning SET keys = ?2 WHERE number = ?1")?.execute(params![number, text(&keys)])?;
    Ok(())
}

pub(super) fn write_act(db: &Connection, number: i64, at: Timestamp, act: Act<'_>) -> Result<(), weir_database::Error> {
    let sql = "INSERT INTO provisioning_journal(provisioning, at, step, act, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![number, at.as_millis(), act.step, act.act, act.detail])?;
    // The beginning says what was made, and the end how it stands; between them are attempts that failed alike.
    let middle = "DELETE FROM provisioning_journal WHERE provisioning = ?1
        AND number > (SELECT number FROM provisioning_journal WHERE provisioning = ?1 ORDER BY number LIMIT 1 OFFSET ?2)
        AND number < (SELECT number FROM provisioning_journal WHERE provisioning = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?3)";
    db.prepare_cached(middle)?.execute(params![number, JOURNAL_FIRST - 1, JOURNAL_LAST - 1])?;
    Ok(())
}

/// Keeps what the outside system answered, if it is the first answer; returns the first.
pub(super) fn tell(db: &Connection, number: i64, told: &str) -> Result<String, weir_database::Error> {
    let sql = "UPDATE provisioning SET told = coalesce(told, ?2) WHERE number = ?1 RETURNING told";
    db.prepare_cached(sql)?.query_row(params![number, told], |row| row.get(0))
}

/// Drops the journals of sagas that ended before a moment, and the sagas themselves unless a tenant that is there came by them.
pub(super) fn expire(db: &Connection, before: Timestamp) -> Result<(), weir_database::Error> {
    let over = "SELECT number FROM provisioning WHERE open = 0 AND changed_at < ?1";
    let journals = format!("DELETE FROM provisioning_journal WHERE at < ?1 AND provisioning IN ({over})");
    db.prepare_cached(&journals)?.execute([before.as_millis()])?;
    let sagas = format!(
        "DELETE FROM provisioning WHERE number IN ({over})
           AND (kind = 'deprovision' OR tenant NOT IN (SELECT id FROM tenant WHERE state <> 'archived'))
           AND number NOT IN (SELECT provisioning FROM provisioning_journal)"
    );
    db.prepare_cached(&sagas)?.execute([before.as_millis()])?;
    Ok(())
}

pub(super) fn journal(db: &Connection, number: i64, limit: u32) -> Result<Vec<JournalEntry>, weir_database::Error> {
    let sql = "SELECT at, step, act, detail FROM
                 (SELECT * FROM provisioning_journal WHERE provisioning = ?1 ORDER BY number DESC LIMIT ?2) AS latest
               ORDER BY number";
    db.prepare_cached(sql)?.query_map(params![number, limit], |row| read_act(row, 0))?.collect()
}

/// The saga that the act of this number belongs to, or the last one before it that is kept, if it is one of the tenant's.
pub(super) fn saga_of_act(db: &Connection, tenant: &str, act: i64) -> Result<Option<i64>, weir_database::Error> {
    let sql = "SELECT p.number FROM provisioning p JOIN provisioning_journal j ON j.provisioning = p.number
               WHERE p.tenant = ?1 AND j.number <= ?2 ORDER BY j.number DESC LIMIT 1";
    db.prepare_cached(sql)?.query_row(params![tenant, act], |row| row.get(0)).optional()
}

/// The acts of a saga after the one of this number, with their numbers.
pub(super) fn acts_after(
    db: &Connection,
    saga: i64,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, JournalEntry)>, weir_database::Error> {
    let sql = "SELECT number, at, step, act, detail FROM provisioning_journal
               WHERE provisioning = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let read = |row: &Row<'_>| Ok((row.get(0)?, read_act(row, 1)?));
    db.prepare_cached(sql)?.query_map(params![saga, after, limit], read)?.collect()
}

/// An act whose columns begin at the place `from`.
fn read_act(row: &Row<'_>, from: usize) -> Result<JournalEntry, weir_database::Error> {
    let at = Timestamp::from_millis(row.get(from)?);
    Ok(JournalEntry { at, step: row.get(from + 1)?, act: row.get(from + 2)?, detail: row.get(from + 3)? })
}

fn read(row: &Row<'_>) -> Result<Saved, weir_database::Error> {
    Ok(Saved {
        number: row.get(0)?,
        tenant: id(row, 1)?,
        kind: row.get(2)?,
        who: row.get(3)?,
        spec: parsed(row, 4)?,
        saga: row.get(5)?,
        keys: parsed(row, 6)?,
        open: row.get(7)?,
        started_at: Timestamp::from_millis(row.get(8)?),
        changed_at: Timestamp::from_millis(row.get(9)?),
        told: row.get(10)?,
    })
}
