//! Rows of the table `analysis`, and of `flag_sum`, which holds the same sums under other dimensions.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use weir_contract::{TenantId, Timestamp};
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{Row, Transaction, Values, params, params_from_iter};

use super::{Amounts, COMBINATIONS_MAX, Combination, DIMENSIONS, Line, Marks};
use crate::amount::{Currency, PICO, Pico};
use crate::cost::{Kind, Quantities, Tariff};
use crate::{LedgerError, signed};

/// The columns that keep rows apart, after `window_start`, `tenant` and the dimensions.
const KEY: [&str; 6] = ["provider", "tier", "input_over", "marks", "unpriced", "currency"];
/// The columns that are summed, before those of the kinds.
const SUMMED: [&str; 6] =
    ["requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"];

/// A table of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Under the dimensions of requests.
    Analysis,
    /// Under flags and their values.
    Flags,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Analysis => "analysis",
            Table::Flags => "flag_sum",
        }
    }

    /// The columns of the first dimensions of a line; the others are not kept.
    fn dimensions(self) -> &'static [&'static str] {
        match self {
            Table::Analysis => &DIMENSIONS,
            Table::Flags => &FLAG_COLUMNS,
        }
    }

    fn sql(self) -> &'static Sql {
        static ANALYSIS: LazyLock<Sql> = LazyLock::new(|| Sql::of(Table::Analysis));
        static FLAGS: LazyLock<Sql> = LazyLock::new(|| Sql::of(Table::Flags));
        match self {
            Table::Analysis => &ANALYSIS,
            Table::Flags => &FLAGS,
        }
    }

    /// The most rows of a tenant's window that keep all dimensions apart.
    fn apart(self) -> u32 {
        match self {
            Table::Analysis => COMBINATIONS_MAX,
            Table::Flags => FLAG_ROWS_MAX,
        }
    }

    /// The combination that one is summed under where a tenant's window has so many rows.
    fn bounded<'c>(self, combination: &'c Combination, rows: u32) -> Cow<'c, Combination> {
        // Rows by model have room for as many as `analysis` has in all: where it names every model, so do the rows of flags.
        let by_model = match self {
            Table::Analysis => COMBINATIONS_MAX,
            Table::Flags => 2 * COMBINATIONS_MAX,
        };
        let apart = self.apart();
        match rows {
            rows if rows < apart => Cow::Borrowed(combination),
            rows => Cow::Owned(combination.folded(rows < apart + by_model)),
        }
    }
}

/// The columns of `flag_sum` in the place of [`DIMENSIONS`].
pub(crate) const FLAG_COLUMNS: [&str; 3] = ["model", "flag", "value"];
/// The most rows of one tenant in one window that keep flags and values apart; further ones are summed under
/// [`OTHER`](super::OTHER), by model.
pub(crate) const FLAG_ROWS_MAX: u32 = 1_000;

struct Sql {
    update: String,
    /// The columns of a new row, and what happens to one that is there.
    into: String,
    conflict: String,
    select: String,
    count: String,
}

