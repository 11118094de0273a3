//! Prices sums again when a price was wrong.
//!
//! Rows of the analysis hold units by provider, model and tariff, so that their cost can be computed again exactly without a
//! single event: bodies may be gone. `cost` follows from the same rows. Old and new sums stay in `repriced`, and counting the
//! log again applies the same repricing ([`crate::books`]).
use std::collections::BTreeMap;
use std::sync::Arc;

use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, Transaction, params};
use weir_fault::{self as fault, Point};

use super::{LedgerError, SqliteLedger, audit, costs, signed, values};
use crate::amount::{Currency, Pico};
use crate::analysis::{ANALYSIS_DAYS, Line, Marks, OTHER, Table, read_window, replace_window, windows_from};
use crate::cost::Pricing;
use crate::view::cost::{RepriceView, RepricedRow};

/// Windows of tenants that are read at once.
const STEP: usize = 1_000;

/// A repricing that a person asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Windows that begin at this moment or later.
    pub from: Timestamp,
    /// Who asks.
    pub who: String,
    /// Why; it is kept.
    pub why: String,
    /// Changes nothing, and only says what would change.
    pub dry_run: bool,
}

/// Sums by tenant and currency, before and after.
type Changes = BTreeMap<(TenantId, Option<Currency>), (Pico, Pico)>;

impl SqliteLedger {
    /// Computes the costs of windows from a moment on again, by the book in use.
    pub fn reprice(
        &mut self,
        now: Timestamp,
        request: &Request,
    ) -> Result<Result<RepriceView, RepriceError>, LedgerError> {
        let oldest = now.as_millis().saturating_sub(ANALYSIS_DAYS * 24 * weir_contract::time::HOUR_MS);
        if request.from.as_millis() < oldest {
            return Ok(Err(RepriceError::TooOld(Timestamp::from_millis(oldest))));
        }
        let Some(book) = self.books.current() else { return Ok(Err(RepriceError::NoPrices)) };
        let position = self.position;
        let view = self.durably(|db| reprice(db, &book, position, now, request))?;
        self.load_books()?;
        if !request.dry_run {
            self.review_steering(now, true)?;
        }
        Ok(Ok(view))
    }
}

/// Why nothing can be priced again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepriceError {
    /// The sums by model are gone.
    #[error(
        "sums by model are kept for {ANALYSIS_DAYS} days; the earliest moment from which costs can be computed again is {0}"
    )]
    TooOld(Timestamp),
    /// There is no book.
    #[error("no prices are in use: remove `shipped: false`, or add entries to `prices` in weir.yaml")]
    NoPrices,
}

fn reprice(
    db: &mut Connection,
    book: &Arc<dyn Pricing>,
    position: u64,
    now: Timestamp,
    request: &Request,
) -> Result<RepriceView, LedgerError> {
    let tx = db.transaction()?;
    let (mut view, mut changes) = (RepriceView { from: request.from, ..RepriceView::default() }, Changes::new());
    let mut left = Vec::new();
    let (mut after, mut tenant) =
        (Timestamp::from_millis(request.from.as_millis().saturating_sub(1)), "\u{7f}".to_owned());
    loop {
        let windows = windows_from(&tx, (after, &tenant), STEP)?;
        let Some((last, of)) = windows.last() else { break };
        (after, tenant) = (*last, of.as_str().to_owned());
        for (window, tenant) in &windows {
            reprice_window(&tx, book.as_ref(), (*window, tenant), &mut view, &mut changes, &mut left)?;
        }
    }
    view.rows = rows(&changes);
    if !request.dry_run {
        values::rewind(&tx, request.from)?;
        record(&tx, book.as_ref(), position, now, request, (&view, &left))?;
        tx.commit()?;
    }
    Ok(view)
}

fn reprice_window(
    tx: &Transaction<'_>,
    book: &dyn Pricing,
    (window, tenant): (Timestamp, &TenantId),
    view: &mut RepriceView,
    changes: &mut Changes,
    left: &mut Vec<(Timestamp, TenantId)>,
) -> Result<(), LedgerError> {
    let old = read_window(tx, Table::Analysis, (window, tenant))?;
    // Counting the log again prices single events: a window is priced again as a whole or not at all.
    let is_whole = old.iter().all(|line| line.combination.model() != OTHER);
    if !is_whole {
        view.left_requests += old.iter().map(|line| line.amounts.requests).sum::<u64>();
        left.push((window, tenant.clone()));
    }
    let new: Vec<Line> =
        old.iter().map(|line| if is_whole { repriced(book, line, view) } else { line.clone() }).collect();
    let (before, costs) = (costs::of_lines(old.iter()), costs::of_lines(new.iter()));
    for ((_, tenant, currency), sums) in &before {
        changes.entry((tenant.clone(), *currency)).or_default().0 += sums.cost;
    }
    for ((_, tenant, currency), sums) in &costs {
        changes.entry((tenant.clone(), *currency)).or_default().1 += sums.cost;
    }
    if is_whole {
        reprice_flags(tx, book, (window, tenant))?;
    }
    let adds_twice = fault::hit(Point::RepricedTwice);
    if old == new && !adds_twice {
        return Ok(());
    }
    costs::note_unpriced(tx, old.iter(), -1)?;
    costs::note_unpriced(tx, new.iter(), 1)?;
    replace_window(tx, Table::Analysis, (window, tenant), &new)?;
    if !adds_twice {
        costs::remove(tx, window, tenant)?;
    }
    costs::write(tx, &costs)
}

