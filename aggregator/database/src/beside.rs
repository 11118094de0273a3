//! Two databases of one kind at one place: one is compared with the other, filled from it, and put in its place.
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::connection::Engine;
use crate::postgres::quoted;
use crate::{Connection, Error, Place, PostgresPlace};

/// The suffixes of a SQLite database's files. A write-ahead log left under the old name would bring old pages back.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The names under which a statement finds two databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    own: String,
    other: String,
}

impl Attached {
    /// A statement that calls the connection's own database `main` and the other one `living`.
    #[must_use]
    pub fn named(&self, sql: &str) -> String {
        sql.replace("main.", &format!("{}.", self.own)).replace("living.", &format!("{}.", self.other))
    }
}

impl Connection {
    /// Makes the database at `other` readable through this connection. It is at the same server.
    pub fn attach(&self, other: &Place) -> Result<Attached, Error> {
        match (self.engine(), other) {
            (Engine::Sqlite(db), Place::Sqlite(path)) => {
                db.execute("ATTACH ?1 AS living", [path.to_string_lossy()])?;
                Ok(Attached { own: "main".to_owned(), other: "living".to_owned() })
            }
            (Engine::Postgres(session), Place::Postgres(place)) => {
                Ok(Attached { own: quoted(session.schema()), other: quoted(&place.schema) })
            }
            _ => Err(Error::OtherKind(other.label())),
        }
    }

    /// Ends [`Connection::attach`].
    pub fn detach(&self) -> Result<(), Error> {
        let Engine::Sqlite(db) = self.engine() else { return Ok(()) };
        Ok(db.execute_batch("DETACH living")?)
    }
}

impl Place {
    /// A place beside this one: `ledger.NAME.sqlite` beside `ledger.sqlite`, the schema `weir_NAME` beside `weir`.
    #[must_use]
    pub fn beside(&self, name: &str) -> Place {
        match self {
            Place::Sqlite(path) => Place::Sqlite(path.with_extension(format!("{name}.sqlite"))),
            Place::Postgres(place) => {
                Place::Postgres(PostgresPlace::new(place.server.clone(), &format!("{}_{name}", place.schema)))
            }
        }
    }

    /// Removes the database, if it is there.
    pub fn remove(&self) -> Result<(), Error> {
        match self {
            Place::Sqlite(path) => PARTS.iter().try_for_each(|part| gone(std::fs::remove_file(part_of(path, part)))),
            Place::Postgres(place) => Connection::open(self)?
                .execute_batch(&format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&place.schema))),
        }
    }

    /// Moves the database that is here, if there is one, to `old`, whose own is removed, and the one at `new` here. They are beside this one.
    pub fn replace_by(&self, new: &Place, old: &Place) -> Result<(), Error> {
        match (self, new, old) {
            (Place::Sqlite(path), Place::Sqlite(new), Place::Sqlite(old_path)) => {
                old.remove()?;
                PARTS
                    .iter()
                    .try_for_each(|part| gone(std::fs::rename(part_of(path, part), part_of(old_path, part))))?;
                PARTS.iter().try_for_each(|part| gone(std::fs::rename(part_of(new, part), part_of(path, part))))
            }
            (Place::Postgres(here), Place::Postgres(new), Place::Postgres(old)) => replace_schema(here, new, old),
            _ => Err(Error::OtherKind(new.label())),
        }
    }
}

/// An owner of the old schema that was paused finds the number of another one in the new schema.
fn replace_schema(here: &PostgresPlace, new: &PostgresPlace, old: &PostgresPlace) -> Result<(), Error> {
    let place = Place::Postgres(new.clone());
    let mut db = Connection::open(&place)?;
    let tx = db.transaction()?;
    let (here, new, old) = (quoted(&here.schema), quoted(&new.schema), quoted(&old.schema));
    tx.execute_batch(&format!("DROP SCHEMA IF EXISTS {old} CASCADE"))?;
    let is_there: bool =
        tx.query_row("SELECT to_regclass(?1) IS NOT NULL", [format!("{here}.ledger_owner")], |row| row.get(0))?;
    if is_there {
        tx.execute_batch(&format!(
            "UPDATE {new}.ledger_owner SET epoch = (SELECT epoch FROM {here}.ledger_owner) + 1;
             ALTER SCHEMA {here} RENAME TO {old}"
        ))?;
    } else {
        tx.execute_batch(&format!("DROP SCHEMA IF EXISTS {here} CASCADE"))?;
    }
    tx.execute_batch(&format!("ALTER SCHEMA {new} RENAME TO {here}"))?;
    tx.commit()
}

fn part_of(path: &Path, part: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}

/// The outcome of moving or removing a file that need not be there.
fn gone(outcome: std::io::Result<()>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::File(error)),
        _ => Ok(()),
    }
}
