use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;

use crate::Error;

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(PostgresPlace),
}

/// A schema of a database at a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresPlace {
    pub(crate) config: Box<Config>,
    pub(crate) schema: String,
}

impl Place {
    /// The place as people read it, without what is secret.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Place::Sqlite(path) => path.display().to_string(),
            Place::Postgres(place) => {
                let database = place.config.get_dbname().unwrap_or_default();
                format!("schema {:?} of the PostgreSQL database {database:?}", place.schema)
            }
        }
    }
}

impl PostgresPlace {
    /// The schema `schema` at `url`, `postgres://user@host:port/database`. It is made when it is opened for writing.
    pub fn new(url: &str, schema: &str) -> Result<Self, Error> {
        let config = Config::from_str(url).map_err(Error::Postgres)?;
        Ok(PostgresPlace { config: Box::new(config), schema: schema.to_owned() })
    }
}

/// Without what may be secret.
impl std::fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresPlace").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

impl From<&str> for Place {
    fn from(path: &str) -> Self {
        Place::Sqlite(path.into())
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Place::Sqlite(path.to_owned())
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        Place::Sqlite(path.clone())
    }
}
