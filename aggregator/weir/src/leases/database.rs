//! The database of leases: one row for each limit, and one for the center's epoch and time. A file `leases.sqlite`, or a schema of the
//! PostgreSQL that has the ledger.
//!
//! What is older than the last grant is worse than nothing: a center that believed it would grant the same units again. So leases are in
//! no backup; and in PostgreSQL their row says in which schema of which server they were written: those of a dump that was restored count
//! as a lost memory. Those of a standby that took over are believed, though it may lack the last commits, as those of a Redis are: the
//! fleet then admits once more what was granted in them.
use std::path::{Path, PathBuf};

use weir_contract::lease::Key;
use weir_database::types::ToSqlOutput;
use weir_database::{Connection, Fence, OptionalExtension, Place, Values};
use weir_leases::{Center, Checkpoint, Limit};

use crate::kept::put_aside;
use crate::store::private;

const IN_A_FILE: &str = "
    CREATE TABLE IF NOT EXISTS center (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS limits (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
";
const IN_POSTGRES: &str = r#"
    CREATE TABLE IF NOT EXISTS center (id bigint PRIMARY KEY CHECK (id = 1), body text COLLATE "C" NOT NULL, place text NOT NULL);
    CREATE TABLE IF NOT EXISTS limits (key text COLLATE "C" PRIMARY KEY, body text COLLATE "C" NOT NULL);
"#;

/// The open database.
#[derive(Debug)]
pub(crate) struct LeaseDatabase {
    connection: Connection,
    /// Where it is in its server; empty for a file.
    place: String,
}

/// Why a row cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseDatabaseError {
    /// The database fails.
    #[error(transparent)]
    Database(#[from] weir_database::Error),
    /// A row is damaged.
    #[error(transparent)]
    Row(#[from] serde_json::Error),
}

impl LeaseDatabase {
    /// Opens the database, and reads what it keeps; None if it is new. It is written only for as long as the owner of `fence` may write.
    /// A damaged file is put aside, and a new one started. In a new schema the leases of the file `before` go on.
    pub(crate) fn open(place: &Place, before: &Path, fence: &Fence) -> std::io::Result<(Self, Option<Checkpoint>)> {
        let Some(path) = place.file() else {
            return Self::open_elsewhere(place, before, fence).map_err(std::io::Error::other);
        };
        private(path)?;
        match Self::open_file(path) {
            Ok(found) => Ok(found),
            Err(error) => {
                let aside = path.with_extension("damaged.sqlite");
                tracing::error!(%error, aside = %aside.display(), "the leases cannot be read and are put aside");
                std::fs::rename(path, &aside)?;
                for suffix in ["-wal", "-shm"] {
                    let beside = PathBuf::from(format!("{}{suffix}", path.display()));
                    if beside.exists() {
                        std::fs::remove_file(beside)?;
                    }
                }
                private(path)?;
                Self::open_file(path).map_err(std::io::Error::other)
            }
        }
    }

    fn open_file(path: &Path) -> Result<(Self, Option<Checkpoint>), LeaseDatabaseError> {
        let connection = Connection::open(path)?;
        connection.configure_synced()?;
        connection.execute_batch(IN_A_FILE)?;
        let kept = read(&connection)?.map(|rows| rows.checkpoint()).transpose()?;
        Ok((LeaseDatabase { connection, place: String::new() }, kept))
    }

    fn open_elsewhere(
        place: &Place,
        before: &Path,
        fence: &Fence,
    ) -> Result<(Self, Option<Checkpoint>), LeaseDatabaseError> {
        let connection = Connection::open(place)?;
        connection.obey(fence);
        let tx = connection.unchecked_transaction()?;
        tx.execute_batch(IN_POSTGRES)?;
        tx.commit()?;
        let here = place_of(&connection)?;
        let wrote: Option<String> =
            connection.query_row("SELECT place FROM center", [], |row| row.get(0)).optional()?;
        let database = LeaseDatabase { connection, place: here };
        let kept = match wrote {
            Some(wrote) if wrote == database.place => {
                read(&database.connection)?.map(|rows| rows.checkpoint()).transpose()?
            }
            Some(_) => {
                tracing::warn!("the leases were restored and lack the last grants: fleet-wide limits start empty");
                database.forget()?;
                None
            }
            None => database.move_in(before)?,
        };
        Ok((database, kept))
    }

    fn forget(&self) -> Result<(), weir_database::Error> {
        let tx = self.connection.unchecked_transaction()?;
        tx.execute("DELETE FROM limits", [])?;
        tx.execute("DELETE FROM center", [])?;
        tx.commit()
    }

    /// Moves the leases of a file here, which has none.
    fn move_in(&self, file: &Path) -> Result<Option<Checkpoint>, LeaseDatabaseError> {
        let Some(rows) = look(&Place::from(file))? else { return Ok(None) };
        let kept = rows.checkpoint()?;
        self.fill(&rows)?;
        let aside = file.with_extension("moved.sqlite");
        match put_aside(file, &aside) {
            Ok(()) => tracing::info!(file = %aside.display(), "the leases moved from this file to where the ledger is"),
            // They are not read again: a center is there.
            Err(error) => tracing::warn!(%error, file = %file.display(), "the leases moved, and their file stays"),
        }
        Ok(Some(kept))
    }

    /// Writes everything that a center remembers, in a database that has none.
    fn fill(&self, rows: &Rows) -> Result<(), weir_database::Error> {
        let tx = self.connection.unchecked_transaction()?;
        self.put(&rows.limits)?;
        self.put_head(&rows.head)?;
        tx.commit()
    }

    /// Copies what is kept at `from` into a new file at `to`, before the ledger moves there as well.
    pub(crate) fn copy_to_file(from: &Place, to: &Path) -> Result<(), LeaseDatabaseError> {
        let Some(rows) = look(from)? else { return Ok(()) };
        let (database, _) = Self::open_file(to)?;
        database.forget()?;
        Ok(database.fill(&rows)?)
    }

    /// Reads what the database keeps without a change to it, for commands while no server runs; None without one.
    pub(crate) fn peek(place: &Place) -> Result<Option<Checkpoint>, LeaseDatabaseError> {
        look(place)?.map(|rows| rows.checkpoint()).transpose()
    }

    /// Stores what changed in the center, in one transaction that is on disk afterwards.
    pub(crate) fn save(&mut self, center: &mut Center) -> Result<(), LeaseDatabaseError> {
        let (mut changed, mut dropped) = (Vec::new(), Vec::new());
        for (key, limit) in center.changes() {
            let key = serde_json::to_string(key)?;
            match limit {
                Some(limit) => changed.push((key, serde_json::to_string(limit)?)),
                None => dropped.push(key),
            }
        }
        let tx = self.connection.unchecked_transaction()?;
        self.put(&changed)?;
        for key in dropped {
            tx.prepare_cached("DELETE FROM limits WHERE key = ?1")?.execute([key])?;
        }
        self.put_head(&serde_json::to_string(&center.head())?)?;
        tx.commit()?;
        center.saved();
        Ok(())
    }

    fn put(&self, limits: &[(String, String)]) -> Result<(), weir_database::Error> {
        let rows: Vec<Values<'_>> = limits
            .iter()
            .map(|(key, body)| vec![ToSqlOutput::from(key.as_str()), ToSqlOutput::from(body.as_str())])
            .collect();
        self.connection.insert_rows("limits (key, body)", "ON CONFLICT (key) DO UPDATE SET body = excluded.body", &rows)
    }

    fn put_head(&self, head: &str) -> Result<(), weir_database::Error> {
        if self.connection.is_postgres() {
            let sql = "INSERT INTO center (id, body, place) VALUES (1, ?1, ?2)
                       ON CONFLICT (id) DO UPDATE SET body = excluded.body, place = excluded.place";
            self.connection.execute(sql, [head, &self.place])?;
        } else {
            let sql =
                "INSERT INTO center (id, body) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
            self.connection.execute(sql, [head])?;
        }
        Ok(())
    }

    /// The server's time in milliseconds, which is the same for all who open the database; None for a file.
    pub(crate) fn now_ms(&self) -> Result<Option<u64>, weir_database::Error> {
        if !self.connection.is_postgres() {
            return Ok(None);
        }
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        self.connection.query_row(sql, [], |row| row.get(0)).map(Some)
    }
}

/// Where the schema is in its server, whichever standby of it has taken over.
fn place_of(connection: &Connection) -> Result<String, weir_database::Error> {
    let place = connection.place_in_server()?;
    Ok(place.split(", ").filter(|part| !part.starts_with("history ")).collect::<Vec<_>>().join(", "))
}

/// The rows as they are written: a center's epoch and time, and its limits by their keys.
struct Rows {
    head: String,
    limits: Vec<(String, String)>,
}

impl Rows {
    fn checkpoint(&self) -> Result<Checkpoint, LeaseDatabaseError> {
        let mut kept: Checkpoint = serde_json::from_str(&self.head)?;
        for (key, body) in &self.limits {
            kept.with(serde_json::from_str::<Key>(key)?, serde_json::from_str::<Limit>(body)?);
        }
        Ok(kept)
    }
}

/// The rows at a place, which is not changed; None if there are none.
fn look(place: &Place) -> Result<Option<Rows>, weir_database::Error> {
    if place.file().is_some_and(|path| !path.exists()) {
        return Ok(None);
    }
    let connection = Connection::open_read_only(place)?;
    let is_made = connection.tables()?.iter().any(|table| table.name == "center");
    if is_made { read(&connection) } else { Ok(None) }
}

fn read(connection: &Connection) -> Result<Option<Rows>, weir_database::Error> {
    let tx = connection.unchecked_transaction()?;
    let head = tx.query_row("SELECT body FROM center", [], |row| row.get(0)).optional()?;
    let Some(head) = head else { return Ok(None) };
    let mut select = tx.prepare("SELECT key, body FROM limits")?;
    let limits = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Some(Rows { head, limits }))
}
