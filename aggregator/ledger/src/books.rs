//! The price books that priced events, and which of them prices which event.
//!
//! A book prices the events of all records after the position at which it was set, until the next one. A repricing puts a
//! book in the place of those, for windows from a moment on, and for records up to the position at which it was done. Both
//! are kept, so that counting the log again yields the same costs.
use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use weir_contract::{Timestamp, UsageData};
use weir_event_log::Position;

use super::{LedgerError, signed};
use crate::analysis::{model, truncated};
use crate::cost::{EventCost, Prices, Pricing, Tariff, quantities};

/// A book that replaces those of before.
#[derive(Clone, Copy, Debug)]
struct Repricing {
    from: Timestamp,
    position: Position,
    book: i64,
}

/// The books of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Books {
    prices: Option<Prices>,
    /// Rising positions, each with the book for the events after it.
    changes: Vec<(Position, Option<i64>)>,
    /// The latest last.
    repricings: Vec<Repricing>,
    loaded: BTreeMap<i64, Arc<dyn Pricing>>,
    /// The position from which idempotency keys and readings are noted: where an older ledger was taken over.
    noted_after: Position,
}

impl Books {
    /// Reads which books apply.
    pub(crate) fn load(db: &Connection) -> Result<Self, LedgerError> {
        let mut changes = db.prepare("SELECT position, book FROM pricing ORDER BY position")?;
        let mut repricings = db.prepare("SELECT from_at, position, book FROM repricing ORDER BY id")?;
        let changes = changes.query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)))?;
        let repricings = repricings.query_map([], |row| {
            let from = Timestamp::from_millis(row.get::<_, u64>(0)?);
            Ok(Repricing { from, position: row.get::<_, u64>(1)?, book: row.get(2)? })
        })?;
        Ok(Books {
            changes: changes.collect::<Result<_, _>>()?,
            repricings: repricings.collect::<Result<_, _>>()?,
            noted_after: db.query_row("SELECT costs_from FROM ledger", [], |row| row.get::<_, u64>(0))?,
            ..Books::default()
        })
    }

    /// Uses `prices` for the events after `position`. Does nothing if the book is the one in use. Returns whether it changed.
    pub(crate) fn set(
        &mut self,
        db: &Connection,
        prices: Prices,
        position: Position,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let book = prices.book.as_ref().map(|book| keep(db, book.as_ref())).transpose()?;
        if let (Some(number), Some(book)) = (book, &prices.book) {
            self.loaded.insert(number, Arc::clone(book));
        }
        self.prices = Some(prices);
        if self.changes.last().map_or(book.is_none(), |(_, last)| *last == book) {
            return Ok(false);
        }
        let sql = "INSERT INTO pricing(position, at, book) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET at = excluded.at, book = excluded.book";
        db.execute(sql, params![signed(position)?, signed(now.as_millis())?, book])?;
        self.changes.retain(|(at, _)| *at != position);
        self.changes.push((position, book));
        Ok(true)
    }

    /// These books with the prices, and what was read, of others.
    pub(crate) fn with_prices(self, others: &mut Books) -> Self {
        Books { prices: others.prices.take(), loaded: std::mem::take(&mut others.loaded), ..self }
    }

    /// Reads books with `prices`.
    pub(crate) fn read_with(&mut self, prices: Option<Prices>) {
        self.prices = prices;
    }

    /// Returns true if idempotency keys and readings of the record at `position` are noted.
    pub(crate) fn notes(&self, position: Position) -> bool {
        position > self.noted_after
    }

    /// The book that prices new events.
    pub(crate) fn current(&self) -> Option<Arc<dyn Pricing>> {
        self.prices.as_ref()?.book.clone()
    }

    /// What an event of the record at `position` cost. None if there was no book.
    pub(crate) fn cost(
        &mut self,
        db: &Connection,
        position: Position,
        (window, time): (Timestamp, Timestamp),
        data: &UsageData<'_>,
    ) -> Result<Option<EventCost>, LedgerError> {
        let change = self.changes.iter().rev().find(|(after, _)| *after < position).and_then(|(_, book)| *book);
        let first = match change {
            Some(book) => Some(self.book(db, book)?.cost(time, data)),
            None => None,
        };
        let latest = self.repricings.iter().rev().find(|by| position <= by.position && by.from <= window).copied();
        let Some(Repricing { book, .. }) = latest else { return Ok(first) };
        // As sums are priced again: by the names and steps of their rows.
        let (tariff, units) = match first {
            Some(EventCost { tariff, quantities, .. }) => (tariff, quantities),
            None => (Tariff::of(data), quantities(data)),
        };
        let provider = truncated(data.provider.as_deref());
        Ok(Some(self.book(db, book)?.cost_of(time, provider, model(data), &tariff, &units)))
    }

    fn book(&mut self, db: &Connection, number: i64) -> Result<&dyn Pricing, LedgerError> {
        if !self.loaded.contains_key(&number) {
            let text: Option<String> =
                db.query_row("SELECT text FROM price_book WHERE id = ?1", [number], |row| row.get(0)).optional()?;
            let wrong = |why: &str| LedgerError::Inconsistent(format!("price book {number}: {why}"));
            let text = text.ok_or_else(|| wrong("it is missing"))?;
            let read = self.prices.as_ref().ok_or_else(|| wrong("no prices are configured to read it with"))?.read;
            self.loaded.insert(number, read(&text).map_err(|why| wrong(&why))?);
        }
        Ok(self.loaded[&number].as_ref())
    }
}

/// The number under which a book is kept; it is kept now unless it was before.
pub(crate) fn keep(db: &Connection, book: &dyn Pricing) -> Result<i64, LedgerError> {
    let known = "SELECT id FROM price_book WHERE text = ?1";
    if let Some(number) = db.query_row(known, [book.text()], |row| row.get(0)).optional()? {
        return Ok(number);
    }
    db.execute("INSERT INTO price_book(text) VALUES (?1)", [book.text()])?;
    Ok(db.last_insert_rowid())
}
