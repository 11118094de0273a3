//! Which ids were counted, and with which bytes.
//!
//! A table for each day of the time in the ids, dropped whole when the day is too old. Ids are time-ordered, so the rows of
//! one transaction land side by side, in pages that are in memory already.
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};
use weir_contract::EventId;

use super::{LedgerError, signed};
use crate::accept::{day, id_time};
use crate::log::Position;

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record.
    pub position: Position,
    /// The event's place in it, from 0.
    pub item: usize,
}

/// Whether an id was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// It is new, and remembered from now on.
    First,
    /// It was there with the same bytes.
    Repeat,
    /// It was there with other bytes.
    Conflict,
}

/// An id with the hash of its event's bytes, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: EventId,
    pub(super) hash: i64,
    pub(super) place: Place,
}

/// The ids of one transaction.
pub(super) struct Seen<'tx> {
    tx: &'tx Transaction<'tx>,
    /// The statements of the days met so far: one or two.
    days: Vec<(u64, CachedStatement<'tx>)>,
}

impl<'tx> Seen<'tx> {
    pub(super) fn new(tx: &'tx Transaction<'tx>) -> Self {
        Seen { tx, days: Vec::new() }
    }

    /// Remembers ids with the hashes of their bytes, unless they are there already. Returns, in the order of `known`, what
    /// became of each.
    ///
    /// They are written in the order of the table, whatever order they came in: neighbours land in the same page. Of equal
    /// ids the first that came stays the first.
    pub(super) fn note(&mut self, known: &[Known]) -> Result<Vec<Sighting>, LedgerError> {
        let mut order: Vec<usize> = (0..known.len()).collect();
        order.sort_by_key(|number| known[*number].id);
        let mut sightings = vec![Sighting::First; known.len()];
        for number in order {
            let Known { id, hash, place } = known[number];
            sightings[number] = self.note_one(id, hash, place)?;
        }
        Ok(sightings)
    }

    fn note_one(&mut self, id: EventId, hash: i64, place: Place) -> Result<Sighting, LedgerError> {
        let day = id_day(id)?;
        let insert = self.insert(day)?;
        let new = insert.execute(params![id.as_bytes(), hash, signed(place.position), signed(place.item as u64)])?;
        if new == 1 {
            return Ok(Sighting::First);
        }
        let sql = format!("SELECT hash FROM {} WHERE id = ?1", table(day));
        let known: i64 = self.tx.prepare_cached(&sql)?.query_row([id.as_bytes()], |row| row.get(0))?;
        Ok(if known == hash { Sighting::Repeat } else { Sighting::Conflict })
    }

    fn insert(&mut self, day: u64) -> Result<&mut CachedStatement<'tx>, LedgerError> {
        let at = match self.days.iter().position(|(known, _)| *known == day) {
            Some(at) => at,
            None => {
                self.days.push((day, self.open_day(day)?));
                self.days.len() - 1
            }
        };
        Ok(&mut self.days[at].1)
    }

    fn open_day(&self, day: u64) -> Result<CachedStatement<'tx>, LedgerError> {
        let table = table(day);
        self.tx.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table}(
               id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL
             ) WITHOUT ROWID"
        ))?;
        let sql = format!("INSERT INTO {table}(id, hash, position, item) VALUES (?1,?2,?3,?4) ON CONFLICT DO NOTHING");
        Ok(self.tx.prepare_cached(&sql)?)
    }
}

/// Drops the days before `oldest`. Events of those days are refused from then on.
pub(super) fn drop_days_before(tx: &Transaction<'_>, oldest: u64) -> Result<(), LedgerError> {
    for table in tables(tx)? {
        let day: u64 = table.trim_start_matches("seen_").parse().unwrap_or(u64::MAX);
        if day < oldest {
            tx.execute_batch(&format!("DROP TABLE {table}"))?;
        }
    }
    Ok(())
}

/// Where the event `id` stands in the log, if it was counted.
pub(super) fn find(db: &Connection, id: EventId) -> Result<Option<Place>, LedgerError> {
    let Ok(day) = id_day(id) else { return Ok(None) };
    let table = table(day);
    if !tables(db)?.contains(&table) {
        return Ok(None);
    }
    let sql = format!("SELECT position, item FROM {table} WHERE id = ?1");
    let place = db.query_row(&sql, [id.as_bytes()], |row| {
        let item: i64 = row.get(1)?;
        let item = usize::try_from(item).unwrap_or(usize::MAX);
        Ok(Place { position: row.get::<_, i64>(0)?.unsigned_abs(), item })
    });
    Ok(place.optional()?)
}

fn tables(db: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seen_[0-9]*'";
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn table(day: u64) -> String {
    format!("seen_{day}")
}

fn id_day(id: EventId) -> Result<u64, LedgerError> {
    // Judged before: only UUIDv7 come this far.
    let time = id_time(id.as_bytes()).map_err(|_| LedgerError::Inconsistent(format!("id {id} is not a UUIDv7")))?;
    Ok(day(time))
}
