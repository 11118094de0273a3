//! Running totals, so that metrics need not read whole tables.
use std::collections::BTreeMap;

use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::LedgerError;
use super::view::{MeterView, SourceTotals};
use crate::meters::weight::decimal;

/// Adds to a total. A total beyond SQLite's integers stays at their end, because SQLite would turn it into a float, which weir
/// could not read again.
pub(super) fn add(tx: &Transaction<'_>, kind: &str, key: &str, value: i64) -> Result<(), LedgerError> {
    let sql = "INSERT INTO total VALUES (?1, ?2, ?3)
               ON CONFLICT (kind, key) DO UPDATE SET value = CAST(total.value + ?3 AS INTEGER)";
    tx.prepare_cached(sql)?.execute(params![kind, key, value])?;
    Ok(())
}

/// One total; 0 if it was never added to.
pub(super) fn get(db: &Connection, kind: &str, key: &str) -> Result<u64, LedgerError> {
    let sql = "SELECT value FROM total WHERE kind = ?1 AND key = ?2";
    let value: Option<u64> = db.prepare_cached(sql)?.query_row([kind, key], |row| row.get(0)).optional()?;
    Ok(value.unwrap_or(0))
}

/// All totals, by kind and key.
#[derive(Debug)]
pub struct Totals(BTreeMap<String, BTreeMap<String, i64>>);

impl Totals {
    /// Reads them.
    pub fn read(db: &Connection) -> Result<Self, LedgerError> {
        let mut all: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        let mut select = db.prepare_cached("SELECT kind, key, value FROM total")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            all.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
        }
        Ok(Totals(all))
    }

    fn signed(&self, kind: &str, key: &str) -> i64 {
        self.0.get(kind).and_then(|totals| totals.get(key)).copied().unwrap_or(0)
    }

    /// One total that cannot be negative.
    pub fn get(&self, kind: &str, key: &str) -> u64 {
        self.signed(kind, key).unsigned_abs()
    }

    /// The totals of a kind that are not 0.
    pub fn of(&self, kind: &str) -> BTreeMap<String, u64> {
        let all = self.0.get(kind).into_iter().flatten();
        all.filter(|(_, value)| **value != 0).map(|(key, value)| (key.clone(), value.unsigned_abs())).collect()
    }

    /// The totals over all sources.
    pub fn sources(&self) -> SourceTotals {
        let get = |key| self.get("source", key);
        SourceTotals {
            sources: get("sources"),
            accepted: get("accepted"),
            quarantined: get("quarantined"),
            missing: get("missing"),
            duplicates: get("duplicates"),
            conflicts: get("conflicts"),
            spilled: get("spilled"),
        }
    }

    /// The sums of a meter over all tenants and windows.
    pub fn meter(&self, meter: &str, carried_nano: u64) -> MeterView {
        let excluded = self.0.get("excluded").into_iter().flatten().filter_map(|(key, value)| {
            let (name, reason) = key.split_once(' ')?;
            (name == meter).then(|| (reason.to_owned(), value.unsigned_abs()))
        });
        let excluded: BTreeMap<String, u64> = excluded.collect();
        let billable = self.get("billable", meter);
        let (reported, held) = (self.signed("reported", meter), self.signed("held", meter));
        let settled = self.signed("settled", meter);
        // Rows that wait, and what is in no row yet.
        let open = i128::from(billable) - i128::from(self.signed("outboxed", meter));
        let pending = i128::from(self.signed("pending", meter)) + open;
        let adjusted = self.signed("adjusted", meter);
        MeterView {
            meter: meter.to_owned(),
            // Not stored on its own: the transaction that measured it wrote both parts.
            accepted: billable + excluded.values().sum::<u64>(),
            billable,
            excluded,
            adjusted,
            reported,
            pending: i64::try_from(pending).unwrap_or(i64::MAX),
            held,
            settled,
            carried: decimal(carried_nano),
            balanced: i128::from(billable) + i128::from(adjusted)
                == i128::from(reported) + pending + i128::from(held) + i128::from(settled),
        }
    }
}
