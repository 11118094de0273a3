//! Remembers the ids of counted events with a hash of their bytes.
//!
//! There is one table for each day of the time in the ids; it is dropped whole once the day is too old. Ids are ordered
//! by time, so the rows of one transaction lie side by side, in pages that are already in memory.
//! [`crate::validate::horizon`] decides which days are forgotten; [`drop_days_before`] drops their tables.
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use foldhash::HashMap;
use weir_contract::EventId;
use weir_database::types::{ToSql, ToSqlOutput, ToSqlResult, ValueRef};
use weir_database::{Connection, OptionalExtension, Row, Statement, Transaction};
use weir_fault::{self as fault, Point};

use super::{LedgerError, signed};
use crate::validate::{day, id_time};
use weir_event_log::Position;

/// The position of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogRef {
    /// The position of the record.
    pub position: Position,
    /// The index of the event in the record, from 0.
    pub item: usize,
}

/// Whether an id was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DedupeResult {
    /// The id is new, and now remembered.
    First,
    /// The id was counted before, with the same bytes.
    Repeat,
    /// The id was counted before, with other bytes.
    Conflict,
}

/// An id, the hash of its event's bytes, and the event's position in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct DedupeKey {
    pub(super) id: EventId,
    pub(super) hash: i64,
    pub(super) log_ref: LogRef,
}

/// Ids per statement. With one statement per id, half the time would go into starting and ending statements.
const ROWS: usize = 16;

/// The ids of one transaction.
pub(super) struct DedupeIndex<'tx> {
    tx: &'tx Transaction<'tx>,
    /// The days seen so far: one or two.
    days: Vec<Day<'tx>>,
}

/// The statements of one day's table.
struct Day<'tx> {
    day: u64,
    insert: Statement<'tx>,
    insert_rows: Statement<'tx>,
}

impl<'tx> DedupeIndex<'tx> {
    pub(super) fn new(tx: &'tx Transaction<'tx>) -> Self {
        DedupeIndex { tx, days: Vec::new() }
    }

    /// Remembers ids with the hashes of their bytes, unless they are there already. Returns a result for each element
    /// of `known`, in its order.
    ///
    /// Writes in the order of the table, whatever the order of `known`, so that neighbours share a page. Of equal ids
    /// the first in `known` stays the first.
    pub(super) fn note(&mut self, known: &[DedupeKey]) -> Result<Vec<DedupeResult>, LedgerError> {
        let mut order: Vec<usize> = (0..known.len()).collect();
        order.sort_by_key(|number| known[*number].id);
        if self.tx.is_postgres() && !fault::hit(Point::DedupeApart) {
            return self.note_at_once(known, &order);
        }
        let mut results = vec![DedupeResult::First; known.len()];
        for rows in order.chunks(ROWS) {
            self.note_rows(rows, known, &mut results)?;
        }
        Ok(results)
    }

    /// As [`DedupeIndex::note`] for PostgreSQL, day by day: asks for all ids at once, and copies those that are new. No other transaction
    /// comes in between, since this one has the right to write. With the id behind the numbers a row is a tenth smaller.
    fn note_at_once(&self, known: &[DedupeKey], order: &[usize]) -> Result<Vec<DedupeResult>, LedgerError> {
        let mut results = vec![DedupeResult::First; known.len()];
        let mut days: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for number in order {
            days.entry(id_day(known[*number].id)?).or_default().push(*number);
        }
        for (day, numbers) in days {
            let table = table(day);
            self.tx.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {table}(
                   hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL, id BLOB PRIMARY KEY
                 )"
            ))?;
            let ids: Vec<_> = numbers.iter().map(|number| known[*number].id_value()).collect();
            let sql = format!("SELECT id, hash FROM {table} WHERE id IN (?1)");
            let read = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?));
            let mut seen: HashMap<[u8; 16], i64> = self.tx.query_among(&sql, &ids, read)?.into_iter().collect();
            let mut new = Vec::new();
            for number in numbers {
                let key = &known[number];
                match seen.entry(*key.id.as_bytes()) {
                    Entry::Vacant(unknown) => {
                        unknown.insert(key.hash);
                        new.push(key.row()?);
                    }
                    Entry::Occupied(of) if *of.get() == key.hash => results[number] = DedupeResult::Repeat,
                    Entry::Occupied(_) => results[number] = DedupeResult::Conflict,
                }
            }
            self.tx.copy_rows(&format!("{table}(id, hash, position, item)"), &new)?;
        }
        Ok(results)
    }

    /// Remembers the elements of `known` at the indexes `rows`.
    fn note_rows(&mut self, rows: &[usize], known: &[DedupeKey], into: &mut [DedupeResult]) -> Result<(), LedgerError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let day = id_day(known[*first].id)?;
        let many = rows.len() == ROWS && id_day(known[*last].id)? == day;
        let many = many && !fault::hit(Point::DedupeApart);
        let written = if many {
            let values = rows.iter().flat_map(|row| known[*row].values());
            self.day(day)?.insert_rows.execute(weir_database::params_from_iter(values))?
        } else {
            0
        };
        if written < rows.len() {
            for row in rows {
                into[*row] = self.note_one(known[*row])?;
            }
        }
        Ok(())
    }

    fn note_one(&mut self, known: DedupeKey) -> Result<DedupeResult, LedgerError> {
        let day = id_day(known.id)?;
        let new = self.day(day)?.insert.execute(weir_database::params_from_iter(known.values()))?;
        if new == 1 {
            return Ok(DedupeResult::First);
        }
        let sql = format!("SELECT hash, position, item FROM {} WHERE id = ?1", table(day));
        let (hash, log_ref): (i64, _) = self
            .tx
            .prepare_cached(&sql)?
            .query_row([known.id.as_bytes()], |row| Ok((row.get(0)?, LogRef::read(row, 1)?)))?;
        // One statement wrote several ids, of which some were there before.
        let own = log_ref == known.log_ref;
        let own = own && !fault::hit(Point::DedupeApart);
        Ok(match hash == known.hash {
            _ if own => DedupeResult::First,
            true => DedupeResult::Repeat,
            false => DedupeResult::Conflict,
        })
    }

    fn day(&mut self, day: u64) -> Result<&mut Day<'tx>, LedgerError> {
        let at = match self.days.iter().position(|known| known.day == day) {
            Some(at) => at,
            None => {
                self.days.push(self.open_day(day)?);
                self.days.len() - 1
            }
        };
        Ok(&mut self.days[at])
    }

    fn open_day(&self, day: u64) -> Result<Day<'tx>, LedgerError> {
        create_day(self.tx, day)?;
        let table = table(day);
        let insert = |rows: usize| {
            let rows = vec!["(?,?,?,?)"; rows].join(",");
            let sql = format!("INSERT INTO {table}(id, hash, position, item) VALUES {rows} ON CONFLICT DO NOTHING");
            self.tx.prepare_cached(&sql)
        };
        Ok(Day { day, insert: insert(1)?, insert_rows: insert(ROWS)? })
    }
}

