//! The tables of the ledger's file, and the migrations that create them.
//!
//! The outbox and the provider's reports live in the same file, so that a row and its sum share a transaction; their
//! tables are created here as well, in one order. A released migration never changes; a new one follows it. Times are
//! milliseconds since 1970 (UTC) unless a column says seconds; a window is named by its start.
use std::path::Path;

use rusqlite::{Connection, params};

use super::LedgerError;
use crate::meters::Meters;

/// `user_version` of the file: the number of [`MIGRATIONS`] applied to it.
const VERSION: i64 = MIGRATIONS.len() as i64;
/// How a file becomes one of the latest version, from whichever it is of.
const MIGRATIONS: [&str; 24] = [
    include_str!("migrations/1_ledger.sql"),
    // Forgotten days, fractions, and the audit, which can only grow. Running totals: triggers keep those whose rows
    // change one by one, the ledger keeps those that change by thousands.
    include_str!("migrations/2_carry_audit_totals.sql"),
    // Exact reporting over years: billing periods, the history of customers, the sender, the times of holds,
    // corrections by hand, and hours under verification.
    include_str!("migrations/3_billing.sql"),
    // The last comparison with the provider, and the errors that the provider reported.
    include_str!("migrations/4_reconciliation.sql"),
    // A column that marks sums which may differ from their rows. An index on the sums themselves would be rewritten
    // with each of them. The mark is 1 wherever they differ; it may also be 1 where they agree.
    include_str!("migrations/5_open_sums.sql"),
    // Readings that were counted, and a mark on those that wait.
    include_str!("migrations/6_readings.sql"),
    // Counted answers among those that providers keep.
    include_str!("migrations/7_kept_answers.sql"),
    // Rows that a person settles.
    include_str!("migrations/8_settlements.sql"),
    // Errors that the provider found and nobody has acknowledged, and reports that could not be read.
    include_str!("migrations/9_unseen.sql"),
    // Findings about the borders between tenants, and searches of vector stores.
    include_str!("migrations/10_security.sql"),
    // What requests cost: price books, sums by tenant for ever, and the analysis in a form that can be priced again.
    include_str!("migrations/11_cost.sql"),
    // Sums of hours that are over, by month and by the month up to each day.
    include_str!("migrations/12_rolled.sql"),
    // Refused events that a person lets go: they stay, and are no longer told.
    include_str!("migrations/13_dropped_refusals.sql"),
    // Sums by the values of one dimension, by month and by the month up to each day.
    include_str!("migrations/14_values.sql"),
    // Budgets: what each has used, its stages, and amounts that a person raised.
    include_str!("migrations/15_budgets.sql"),
    // Where each export goes on.
    include_str!("migrations/16_exports.sql"),
    // Alerts of rules, their history, and silences.
    include_str!("migrations/17_alerts.sql"),
    // Plans of tenants over time.
    include_str!("migrations/18_tenant_plans.sql"),
    // The event with which each kept answer was counted, and when each tenant was first answered.
    include_str!("migrations/19_kept_events.sql"),
    // Attempts of gateways at providers, by hour, and the breakers that they opened.
    include_str!("migrations/20_attempts.sql"),
    // Sums by feature flag and value.
    include_str!("migrations/21_flag_sums.sql"),
    // The first hour of them.
    include_str!("migrations/22_flag_sums_since.sql"),
    // Why stages of budgets changed, and whether the audit has the end of a raise.
    include_str!("migrations/23_budget_causes.sql"),
    // Marks of deploys.
    include_str!("migrations/24_deploys.sql"),
];
/// The most memory for SQLite's page cache, in KiB: room for the keys of the last minutes and every open sum.
const CACHE_KIB: i64 = 32 * 1024;

/// Configures the connection and brings the file's tables up to date.
pub(super) fn open(db: &Connection, path: &Path, log_id: &str) -> Result<(), LedgerError> {
    db.pragma_update(None, "journal_mode", "wal")?;
    // Counts that a crash of the machine takes are repeated from the synced log. Outbox rows must survive, so their
    // transactions switch to FULL.
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    db.set_prepared_statement_cache_capacity(64);
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(LedgerError::Version { path: path.to_owned(), found, known: VERSION });
    }
    migrate(db, found, log_id)?;
    let follows: String = db.query_row("SELECT log_id FROM ledger", [], |row| row.get(0))?;
    if follows == log_id { Ok(()) } else { Err(LedgerError::ForeignLog) }
}

/// Migrates a file from version `found` to the latest, all or nothing. 0 is a new file.
fn migrate(db: &Connection, found: i64, log_id: &str) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    for (number, step) in MIGRATIONS.iter().enumerate().skip(done) {
        tx.execute_batch(step)?;
        if number == 0 {
            let sql = "INSERT INTO ledger(id, log_id, hash_key, position)
                       VALUES (lower(hex(randomblob(16))), ?1, randomblob(16), 0)";
            tx.execute(sql, [log_id])?;
        }
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Checks the meters against those counted so far, and stores new ones.
pub(super) fn admit_meters(db: &Connection, meters: &Meters) -> Result<(), LedgerError> {
    let tx = db.unchecked_transaction()?;
    check_meters(&tx, meters)?;
    tx.execute("DELETE FROM meter", [])?;
    for (name, from, definition) in &definitions(meters) {
        tx.execute(
            "INSERT INTO meter(name, effective_from, definition) VALUES (?1, ?2, ?3)",
            params![name, from, definition],
        )?;
    }
    Ok(tx.commit()?)
}

/// Compares the meters with those that were counted so far.
pub(super) fn check_meters(db: &Connection, meters: &Meters) -> Result<(), LedgerError> {
    let latest: Option<u64> = db.query_row("SELECT max(window_start) FROM usage", [], |row| row.get(0))?;
    let counted: Vec<(String, u64, String)> = db
        .prepare("SELECT name, effective_from, definition FROM meter")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let now = definitions(meters);
    for (name, from, definition) in &counted {
        let same = now.iter().any(|(n, f, d)| (n, f, d) == (name, from, definition));
        if !same && latest.is_some_and(|latest| *from <= latest) {
            return Err(LedgerError::MeterChanged(name.clone()));
        }
    }
    for (name, from, _) in &now {
        let known = counted.iter().any(|(n, f, _)| (n, f) == (name, from));
        if !known && latest.is_some_and(|latest| *from <= latest) {
            return Err(LedgerError::MeterNew(name.clone()));
        }
    }
    Ok(())
}

fn definitions(meters: &Meters) -> Vec<(String, u64, String)> {
    let definition = |meter: &crate::meters::Meter| {
        let from = meter.effective_from.map_or(0, weir_contract::Timestamp::as_millis);
        let mut definition = serde_json::json!({"sum": meter.sum, "where": meter.conditions});
        if !meter.weight.is_one() {
            definition["weight"] = serde_json::json!(meter.weight);
        }
        if let Some(weights) = &meter.weights {
            definition["weights"] = serde_json::json!(weights);
        }
        (meter.name.clone(), from, definition.to_string())
    };
    meters.versions().iter().map(definition).collect()
}
