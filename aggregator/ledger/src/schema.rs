//! The tables of the ledger's file, and the migrations that create them.
//!
//! The outbox and the provider's reports live in the same file, so that a row and its sum share a transaction; their
//! tables are created here as well, in one order. A released migration never changes; a new one follows it. Times are
//! milliseconds since 1970 (UTC) unless a column says seconds; a window is named by its start.
use weir_database::{Connection, Place, params};

use super::LedgerError;
use crate::meters::Meters;

/// `user_version` of the file: the number of [`MIGRATIONS`] applied to it.
pub const VERSION: i64 = MIGRATIONS.len() as i64;
/// How a file becomes one of the latest version, from whichever it is of.
const MIGRATIONS: [&str; 27] = [
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
    // The budgets of the last configuration, so that the next one is compared with them.
    include_str!("migrations/25_budgets_known.sql"),
    // The order of messages, receivers that fail, silences of budgets, and numbers of marks that are used once.
    include_str!("migrations/26_notices.sql"),
    // Running totals of early and refused events and of the outbox, once for each statement.
    include_str!("migrations/27_totals_at_once.sql"),
];
/// The first version that a schema of PostgreSQL can have.
const POSTGRES_FIRST: usize = 23;
/// The tables of that version.
const POSTGRES: &str = include_str!("schema/postgres.sql");
/// What the migrations after it do there: one for each of [`MIGRATIONS`].
const POSTGRES_LATER: [&str; MIGRATIONS.len() - POSTGRES_FIRST] = [
    include_str!("schema/postgres_24_deploys.sql"),
    include_str!("schema/postgres_25_budgets_known.sql"),
    include_str!("schema/postgres_26_notices.sql"),
    include_str!("schema/postgres_27_totals_at_once.sql"),
];
/// The most memory for SQLite's page cache, in KiB: room for the keys of the last minutes and every open sum.
const CACHE_KIB: i64 = 32 * 1024;

/// Configures the connection and brings the file's tables up to date.
pub(super) fn open(db: &Connection, place: &Place, log_id: &str) -> Result<(), LedgerError> {
    db.configure_writer(CACHE_KIB, 64 * 1024 * 1024)?;
    // Counts that a crash of the machine takes are repeated from the synced log. Outbox rows must survive, so their
    // transactions are synced.
    db.sync_commits(false)?;
    check(db, place, log_id)?;
    // Nobody changes tables under a process that writes them.
    db.take_right()?;
    let found = check(db, place, log_id)?;
    if db.is_postgres() {
        migrate_postgres(db, found, log_id)?;
    } else {
        migrate(db, found, log_id)?;
    }
    Ok(())
}

/// Checks that the tables are of a version that this one knows, and belong to the log; returns their version, 0 where there are none.
fn check(db: &Connection, place: &Place, log_id: &str) -> Result<i64, LedgerError> {
    let found = check_version(db, place)?;
    if found == 0 {
        return Ok(found);
    }
    let follows: String = db.query_row("SELECT log_id FROM ledger", [], |row| row.get(0))?;
    if follows == log_id { Ok(found) } else { Err(LedgerError::ForeignLog) }
}

/// Checks that the tables are of a version that this one knows; returns their version, 0 where there are none.
pub(super) fn check_version(db: &Connection, place: &Place) -> Result<i64, LedgerError> {
    let found = db.schema_version()?;
    if found > VERSION {
        return Err(LedgerError::Version { place: place.label(), found, known: VERSION });
    }
    if found < 0 {
        return Err(LedgerError::Unfinished(place.label()));
    }
    Ok(found)
}

/// Brings the tables in a schema of PostgreSQL from version `found` to the latest, all or nothing. 0 is a new schema.
fn migrate_postgres(db: &Connection, found: i64, log_id: &str) -> Result<(), weir_database::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    if done == 0 {
        tx.execute_batch(POSTGRES)?;
        let sql = "INSERT INTO ledger(id, log_id, hash_key, position)
                   VALUES (replace(gen_random_uuid()::text, '-', ''), ?1, uuid_send(gen_random_uuid()), 0)";
        tx.execute(sql, [log_id])?;
    }
    for step in POSTGRES_LATER.iter().skip(done.saturating_sub(POSTGRES_FIRST)) {
        tx.execute_batch(step)?;
    }
    tx.set_schema_version(VERSION)?;
    tx.commit()
}

/// Migrates a file from version `found` to the latest, all or nothing. 0 is a new file.
fn migrate(db: &Connection, found: i64, log_id: &str) -> Result<(), weir_database::Error> {
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
    tx.set_schema_version(VERSION)?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::SqliteLedger;
    use crate::meters;
    use weir_database::tables::{Column, Table};
    use weir_database::testing::place;

    /// The columns of all tables, each with the name of its table.
    fn columns(db: &Connection) -> BTreeSet<(String, Column)> {
        let tables = db.tables().expect("tables");
        tables
            .into_iter()
            .flat_map(|Table { name, columns }| columns.into_iter().map(move |of| (name.clone(), of)))
            .collect()
    }

    #[test]
    fn postgres_has_the_tables_columns_and_keys_of_sqlite() {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = || Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let path = dir.path().join("ledger.sqlite");
        let mut sqlite = SqliteLedger::open(&path, "log", meters()).expect("a ledger");
        let mut other = SqliteLedger::open(place(&dir.path().join("other.sqlite")), "log", meters()).expect("a ledger");
        let expected = columns(sqlite.db());
        assert!(expected.len() > 300, "{}", expected.len());
        let found = columns(other.db());
        assert_eq!(expected.difference(&found).collect::<Vec<_>>(), Vec::<&(String, Column)>::new(), "only in SQLite");
        assert_eq!(
            found.difference(&expected).collect::<Vec<_>>(),
            Vec::<&(String, Column)>::new(),
            "only in PostgreSQL"
        );
    }
}
