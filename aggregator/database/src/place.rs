use std::path::{Path, PathBuf};

use crate::postgres::PostgresPlace;

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(PostgresPlace),
}

impl Place {
    /// The place as people read it, without what is secret.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Place::Sqlite(path) => path.display().to_string(),
            Place::Postgres(place) => place.label(),
        }
    }

    /// The schema, of a PostgreSQL database.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        match self {
            Place::Sqlite(_) => None,
            Place::Postgres(place) => Some(&place.schema),
        }
    }

    /// The file, of a SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
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
