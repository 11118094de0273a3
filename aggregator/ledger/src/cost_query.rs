//! Reads what requests cost.
use std::collections::BTreeMap;

use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, Row, params};
use weir_event_log::Position;

use super::LedgerError;
use super::books::Books;
use super::costs::{AMOUNTS, COUNTS, amount, currency, exact, of_analysis, of_cost, sums_of};
use super::line::{DIMENSIONS, Marks};
use super::query::LedgerReader;
use super::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow, RepricedRow, RepricingView, Step};
use crate::amount::Pico;
use crate::cost::Kind;

/// The most rows of one answer.
pub(crate) const COST_ROWS_MAX: u32 = 200_000;
/// The most repricings shown, the latest first.
const REPRICINGS_SHOWN: u32 = 100;

/// Why a query for costs has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// A dimension does not exist.
    #[error("`by` takes some of {}, with commas between them", DIMENSIONS.join(", "))]
    Dimension,
    /// The span is empty.
    #[error("the span ends before or where it begins")]
    Span,
    /// There are too many rows. None are left out silently: sums over them would be wrong.
    #[error(
        "the answer has more than {COST_ROWS_MAX} rows: ask for one tenant, a shorter span, a longer step or fewer dimensions"
    )]
    TooMany,
}

/// Refuses rows beyond the bound.
pub(crate) fn whole<T>(rows: Vec<T>) -> Result<Vec<T>, CostError> {
    if rows.len() > COST_ROWS_MAX as usize { Err(CostError::TooMany) } else { Ok(rows) }
}

/// The rows of a query, after `FROM`, and what comes before its `SELECT`. Parameters: tenant, from, to. What is given is compared as it is,
/// since a plan that must also serve for what is not given goes through the whole table. Tables begin with the time, so one tenant's rows
/// are looked up in each window by itself.
fn rows(table: &str, tenant: Option<&str>, (from, to): (Option<Timestamp>, Option<Timestamp>)) -> (String, String) {
    let from = if from.is_some() { "window_start >= ?2" } else { "?2 IS NULL" };
    let to = if to.is_some() { "window_start < ?3" } else { "?3 IS NULL" };
    if tenant.is_none() {
        return (String::new(), format!("{table} WHERE ?1 IS NULL AND {from} AND {to}"));
    }
    let times = format!(
        "WITH RECURSIVE times(at) AS (
           SELECT min(window_start) FROM {table} WHERE {from} AND {to}
           UNION ALL SELECT (SELECT min(window_start) FROM {table} WHERE window_start > times.at AND {to}) FROM times
           WHERE times.at IS NOT NULL) "
    );
    (times, format!("times CROSS JOIN {table} WHERE window_start = times.at AND tenant = ?1"))
}

impl LedgerReader {
    /// Costs by tenant, or by dimensions.
    pub fn cost(&mut self, query: &CostQuery) -> Result<Result<Vec<CostRow>, CostError>, LedgerError> {
        let by: Vec<&str> = query.by.as_deref().map_or(Vec::new(), |by| by.split(',').map(str::trim).collect());
        if !by.iter().all(|dimension| DIMENSIONS.contains(dimension)) {
            return Ok(Err(CostError::Dimension));
        }
        if is_empty(query.from, query.to) {
            return Ok(Err(CostError::Span));
        }
        let step = query.step.sql(self.connection());
        let sums = if by.is_empty() { of_cost() } else { of_analysis() };
        let (table, costed) = if by.is_empty() {
            ("cost", String::new())
        } else {
            ("analysis", format!(" AND marks & {} = 0", Marks::UNCOSTED.0))
        };
        let keys: String = by.iter().map(|dimension| format!(", {dimension}")).collect();
        let (times, rows) = rows(table, query.tenant.as_deref(), (query.from, query.to));
        let sql = format!(
            "{times}SELECT {step} AS start, tenant, currency, {sums}{keys} FROM {rows}{costed}
             GROUP BY start, tenant, currency{keys} ORDER BY start, tenant, currency{keys} LIMIT {COST_ROWS_MAX} + 1"
        );
        let mut select = self.connection().prepare(&sql)?;
        let rows = select.query_map(params![query.tenant, millis(query.from), millis(query.to)], |row| {
            let first = 3 + COUNTS.len() + 3 * AMOUNTS.len();
            Ok(CostRow {
                start: start(row)?,
                tenant: row.get(1)?,
                currency: currency(row, 2)?,
                sums: sums_of(row, 3)?,
                values: (first..first + by.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?,
            })
        })?;
        Ok(whole(rows.collect::<Result<_, _>>()?))
    }

    /// What was used of each model, by kind, and what it cost.
    pub fn priced(&mut self, query: &PricedQuery) -> Result<Result<Vec<PricedRow>, CostError>, LedgerError> {
        if is_empty(query.from, query.to) {
            return Ok(Err(CostError::Span));
        }
        let tenant = if query.by_tenant { "tenant" } else { "''" };
        let kinds: Vec<String> = Kind::ALL.iter().map(|kind| format!("sum(of_{})", kind.as_str())).collect();
        let lacking: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| format!("sum(of_{} * (unpriced >> {} & 1))", kind.as_str(), *kind as u32))
            .collect();
        let (times, rows) = rows("analysis", query.tenant.as_deref(), (query.from, query.to));
        let sql = format!(
            "{times}SELECT {} AS start, {tenant} AS of, provider, model, tier, input_over, currency, sum(requests), {}, {}, {}
             FROM {rows} AND marks & {} = 0
             GROUP BY start, of, provider, model, tier, input_over, currency
             ORDER BY start, of, provider, model, tier, input_over, currency LIMIT {COST_ROWS_MAX} + 1",
            query.step.sql(self.connection()),
            exact("cost", "1"),
            kinds.join(", "),
            lacking.join(", "),
            Marks::UNCOSTED.0 | Marks::OWN_KEY.0,
        );
        let mut select = self.connection().prepare(&sql)?;
        let rows = select.query_map(params![query.tenant, millis(query.from), millis(query.to)], priced_row)?;
        Ok(whole(rows.collect::<Result<_, _>>()?))
    }

