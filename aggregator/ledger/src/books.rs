//! The price books that priced events, and which of them prices which event.
//!
//! A book prices the events of all records after the position at which it was set, until the next one. A repricing puts a
//! book in the place of those, for windows from a moment on, and for records up to the position at which it was done. Both
//! are kept for as long as the log has records that they price, so that counting it again yields the same costs.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_contract::{TenantId, Timestamp, UsageData};
use weir_database::{Connection, OptionalExtension, params};
use weir_event_log::Position;

use super::{LedgerError, SqliteLedger, signed};
use crate::cost::{EventCost, Prices, Pricing, Tariff, quantities};
use crate::line::{model, truncated};
use crate::query::LedgerReader;

/// A book that replaces those of before.
#[derive(Debug)]
struct Repricing {
    id: i64,
    from: Timestamp,
    position: Position,
    book: i64,
    /// Windows and tenants that it left as they were.
    left: BTreeSet<(Timestamp, String)>,
}

impl Repricing {
    fn concerns(&self, position: Position, window: Timestamp, tenant: &TenantId) -> bool {
        position <= self.position
            && self.from <= window
            && (self.left.is_empty() || !self.left.contains(&(window, tenant.as_str().to_owned())))
    }
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
        let mut repricings = db.prepare("SELECT id, from_at, position, book FROM repricing ORDER BY id")?;
        let changes = changes.query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)))?;
        let repricings = repricings.query_map([], |row| {
            let from = Timestamp::from_millis(row.get::<_, u64>(1)?);
            let (id, position, book) = (row.get(0)?, row.get::<_, u64>(2)?, row.get(3)?);
            Ok(Repricing { id, from, position, book, left: BTreeSet::new() })
        })?;
        let mut repricings: Vec<Repricing> = repricings.collect::<Result<_, _>>()?;
        for repricing in &mut repricings {
            repricing.left = left(db, repricing.id)?;
        }
        Ok(Books {
            changes: changes.collect::<Result<_, _>>()?,
            repricings,
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
                   ON CONFLICT (position) DO UPDATE SET at = excluded.at, book = excluded.book";
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
        (tenant, window, time): (&TenantId, Timestamp, Timestamp),
        data: &UsageData<'_>,
    ) -> Result<Option<EventCost>, LedgerError> {
        let first = match self.change(position) {
            Some(book) => Some(self.book(db, book)?.cost(time, data)),
            None => None,
        };
        if !data.paid_by.is_house() {
            // Costs nothing by any book.
            return Ok(first);
        }
        let Some(book) = self.repricing(position, window, tenant) else { return Ok(first) };
        // As sums are priced again: by the names and steps of their rows.
        let (tariff, units) = match first {
            Some(EventCost { tariff, quantities, .. }) => (tariff, quantities),
            None => (Tariff::of(data), quantities(data)),
        };
        let provider = truncated(data.provider.as_deref());
        Ok(Some(self.book(db, book)?.cost_of(time, provider, model(data), &tariff, &units)))
    }

    /// The text of the book that prices events of a record. None if there is none.
    pub(crate) fn text(
        &self,
        db: &Connection,
        position: Position,
        (tenant, window): (&TenantId, Timestamp),
    ) -> Result<Option<String>, LedgerError> {
        let number = self.repricing(position, window, tenant).or_else(|| self.change(position));
        Ok(number.map(|number| text(db, number)).transpose()?.flatten())
    }

    /// The book that was in use for a record.
    fn change(&self, position: Position) -> Option<i64> {
        self.changes.iter().rev().find(|(after, _)| *after < position).and_then(|(_, book)| *book)
    }

    /// The book that replaced it since.
    fn repricing(&self, position: Position, window: Timestamp, tenant: &TenantId) -> Option<i64> {
        // Events of before have no sums that could have been priced again.
        let mut repricings = self.repricings.iter().rev().filter(|_| position > self.noted_after);
        repricings.find(|by| by.concerns(position, window, tenant)).map(|by| by.book)
    }

    fn book(&mut self, db: &Connection, number: i64) -> Result<&dyn Pricing, LedgerError> {
        if !self.loaded.contains_key(&number) {
            let text = text(db, number)?;
            let wrong = |why: &str| LedgerError::Inconsistent(format!("price book {number}: {why}"));
            let text = text.ok_or_else(|| wrong("it is missing"))?;
            let read = self.prices.as_ref().ok_or_else(|| wrong("no prices are configured to read it with"))?.read;
            self.loaded.insert(number, read(&text).map_err(|why| wrong(&why))?);
        }
        Ok(self.loaded[&number].as_ref())
    }
}

fn text(db: &Connection, number: i64) -> Result<Option<String>, LedgerError> {
    Ok(db.query_row("SELECT text FROM price_book WHERE id = ?1", [number], |row| row.get(0)).optional()?)
}

/// Tells which book prices an event.
#[derive(Debug)]
pub struct BookIndex(Books);

impl BookIndex {
    /// The number of the book that prices a tenant's events of a window in a record. None if there is none.
    pub fn number(&self, position: Position, tenant: &TenantId, window: Timestamp) -> Option<i64> {
        self.0.repricing(position, window, tenant).or_else(|| self.0.change(position))
    }
}

impl LedgerReader {
    /// Reads which books apply.
    pub fn book_index(&self) -> Result<BookIndex, LedgerError> {
        Books::load(self.connection()).map(BookIndex)
    }

    /// The text of a book. None if it is no longer kept.
    pub fn book(&self, number: i64) -> Result<Option<String>, LedgerError> {
        text(self.connection(), number)
    }
}

impl SqliteLedger {
    /// Drops books that gave way to others before `before`, from when on the log has records; returns how many.
    pub fn drop_old_books(&mut self, before: Timestamp) -> Result<usize, LedgerError> {
        self.check_whole()?;
        let outcome = self.db.transaction().map_err(LedgerError::from).and_then(|tx| {
            let superseded = "DELETE FROM pricing WHERE EXISTS
                              (SELECT 1 FROM pricing AS next WHERE next.position > pricing.position AND next.at < ?1)";
            tx.execute(superseded, [signed(before.as_millis())?])?;
            let unused = "DELETE FROM price_book WHERE id NOT IN
                          (SELECT book FROM pricing WHERE book IS NOT NULL UNION SELECT book FROM repricing)";
            let dropped = tx.execute(unused, [])?;
            tx.commit()?;
            Ok(dropped)
        });
        self.load_books()?;
        self.remember_failure(outcome)
    }
}

/// Windows and tenants that a repricing left as they were.
fn left(db: &Connection, repricing: i64) -> Result<BTreeSet<(Timestamp, String)>, LedgerError> {
    let mut select = db.prepare_cached("SELECT window_start, tenant FROM repricing_left WHERE repricing = ?1")?;
    let rows = select.query_map([repricing], |row| Ok((Timestamp::from_millis(row.get::<_, u64>(0)?), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The number under which a book is kept; it is kept now unless it was before.
pub(crate) fn keep(db: &Connection, book: &dyn Pricing) -> Result<i64, LedgerError> {
    let known = "SELECT id FROM price_book WHERE text = ?1";
    if let Some(number) = db.query_row(known, [book.text()], |row| row.get(0)).optional()? {
        return Ok(number);
    }
    let sql = "INSERT INTO price_book(text) VALUES (?1) RETURNING id";
    Ok(db.query_row(sql, [book.text()], |row| row.get(0))?)
}