impl DedupeKey {
    fn id_value(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(ValueRef::Blob(self.id.as_bytes().as_slice()))
    }

    /// The row, for statements of many rows.
    fn row(&self) -> Result<weir_database::Values<'_>, LedgerError> {
        let DedupeKey { hash, log_ref, .. } = self;
        Ok(vec![self.id_value(), (*hash).into(), signed(log_ref.position)?.into(), signed(log_ref.item as u64)?.into()])
    }

    /// The columns of the row, in order.
    fn values(&self) -> [Value<'_>; 4] {
        let DedupeKey { id, hash, log_ref } = self;
        [
            Value::Id(id.as_bytes()),
            Value::Number(*hash),
            Value::Unsigned(log_ref.position),
            Value::Unsigned(log_ref.item as u64),
        ]
    }
}

/// A value of a row.
enum Value<'k> {
    Id(&'k [u8; 16]),
    Number(i64),
    Unsigned(u64),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> ToSqlResult<'_> {
        match self {
            Value::Id(id) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(id.as_slice()))),
            Value::Number(number) => Ok(ToSqlOutput::Borrowed(ValueRef::Integer(*number))),
            Value::Unsigned(number) => number.to_sql(),
        }
    }
}

impl LogRef {
    /// Reads a position and an item from the columns `at` and `at + 1`.
    pub(super) fn read(row: &Row<'_>, at: usize) -> Result<Self, weir_database::Error> {
        let item = usize::try_from(row.get::<_, i64>(at + 1)?).unwrap_or(usize::MAX);
        Ok(LogRef { position: row.get::<_, u64>(at)?, item })
    }
}

/// Makes the table for the ids of a day, if it is not there.
pub(super) fn create_day(db: &Connection, day: u64) -> Result<(), weir_database::Error> {
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {}(
           id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL
         ) WITHOUT ROWID",
        table(day)
    ))
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

/// The position of the event `id` in the log, if it was counted.
pub(super) fn find(db: &Connection, id: EventId) -> Result<Option<LogRef>, LedgerError> {
    let Ok(day) = id_day(id) else { return Ok(None) };
    let table = table(day);
    if !tables(db)?.contains(&table) {
        return Ok(None);
    }
    let sql = format!("SELECT position, item FROM {table} WHERE id = ?1");
    Ok(db.query_row(&sql, [id.as_bytes()], |row| LogRef::read(row, 0)).optional()?)
}

fn tables(db: &Connection) -> Result<Vec<String>, weir_database::Error> {
    db.numbered_tables("seen_")
}

fn table(day: u64) -> String {
    format!("seen_{day}")
}

fn id_day(id: EventId) -> Result<u64, LedgerError> {
    // The verdict before this admits UUIDv7 only.
    let time = id_time(id.as_bytes()).map_err(|_| LedgerError::Inconsistent(format!("id {id} is not a UUIDv7")))?;
    Ok(day(time))
}
