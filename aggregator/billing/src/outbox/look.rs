//! Rows for people, page by page: held and pending ones, settled ones and who settled them, and what the provider has taken.
use weir_contract::Timestamp;
use weir_database::{Connection, OptionalExtension, Row, params};
use weir_ledger::LedgerError;

use super::view::{OutboxRow, read, time};

/// The rows of one look.
const SHOWN: usize = 100;
/// How many numbers a look at reported rows goes through at most: other rows stand between them.
const LOOKED_AT: i64 = 1_000;
/// The same of one tenant, whose rows lie further apart.
const LOOKED_AT_OF_ONE: i64 = 20_000;

/// Which rows a page asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only rows of this tenant.
    pub tenant: Option<String>,
    /// Only rows that go, or went, to this customer. One that is not sent yet may have none.
    pub customer: Option<String>,
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
    let mut select = db.prepare_cached(
        "SELECT id, window_start, tenant, meter, revision, value, state, reason, detail, customer, identifier, attempts, created_at
         FROM outbox WHERE state <> 'reported' AND state = ?1 AND +id > ?2 AND (?3 IS NULL OR tenant = ?3)
             AND (?4 IS NULL OR customer = ?4)
         ORDER BY +id LIMIT ?5",
    )?;
    let asked = params![state, after.unwrap_or(0), which.tenant, which.customer, SHOWN as i64 + 1];
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

const SETTLED: &str =
    "SELECT o.id, o.window_start, o.tenant, o.meter, o.revision, o.value, o.state, o.reason, o.detail, o.customer, o.identifier,
            o.attempts, o.created_at, s.at, s.who, s.outcome, s.reference, s.why
     FROM settlement AS s JOIN outbox AS o ON o.id = s.outbox";

fn read_settled(row: &Row<'_>) -> Result<Settled, weir_database::Error> {
    Ok(Settled {
        row: read(row)?,
        at: time(row.get(13)?),
        who: row.get(14)?,
        outcome: row.get(15)?,
        reference: row.get(16)?,
        why: row.get(17)?,
    })
}

/// How a row was settled; None if it was not.
pub fn settlement(db: &Connection, id: i64) -> Result<Option<Settled>, LedgerError> {
    let sql = format!("{SETTLED} WHERE s.outbox = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id], read_settled).optional()?)
}

/// Settled rows, and the number before which further ones are: the latest rows first.
pub fn settled(
    db: &Connection,
    tenant: Option<&str>,
    before: Option<i64>,
) -> Result<(Vec<Settled>, Option<i64>), LedgerError> {
    let sql =
        format!("{SETTLED} WHERE s.outbox < ?1 AND (?2 IS NULL OR o.tenant = ?2) ORDER BY s.outbox DESC LIMIT ?3");
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map(params![before.unwrap_or(i64::MAX), tenant, SHOWN as i64 + 1], read_settled)?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    let has_more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    let next = rows.last().map(|settled| settled.row.id).filter(|_| has_more);
    Ok((rows, next))
}

const REPORTED: &str =
    "SELECT id, window_start, tenant, meter, revision, value, state, reason, detail, customer, identifier, attempts, created_at, reported_at
     FROM outbox WHERE state = 'reported' AND (?3 IS NULL OR tenant = ?3) AND";

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
    let looked_at = if which.tenant.is_some() { LOOKED_AT_OF_ONE } else { LOOKED_AT };
    // Those of a customer have an index: they are looked for among all.
    let start = if which.customer.is_some() { 1 } else { end.saturating_sub(looked_at) };
    let sql = match which.customer {
        Some(_) => format!("{REPORTED} +id >= ?1 AND +id < ?2 AND customer = ?4 ORDER BY +id DESC LIMIT ?5"),
        None => format!("{REPORTED} id >= ?1 AND id < ?2 AND ?4 IS NULL ORDER BY id DESC LIMIT ?5"),
    };
    let mut select = db.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| Ok(ReportedRow { row: read(row)?, at: row.get::<_, Option<u64>>(13)?.map(time) });
    let asked = params![start, end, which.tenant, which.customer, SHOWN as i64];
    let rows = select.query_map(asked, read)?.collect::<Result<Vec<_>, _>>()?;
    let cut = rows.last().map(|sent| sent.row.id).filter(|_| rows.len() == SHOWN);
    let before = Some(cut.unwrap_or(start)).filter(|before| *before > 1);
    Ok(Reported { rows, before })
}