impl Sql {
    fn of(table: Table) -> Self {
        let kinds = Kind::ALL.map(|kind| format!("of_{}", kind.as_str()));
        let key = [&["window_start", "tenant"], table.dimensions(), &KEY].concat();
        let name = table.name();
        let summed: Vec<&str> = SUMMED.into_iter().chain(kinds.iter().map(String::as_str)).collect();
        let units = key.len() + summed.len() + 1;
        let numbered: Vec<String> = (key.len() + 1..=units + 1).map(|number| format!("?{number}")).collect();
        let given = [&summed[..], &["cost_units", "cost_pico"]].concat();
        let given: Vec<String> = given.into_iter().map(|column| format!("excluded.{column}")).collect();
        let set = |values: &[String]| set(name, &summed, values);
        let is: Vec<String> = key.iter().zip(1..).map(|(column, number)| format!("{column} = ?{number}")).collect();
        let all = [&key[..], &summed[..], &["cost_units", "cost_pico"]].concat().join(", ");
        Sql {
            update: format!("UPDATE {name} SET {} WHERE {}", set(&numbered), is.join(" AND ")),
            into: format!("{name}({all})"),
            conflict: format!("ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set(&given)),
            select: format!("SELECT {all} FROM {name} WHERE window_start = ?1 AND tenant = ?2"),
            count: format!("SELECT count(*) FROM {name} WHERE window_start = ?1 AND tenant = ?2"),
        }
    }
}

/// Adds values to the sums of a row: those of the columns `summed`, then units and trillionths of its cost.
fn set(table: &str, summed: &[&str], values: &[String]) -> String {
    let (of_summed, of_cost) = values.split_at(summed.len());
    let add = |(column, value): (&&str, &String)| format!("{column} = {table}.{column} + {value}");
    let mut set: Vec<String> = summed.iter().zip(of_summed).map(add).collect();
    if let [units, pico] = of_cost {
        set.push(format!("cost_units = {table}.cost_units + {units} + ({table}.cost_pico + {pico}) / {PICO}"));
        set.push(format!("cost_pico = ({table}.cost_pico + {pico}) % {PICO}"));
    }
    set.join(", ")
}

/// Adds lines to their rows, each of another combination, sorted by window and tenant; hands each with the combination that its row is
/// of to `note`. PostgreSQL takes those at once that have room whatever rows are there.
pub(super) fn write_all(
    tx: &Transaction<'_>,
    table: Table,
    lines: &[&Line],
    mut note: impl FnMut(&Line, &Combination),
) -> Result<(), LedgerError> {
    let windows: Vec<&[&Line]> =
        lines.chunk_by(|one, other| (one.window, &one.tenant) == (other.window, &other.tenant)).collect();
    let rows = if tx.is_postgres() { rows_there(tx, table, &windows)? } else { Vec::new() };
    let mut rows = rows.into_iter();
    let mut at_once = Vec::new();
    for of_window in windows {
        let has_room = rows.next().is_some_and(|rows| rows.saturating_add(of_window.len()) <= table.apart() as usize);
        for line in of_window {
            if has_room {
                at_once.push(row(table, line, &line.combination)?);
                note(line, &line.combination);
            } else {
                let combination = write(tx, table, line)?;
                note(line, &combination);
            }
        }
    }
    Ok(tx.insert_rows(&table.sql().into, &table.sql().conflict, &at_once)?)
}

/// How many rows there are in the windows and of the tenants of some lines, in their order; for PostgreSQL.
fn rows_there(tx: &Transaction<'_>, table: Table, windows: &[&[&Line]]) -> Result<Vec<usize>, LedgerError> {
    let mut of = Vec::with_capacity(windows.len());
    for line in windows.iter().filter_map(|lines| lines.first()) {
        of.push(vec![
            signed(of.len() as u64)?.into(),
            signed(line.window.as_millis())?.into(),
            text(line.tenant.as_str()),
        ]);
    }
    let sql = format!(
        "SELECT (SELECT count(*) FROM {} s WHERE s.window_start = given.window_start AND s.tenant = given.tenant)
         FROM given(number, window_start, tenant) ORDER BY number",
        table.name()
    );
    Ok(tx.query_given(&sql, &of, |row| Ok(usize::try_from(row.get::<_, u64>(0)?).unwrap_or(usize::MAX)))?)
}

/// Adds a line to its row; returns the combination that the row is of.
fn write<'l>(tx: &Transaction<'_>, table: Table, line: &'l Line) -> Result<Cow<'l, Combination>, LedgerError> {
    let sql = table.sql();
    let known = row(table, line, &line.combination)?;
    if tx.prepare_cached(&sql.update)?.execute(params_from_iter(known))? > 0 {
        return Ok(Cow::Borrowed(&line.combination));
    }
    let combination = table.bounded(&line.combination, combinations(tx, table, line)?);
    tx.insert_rows(&sql.into, &sql.conflict, &[row(table, line, &combination)?])?;
    Ok(combination)
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

/// The row of a line, summed under a combination.
fn row<'l>(table: Table, line: &'l Line, combination: &'l Combination) -> Result<Values<'l>, LedgerError> {
    let number = |number: u64| signed(number).map(ToSqlOutput::from);
    let Combination { dimensions, provider, tariff, marks, unpriced, currency } = combination;
    let Amounts {
        requests, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, ..
    } = line.amounts;
    let (units, pico) = line.amounts.cost.columns();
    let mut row: Values<'_> = Vec::with_capacity(2 + dimensions.len() + KEY.len() + SUMMED.len() + Kind::COUNT + 2);
    row.push(number(line.window.as_millis())?);
    row.push(text(line.tenant.as_str()));
    for (value, _) in dimensions.iter().zip(table.dimensions()) {
        row.push(text(value));
    }
    row.extend([text(provider), text(&tariff.tier), number(tariff.over)?]);
    row.extend([marks.0.into(), (*unpriced).into()]);
    row.push(text(currency.as_ref().map_or("", Currency::as_str)));
    for sum in [requests, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens] {
        row.push(number(sum)?);
    }
    for kind in Kind::ALL {
        row.push(number(line.amounts.quantities.get(kind))?);
    }
    row.extend([units.into(), pico.into()]);
    Ok(row)
}

fn combinations(tx: &Transaction<'_>, table: Table, line: &Line) -> Result<u32, LedgerError> {
    let key = params![line.window.as_millis(), line.tenant.as_str()];
    Ok(tx.prepare_cached(&table.sql().count)?.query_row(key, |row| row.get(0))?)
}

/// The next windows and tenants with rows, in order, after a given one; at most `most`.
pub(crate) fn windows_from(
    tx: &Transaction<'_>,
    after: (Timestamp, &str),
    most: usize,
) -> Result<Vec<(Timestamp, TenantId)>, LedgerError> {
    let sql = "SELECT DISTINCT window_start, tenant FROM analysis WHERE (window_start, tenant) > (?1, ?2)
               ORDER BY window_start, tenant LIMIT ?3";
    let mut select = tx.prepare_cached(sql)?;
    let mut rows = select.query(params![after.0.as_millis(), after.1, signed(most as u64)?])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push((Timestamp::from_millis(row.get::<_, u64>(0)?), tenant(&row.get::<_, String>(1)?)?));
    }
    Ok(windows)
}

fn tenant(text: &str) -> Result<TenantId, LedgerError> {
    TenantId::new(text).map_err(|error| LedgerError::Inconsistent(format!("analysis: {text:?}: {error}")))
}

/// The rows of one window and tenant.
pub(crate) fn read_window(
    tx: &Transaction<'_>,
    table: Table,
    (window, of): (Timestamp, &TenantId),
) -> Result<Vec<Line>, LedgerError> {
    let mut select = tx.prepare_cached(&table.sql().select)?;
    let mut rows = select.query(params![window.as_millis(), of.as_str()])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(line(&row, table, window, of)?);
    }
    Ok(lines)
}

