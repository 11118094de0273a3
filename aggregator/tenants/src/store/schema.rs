//! The tables, and the migrations that make them.
use weir_database::Connection;

/// The version of the tables: the number of [`MIGRATIONS`] applied.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;
/// A released migration never changes; a new one follows it.
pub(super) const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/1_tenants.sql"),
    include_str!("migrations/2_vault.sql"),
    include_str!("migrations/3_flags.sql"),
    include_str!("migrations/4_provisioning.sql"),
    include_str!("migrations/5_scopes_and_answers.sql"),
    include_str!("migrations/6_alert_addresses.sql"),
];
/// The first version that a schema of PostgreSQL can have.
const POSTGRES_FIRST: usize = 6;
/// The tables of that version.
const POSTGRES: &str = include_str!("schema/postgres.sql");
/// What the migrations after it do there: one for each of [`MIGRATIONS`].
const POSTGRES_LATER: [&str; MIGRATIONS.len() - POSTGRES_FIRST] = [];

/// Configures the connection, and brings the tables from version `found` to the latest, all or nothing. 0 is a new database.
pub(super) fn prepare(db: &Connection, found: i64) -> Result<(), weir_database::Error> {
    // An answer promises that the change is on disk.
    db.configure_synced()?;
    // What is removed from the vault is not left in free pages.
    db.overwrite_deleted()?;
    if found == VERSION {
        return Ok(());
    }
    let done = usize::try_from(found).unwrap_or(0);
    let tx = db.unchecked_transaction()?;
    if db.is_postgres() {
        if done == 0 {
            tx.execute_batch(POSTGRES)?;
        }
        let later = POSTGRES_LATER.iter().skip(done.saturating_sub(POSTGRES_FIRST));
        later.copied().try_for_each(|step| tx.execute_batch(step))?;
    } else {
        MIGRATIONS.iter().skip(done).try_for_each(|step| tx.execute_batch(step))?;
    }
    tx.set_schema_version(VERSION)?;
    tx.commit()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use weir_database::tables::Column;
    use weir_database::testing::place;

    /// The columns of all tables, each with the name of its table.
    fn columns(db: &Connection) -> BTreeSet<(String, Column)> {
        let tables = db.tables().expect("tables").into_iter();
        tables.flat_map(|table| table.columns.into_iter().map(move |of| (table.name.clone(), of))).collect()
    }

    #[test]
    fn postgres_has_the_tables_columns_and_keys_of_sqlite() {
        let dir = tempfile::tempdir().expect("a directory");
        let sqlite = Connection::open(&dir.path().join("tenants.sqlite")).expect("opened");
        let other = Connection::open(place(&dir.path().join("other.sqlite"))).expect("opened");
        prepare(&sqlite, 0).expect("tables");
        prepare(&other, 0).expect("tables");
        let (expected, found) = (columns(&sqlite), columns(&other));
        assert!(expected.len() > 80, "{}", expected.len());
        let only = |a: &BTreeSet<(String, Column)>, b| a.difference(b).cloned().collect::<Vec<_>>();
        assert_eq!(
            (only(&expected, &found), only(&found, &expected)),
            (Vec::new(), Vec::new()),
            "in one of both alone"
        );
    }
}
