//! How far each export is. The position is stored after the receiver has the events, so a crash repeats some and loses none.
use weir_database::{Connection, OptionalExtension, params};

use super::{LedgerError, SqliteLedger, signed};
use weir_event_log::Position;

/// Where an export begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Behind the last record that is counted.
    Now,
    /// At the oldest record that the log keeps.
    Oldest,
}

impl SqliteLedger {
    /// The last record whose events the receiver of export `name` has; a new export gets its beginning.
    pub fn export_position(&mut self, name: &str, beginning: Beginning) -> Result<Position, LedgerError> {
        let begins = match beginning {
            Beginning::Now => self.position(),
            Beginning::Oldest => 0,
        };
        let sql = "INSERT INTO export(name, position) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.db().execute(sql, params![name, signed(begins)?])?;
        Ok(find(self.db(), name)?.unwrap_or(begins))
    }

    /// Notes that the receiver of export `name` has the events of all records up to `position`.
    pub fn note_exported(&mut self, name: &str, position: Position) -> Result<(), LedgerError> {
        let sql = "UPDATE export SET position = ?2 WHERE name = ?1";
        self.db().execute(sql, params![name, signed(position)?])?;
        Ok(())
    }
}

fn find(db: &Connection, name: &str) -> Result<Option<Position>, LedgerError> {
    Ok(db.query_row("SELECT position FROM export WHERE name = ?1", [name], |row| row.get(0)).optional()?)
}
