//! Where the databases of tests are: the same tests run over SQLite and over PostgreSQL.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tokio_postgres::Config;

use crate::{Place, PostgresPlace, Reach, Server};

/// The place of a test's database that SQLite would keep at `path`: that file, or a schema of its own at the server that
/// `WEIR_TEST_POSTGRES` names.
///
/// # Panics
/// If that is no address of a server.
#[must_use]
pub fn place(path: &Path) -> Place {
    match server() {
        Some(server) => {
            let server = Config::from_str(&server).expect("an address of a PostgreSQL");
            Place::Postgres(PostgresPlace::new(Arc::new(Near(server)), &schema(path)))
        }
        None => Place::Sqlite(path.to_owned()),
    }
}

/// A server on this machine that asks for no password.
#[derive(Debug)]
struct Near(Config);

impl Server for Near {
    fn label(&self) -> String {
        "the PostgreSQL of tests".to_owned()
    }

    fn reach(&self) -> Result<Reach, String> {
        Ok(Reach { config: self.0.clone(), tls: None })
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
