//! Where the ledger is: `ledger:` of weir.yaml.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_database::{Place, PostgresPlace, Reach, Server};
use weir_settings::postgres::PostgresServer;

/// A ledger in a PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPlace {
    server: PostgresServer,
    /// Where relative paths start.
    base: PathBuf,
}

impl LedgerPlace {
    pub(crate) fn new(server: PostgresServer, base: &Path) -> Self {
        LedgerPlace { server, base: base.to_owned() }
    }

    /// The place of its tables.
    pub(crate) fn place(&self) -> Place {
        Place::Postgres(PostgresPlace::new(Arc::new(self.clone()), self.server.schema()))
    }
}

impl Server for LedgerPlace {
    fn label(&self) -> String {
        self.server.url().to_owned()
    }

    fn reach(&self) -> Result<Reach, String> {
        let (config, tls) = self.server.connection(&self.base).map_err(|error| format!("ledger: {error}"))?;
        Ok(Reach { config, tls })
    }
}
