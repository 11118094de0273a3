//! Where the databases of tests are: the same tests run over SQLite and over PostgreSQL.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::{Place, PostgresPlace};

/// The place of a test's database that SQLite would keep at `path`: that file, or a schema of its own at the server that
/// `WEIR_TEST_POSTGRES` names.
///
/// # Panics
/// If that is no address of a server.
#[must_use]
pub fn place(path: &Path) -> Place {
    match server() {
        Some(server) => {
            Place::Postgres(PostgresPlace::new(&server, &schema(path)).expect("an address of a PostgreSQL"))
        }
        None => Place::Sqlite(path.to_owned()),
    }
}

/// Whether tests use PostgreSQL.
#[must_use]
pub fn on_postgres() -> bool {
    server().is_some()
}

/// How many cases of a property a test looks at: an eighth over PostgreSQL, where each takes longer and SQLite's have been looked at.
#[must_use]
pub fn cases(of_sqlite: u32) -> u32 {
    if on_postgres() { of_sqlite / 8 } else { of_sqlite }
}

/// The server that tests use instead of files, if there is one: `scripts/with-postgres` starts it.
#[allow(clippy::disallowed_methods, reason = "no setting of weir: it chooses how a test runs")]
fn server() -> Option<String> {
    std::env::var("WEIR_TEST_POSTGRES").ok()
}

/// Names of folders of tests are random, so that two tests share no schema.
fn schema(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    (path, std::process::id()).hash(&mut hasher);
    format!("test_{:016x}", hasher.finish())
}