fn line(row: &Row<'_>, table: Table, window: Timestamp, tenant: &TenantId) -> Result<Line, LedgerError> {
    let words = |column: usize| row.get::<_, String>(column).map(Box::<str>::from);
    let number = |column: usize| row.get::<_, u64>(column);
    let mut dimensions: [Box<str>; DIMENSIONS.len()] = Default::default();
    for ((value, _), column) in dimensions.iter_mut().zip(table.dimensions()).zip(2..) {
        *value = words(column)?;
    }
    let rest = 2 + table.dimensions().len();
    let combination = Combination {
        dimensions,
        provider: words(rest)?,
        tariff: Tariff { tier: words(rest + 1)?, over: number(rest + 2)? },
        marks: Marks(row.get(rest + 3)?),
        unpriced: row.get(rest + 4)?,
        currency: Currency::parse(&words(rest + 5)?),
    };
    let sums = rest + 6;
    let mut quantities = Quantities::default();
    for (kind, column) in Kind::ALL.into_iter().zip(sums + SUMMED.len()..) {
        quantities.set(kind, number(column)?);
    }
    let cost = sums + SUMMED.len() + Kind::COUNT;
    let amounts = Amounts {
        requests: number(sums)?,
        input_tokens: number(sums + 1)?,
        output_tokens: number(sums + 2)?,
        cache_read_tokens: number(sums + 3)?,
        cache_write_tokens: number(sums + 4)?,
        reasoning_tokens: number(sums + 5)?,
        quantities,
        cost: Pico::of_columns(row.get(cost)?, row.get(cost + 1)?),
    };
    Ok(Line { window, tenant: tenant.clone(), combination, amounts })
}

/// Replaces the rows of one window and tenant. Rows of the same combination become one.
pub(crate) fn replace_window(
    tx: &Transaction<'_>,
    table: Table,
    (window, tenant): (Timestamp, &TenantId),
    lines: &[Line],
) -> Result<(), LedgerError> {
    let sql = format!("DELETE FROM {} WHERE window_start = ?1 AND tenant = ?2", table.name());
    tx.prepare_cached(&sql)?.execute(params![window.as_millis(), tenant.as_str()])?;
    let mut merged: BTreeMap<&Combination, Amounts> = BTreeMap::new();
    for line in lines {
        merged.entry(&line.combination).or_default().add(&line.amounts);
    }
    for (combination, amounts) in merged {
        let line = Line { window, tenant: tenant.clone(), combination: combination.clone(), amounts };
        tx.insert_rows(&table.sql().into, &table.sql().conflict, &[row(table, &line, combination)?])?;
    }
    Ok(())
}
