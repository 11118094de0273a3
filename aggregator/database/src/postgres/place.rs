use std::sync::Arc;

use super::pool::{Leased, Pooled};
use super::server::Server;
use super::{Access, Session};
use crate::Error;

/// A schema of a PostgreSQL database. Clones share the sessions that wait for the next reader.
#[derive(Clone, Debug)]
pub struct PostgresPlace {
    pub(crate) server: Arc<dyn Server>,
    pub(crate) schema: Arc<str>,
    pooled: Pooled,
}

impl PostgresPlace {
    /// The schema `schema` at `server`. It is made when it is opened for writing.
    pub fn new(server: Arc<dyn Server>, schema: &str) -> Self {
        PostgresPlace { server, schema: schema.into(), pooled: Pooled::default() }
    }

    pub(crate) fn label(&self) -> String {
        format!("{}, schema {:?}", self.server.label(), self.schema)
    }

    /// A session for a reader: one that waits, or a new one.
    pub(crate) fn reader(&self) -> Result<Leased, Error> {
        self.pooled.take(&self.server, &self.schema)
    }

    /// A session for the writer.
    pub(crate) fn writer(&self) -> Result<Leased, Error> {
        Ok(Leased::alone(Session::open(&self.server, &self.schema, Access::Write)?))
    }
}
