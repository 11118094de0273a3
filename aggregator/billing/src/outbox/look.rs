//! Rows for people, page by page: held and pending ones, settled ones and who settled them, and what the provider has taken.
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_ledger::LedgerError;

use super::view::{COLUMNS, NEXT, OutboxRow, read, time};

/// The rows of one look: three tables of them make a page of some 100 KB.
const SHOWN: usize = 50;
/// How many numbers a look at reported rows goes through at most: other rows stand between them.
const LOOKED_AT: i64 = 20_000;

/// Which rows a page asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only rows of this tenant.
    pub tenant: Option<String>,
    /// Only rows that go, or went, to this customer. One that is not sent yet may have none.
    pub customer: Option<String>,
    /// Only rows whose windows begin at this moment or later.
    pub from: Option<Timestamp>,
    /// Only rows whose windows begin before this moment.
    pub to: Option<Timestamp>,
}

impl Which {
    /// Whether it asks for some of the rows only.
    pub fn is_some(&self) -> bool {
        *self != Which::default()
    }

    /// From when on and before when, in milliseconds.
    fn span(&self) -> (Option<u64>, Option<u64>) {
        (self.from.map(Timestamp::as_millis), self.to.map(Timestamp::as_millis))
    }
}

/// What a statement about outbox says of [`Which`], whose values are the parameters from `?1` on.
const FITS: &str = "(?1 IS NULL OR outbox.tenant = ?1) AND (?2 IS NULL OR outbox.customer = ?2)
    AND (?3 IS NULL OR outbox.window_start >= ?3) AND (?4 IS NULL OR outbox.window_start < ?4)";

/// The sum of rows of a meter and a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The meter.
    pub meter: String,
    /// The state.
    pub state: String,
    /// How many rows.
    pub rows: u64,
    /// What they add up to.
    pub value: i64,
}

/// The sums of a customer's rows; those of other questions would go through all that was ever reported.
pub fn sums(db: &Connection, which: &Which) -> Result<Vec<Sum>, LedgerError> {
    if which.customer.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT outbox.meter, outbox.state, count(*), CAST(sum(outbox.value) AS INTEGER) FROM outbox
         WHERE outbox.customer = ?2 AND {FITS} GROUP BY outbox.meter, outbox.state ORDER BY outbox.meter, outbox.state"
    );
    let of = |row: &Row<'_>| Ok(Sum { meter: row.get(0)?, state: row.get(1)?, rows: row.get(2)?, value: row.get(3)? });
    let (from, to) = which.span();
    let mut select = db.prepare_cached(&sql)?;
    Ok(select.query_map(params![which.tenant, which.customer, from, to], of)?.collect::<Result<_, _>>()?)
}

/// One row, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct One {
    /// The row.
    pub row: OutboxRow,
    /// When the provider took it.
    pub reported_at: Option<Timestamp>,
    /// Who added it by hand, when and why, if somebody did.
    pub adjusted: Option<Adjusted>,
    /// How a person settled it, if somebody did.
    pub settled: Option<Settled>,
}

/// Who added a row by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A row by its number; None if there is none.
pub fn one(db: &Connection, id: i64) -> Result<Option<One>, LedgerError> {
    let sql = format!("SELECT {COLUMNS}, outbox.reported_at FROM outbox WHERE outbox.id = ?1");
    let Some(ReportedRow { row, at }) = db.prepare_cached(&sql)?.query_row([id], read_reported).optional()? else {
        return Ok(None);
    };
    let sql = "SELECT at, who, why FROM adjustment WHERE outbox = ?1";
    let of = |row: &Row<'_>| Ok(Adjusted { at: time(row.get(0)?), who: row.get(1)?, why: row.get(2)? });
    let adjusted = db.prepare_cached(sql)?.query_row([id], of).optional()?;
    let sql = format!("{} WHERE s.outbox = ?1", settled_rows());
    let settled = db.prepare_cached(&sql)?.query_row([id], read_settled).optional()?;
    Ok(Some(One { row, reported_at: at, adjusted, settled }))
}

/// Rows that are held, or pending, and the number after which further ones are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The rows, the oldest first.
    pub rows: Vec<OutboxRow>,
    /// The number to go on after; None where there are no more.
    pub after: Option<i64>,
}