    /// The text of the book that prices a tenant's events of a window in a record. None if there is none.
    pub fn book_text(
        &self,
        position: Position,
        tenant: &TenantId,
        window: Timestamp,
    ) -> Result<Option<String>, LedgerError> {
        let db = self.connection();
        Books::load(db)?.text(db, position, (tenant, window))
    }

    /// Repricings of the past, the latest first, with the sums that they changed.
    pub fn repricings(&mut self) -> Result<Vec<RepricingView>, LedgerError> {
        let sql = "SELECT id, at, who, why, from_at FROM repricing ORDER BY id DESC LIMIT ?1";
        let db = self.connection();
        let mut select = db.prepare(sql)?;
        let mut rows = select.query([REPRICINGS_SHOWN])?;
        let mut views = Vec::new();
        while let Some(row) = rows.next()? {
            views.push(RepricingView {
                at: Timestamp::from_millis(row.get::<_, u64>(1)?),
                who: row.get(2)?,
                why: row.get(3)?,
                from: Timestamp::from_millis(row.get::<_, u64>(4)?),
                rows: repriced(db, row.get(0)?)?,
            });
        }
        Ok(views)
    }
}

fn repriced(db: &Connection, repricing: i64) -> Result<Vec<RepricedRow>, LedgerError> {
    let sql =
        "SELECT tenant, '', currency, old_units, old_pico, new_units, new_pico FROM repriced WHERE repricing = ?1";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([repricing], |row| {
        Ok(RepricedRow {
            tenant: row.get(0)?,
            currency: currency(row, 2)?,
            old: Pico::of_columns(row.get(3)?, row.get(4)?),
            new: Pico::of_columns(row.get(5)?, row.get(6)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn priced_row(row: &Row<'_>) -> Result<PricedRow, weir_database::Error> {
    let kinds = |first: usize| {
        let mut units = BTreeMap::new();
        for (kind, column) in Kind::ALL.into_iter().zip(first..) {
            let quantity: u64 = row.get(column)?;
            if quantity > 0 {
                units.insert(kind.as_str().to_owned(), quantity);
            }
        }
        Ok::<_, weir_database::Error>(units)
    };
    Ok(PricedRow {
        start: start(row)?,
        tenant: row.get(1)?,
        provider: row.get(2)?,
        model: row.get(3)?,
        tier: row.get(4)?,
        over: row.get::<_, u64>(5)?,
        currency: currency(row, 6)?,
        requests: row.get::<_, u64>(7)?,
        cost: amount(row, 8)?,
        quantities: kinds(11)?,
        unpriced: kinds(11 + Kind::COUNT)?,
    })
}

impl Step {
    /// The start of the step that `window_start` lies in, in milliseconds.
    pub(crate) fn sql(self, db: &Connection) -> &'static str {
        match self {
            Step::Total => "NULL",
            Step::Hour => "window_start - window_start % 3600000",
            Step::Day => "window_start - window_start % 86400000",
            Step::Month if db.is_postgres() => "month_start(window_start, 0)",
            Step::Month => "CAST(strftime('%s', window_start / 1000, 'unixepoch', 'start of month') AS INTEGER) * 1000",
        }
    }
}

fn start(row: &Row<'_>) -> Result<Option<Timestamp>, weir_database::Error> {
    Ok(row.get::<_, Option<u64>>(0)?.map(Timestamp::from_millis))
}

fn is_empty(from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.zip(to).is_some_and(|(from, to)| from >= to)
}

fn millis(time: Option<Timestamp>) -> Option<u64> {
    time.map(Timestamp::as_millis)
}