/// Prices the sums by flag again. They name the model wherever those by dimensions do ([`Table`]).
fn reprice_flags(
    tx: &Transaction<'_>,
    book: &dyn Pricing,
    (window, tenant): (Timestamp, &TenantId),
) -> Result<(), LedgerError> {
    let old = read_window(tx, Table::Flags, (window, tenant))?;
    if old.iter().any(|line| line.combination.model() == OTHER) {
        return Ok(());
    }
    let new: Vec<Line> =
        old.iter().map(|line| if is_priced(line) { priced(book, line) } else { line.clone() }).collect();
    if old == new { Ok(()) } else { replace_window(tx, Table::Flags, (window, tenant), &new) }
}

/// Whether the cost of a row can be computed: its units are known, and the house pays for them.
fn is_priced(line: &Line) -> bool {
    !line.combination.marks.has(Marks::UNTOLD) && !line.combination.marks.has(Marks::OWN_KEY)
}

/// The row with its cost by `book`; counts its requests.
fn repriced(book: &dyn Pricing, line: &Line, view: &mut RepriceView) -> Line {
    if line.combination.marks.has(Marks::UNTOLD) {
        view.left_requests += line.amounts.requests;
    }
    if !is_priced(line) {
        return line.clone();
    }
    view.requests += line.amounts.requests;
    priced(book, line)
}

fn priced(book: &dyn Pricing, line: &Line) -> Line {
    let of = &line.combination;
    let cost = book.cost_of(line.window, &of.provider, of.model(), &of.tariff, &line.amounts.quantities);
    let mut new = line.clone();
    new.amounts.cost = cost.cost;
    new.combination.currency = cost.currency;
    new.combination.unpriced = cost.unpriced.bits();
    new.combination.marks = of.marks.with(Marks::UNCOSTED, false);
    new
}

fn rows(changes: &Changes) -> Vec<RepricedRow> {
    let row = |((tenant, currency), (old, new)): (&(TenantId, Option<Currency>), &(Pico, Pico))| RepricedRow {
        tenant: tenant.as_str().to_owned(),
        currency: *currency,
        old: *old,
        new: *new,
    };
    changes.iter().filter(|(_, (old, new))| old != new).map(row).collect()
}

/// Keeps what was done, so that old and new sums stay visible and counting again does the same.
fn record(
    tx: &Transaction<'_>,
    book: &dyn Pricing,
    position: u64,
    now: Timestamp,
    request: &Request,
    (view, left): (&RepriceView, &[(Timestamp, TenantId)]),
) -> Result<(), LedgerError> {
    let book = super::books::keep(tx, book)?;
    let sql = "INSERT INTO repricing(at, who, why, from_at, position, book) VALUES (?1,?2,?3,?4,?5,?6) RETURNING id";
    let (at, from) = (signed(now.as_millis())?, signed(request.from.as_millis())?);
    let row = params![at, request.who, request.why, from, signed(position)?, book];
    let repricing: i64 = tx.query_row(sql, row, |row| row.get(0))?;
    let mut insert = tx.prepare_cached("INSERT INTO repriced VALUES (?1,?2,?3,?4,?5,?6,?7)")?;
    for row in &view.rows {
        let ((old_units, old_pico), (new_units, new_pico)) = (row.old.columns(), row.new.columns());
        let currency = row.currency.as_ref().map_or("", Currency::as_str);
        insert.execute(params![repricing, row.tenant, currency, old_units, old_pico, new_units, new_pico])?;
    }
    let mut insert = tx.prepare_cached("INSERT INTO repricing_left VALUES (?1,?2,?3)")?;
    for (window, tenant) in left {
        insert.execute(params![repricing, window.as_millis(), tenant.as_str()])?;
    }
    let detail = format!("from {}: {} requests; {}", request.from, view.requests, request.why);
    audit::note(tx, now, &request.who, "prices.reprice", &detail)
}