/// The first of the rows in `state` (`held`, `pending`) that have a number above `after`.
pub fn waiting(db: &Connection, state: &str, which: &Which, after: Option<i64>) -> Result<Waiting, LedgerError> {
    // `+id`, since in the order of ids the plan would go through every row that was ever reported.
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox
         WHERE outbox.state <> 'reported' AND outbox.state = ?5 AND +outbox.id > ?6 AND {FITS} ORDER BY +outbox.id LIMIT ?7"
    ))?;
    let (from, to) = which.span();
    let asked = params![which.tenant, which.customer, from, to, state, after.unwrap_or(0), SHOWN as i64 + 1];
    let mut rows = select.query_map(asked, read)?.collect::<Result<Vec<_>, _>>()?;
    let has_more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    Ok(Waiting { after: rows.last().map(|row| row.id).filter(|_| has_more), rows })
}

/// How a person settled a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The row.
    pub row: OutboxRow,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// `invoiced` or `void`.
    pub outcome: String,
    /// By what it is billed; empty if it is not.
    pub reference: String,
    /// Why.
    pub why: String,
}

fn settled_rows() -> String {
    format!(
        "SELECT {COLUMNS}, s.at, s.who, s.outcome, s.reference, s.why FROM settlement AS s JOIN outbox ON outbox.id = s.outbox"
    )
}

fn read_settled(row: &Row<'_>) -> Result<Settled, weir_database::Error> {
    Ok(Settled {
        row: read(row)?,
        at: time(row.get(NEXT)?),
        who: row.get(NEXT + 1)?,
        outcome: row.get(NEXT + 2)?,
        reference: row.get(NEXT + 3)?,
        why: row.get(NEXT + 4)?,
    })
}

/// Settled rows, and the number before which further ones are: the latest rows first.
pub fn settled(
    db: &Connection,
    which: &Which,
    before: Option<i64>,
) -> Result<(Vec<Settled>, Option<i64>), LedgerError> {
    let sql = format!("{} WHERE s.outbox < ?5 AND {FITS} ORDER BY s.outbox DESC LIMIT ?6", settled_rows());
    let (from, to) = which.span();
    let before = before.unwrap_or(i64::MAX);
    let asked = params![which.tenant, which.customer, from, to, before, SHOWN as i64 + 1];
    let mut rows = db.prepare_cached(&sql)?.query_map(asked, read_settled)?.collect::<Result<Vec<_>, _>>()?;
    let has_more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    let next = rows.last().map(|settled| settled.row.id).filter(|_| has_more);
    Ok((rows, next))
}

fn read_reported(row: &Row<'_>) -> Result<ReportedRow, weir_database::Error> {
    Ok(ReportedRow { row: read(row)?, at: row.get::<_, Option<u64>>(NEXT)?.map(time) })
}

/// A row that the provider has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRow {
    /// The row.
    pub row: OutboxRow,
    /// When the provider took it.
    pub at: Option<Timestamp>,
}

/// Rows that the provider has taken, and the number before which to look for further ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The rows, the latest first.
    pub rows: Vec<ReportedRow>,
    /// The number to go on before; None where there are none.
    pub before: Option<i64>,
}

/// The latest rows that the provider has taken, of those with a number below `before`.
pub fn reported(db: &Connection, which: &Which, before: Option<i64>) -> Result<Reported, LedgerError> {
    let last: Option<i64> = db.prepare_cached("SELECT max(id) FROM outbox")?.query_row([], |row| row.get(0))?;
    let end = before.unwrap_or(i64::MAX).min(last.unwrap_or(0).saturating_add(1));
    // Those of a customer have an index: they are looked for among all.
    let (start, of, order) = match which.customer {
        Some(_) => (1, "+outbox.id >= ?5 AND +outbox.id < ?6 AND outbox.customer = ?2", "+outbox.id"),
        None => (end.saturating_sub(LOOKED_AT), "outbox.id >= ?5 AND outbox.id < ?6", "outbox.id"),
    };
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, outbox.reported_at FROM outbox
         WHERE outbox.state = 'reported' AND {FITS} AND {of} ORDER BY {order} DESC LIMIT ?7"
    ))?;
    let (since, to) = which.span();
    let asked = params![which.tenant, which.customer, since, to, start, end, SHOWN as i64];
    let rows = select.query_map(asked, read_reported)?.collect::<Result<Vec<_>, _>>()?;
    let cut = rows.last().map(|sent| sent.row.id).filter(|_| rows.len() == SHOWN);
    let before = Some(cut.unwrap_or(start)).filter(|before| *before > 1);
    Ok(Reported { rows, before })
}
