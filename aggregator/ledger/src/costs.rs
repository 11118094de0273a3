//! Rows of the table `cost`: what a tenant's requests cost in a window, for ever.
use std::collections::BTreeMap;
use std::sync::LazyLock;

use weir_contract::{TenantId, Timestamp};
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{Row, Transaction, Values, params};

use super::{LedgerError, signed, totals};
use crate::amount::{Currency, PICO, Pico};
use crate::cost::{Kind, KindSet};
use crate::line::{Line, Marks};
use crate::view::cost::CostSums;

/// Columns of counts, in the order of [`counts`].
pub(crate) const COUNTS: [&str; 12] = [
    "requests",
    "failed_requests",
    "retried_requests",
    "estimated_requests",
    "unpriced_requests",
    "own_key_requests",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "unpriced_tokens",
];
/// Columns of amounts, in the order of [`amounts`]; each is two, `…_units` and `…_pico`.
pub(crate) const AMOUNTS: [&str; 4] = ["cost", "failed", "retried", "estimated"];

fn counts(sums: &CostSums) -> [u64; COUNTS.len()] {
    [
        sums.requests,
        sums.failed_requests,
        sums.retried_requests,
        sums.estimated_requests,
        sums.unpriced_requests,
        sums.own_key_requests,
        sums.input_tokens,
        sums.output_tokens,
        sums.cache_read_tokens,
        sums.cache_write_tokens,
        sums.reasoning_tokens,
        sums.unpriced_tokens,
    ]
}

fn amounts(sums: &CostSums) -> [Pico; AMOUNTS.len()] {
    [sums.cost, sums.failed_cost, sums.retried_cost, sums.estimated_cost]
}

/// How many sums a row has: counts, then amounts.
pub(crate) const SUMS: usize = COUNTS.len() + AMOUNTS.len();
/// Counts, then amounts in trillionths, with a sign: sums that can be taken off one another.
pub(crate) type Parts = [i128; SUMS];

/// The parts of sums.
pub(crate) fn parts(sums: &CostSums) -> Parts {
    let mut parts = [0; SUMS];
    let (of_counts, of_amounts) = parts.split_at_mut(COUNTS.len());
    of_counts.iter_mut().zip(counts(sums)).for_each(|(part, count)| *part = count.into());
    of_amounts.iter_mut().zip(amounts(sums)).for_each(|(part, amount)| *part = amount.0);
    parts
}

/// The sums of parts.
pub(crate) fn of_parts(parts: &Parts) -> CostSums {
    let count = |number: usize| u64::try_from(parts[number]).unwrap_or(0);
    let amount = |number: usize| Pico(parts[COUNTS.len() + number]);
    CostSums {
        requests: count(0),
        failed_requests: count(1),
        retried_requests: count(2),
        estimated_requests: count(3),
        unpriced_requests: count(4),
        own_key_requests: count(5),
        input_tokens: count(6),
        output_tokens: count(7),
        cache_read_tokens: count(8),
        cache_write_tokens: count(9),
        reasoning_tokens: count(10),
        unpriced_tokens: count(11),
        cost: amount(0),
        failed_cost: amount(1),
        retried_cost: amount(2),
        estimated_cost: amount(3),
    }
}

/// Sums by window, tenant and currency. Those of requests without any price have none.
pub(crate) type Costs = BTreeMap<(Timestamp, TenantId, Option<Currency>), CostSums>;

/// The costs of some rows of the analysis.
pub(crate) fn of_lines<'l>(lines: impl Iterator<Item = &'l Line>) -> Costs {
    let mut costs = Costs::new();
    for line in lines {
        let Some(sums) = line.sums() else { continue };
        let key = (line.window, line.tenant.clone(), line.combination.currency);
        costs.entry(key).or_default().add(&sums);
    }
    costs
}

/// The columns that [`write()`] fills, and what it does to a row that is there.
static INTO: LazyLock<(String, String)> = LazyLock::new(|| {
    let units: Vec<String> =
        AMOUNTS.iter().flat_map(|amount| [format!("{amount}_units"), format!("{amount}_pico")]).collect();
    let mut set: Vec<String> =
        COUNTS.iter().map(|count| format!("{count} = cost.{count} + excluded.{count}")).collect();
    set.extend(AMOUNTS.iter().map(|amount| {
        format!(
            "{amount}_units = cost.{amount}_units + excluded.{amount}_units + (cost.{amount}_pico + excluded.{amount}_pico) / {PICO},
             {amount}_pico = (cost.{amount}_pico + excluded.{amount}_pico) % {PICO}"
        )
    }));
    (
        format!("cost(window_start, tenant, currency, {}, {})", COUNTS.join(", "), units.join(", ")),
        format!("ON CONFLICT (window_start, tenant, currency) DO UPDATE SET {}", set.join(", ")),
    )
});

/// Adds costs to the table.
pub(crate) fn write(tx: &Transaction<'_>, costs: &Costs) -> Result<(), LedgerError> {
    let mut rows = Vec::with_capacity(costs.len());
    for ((window, tenant, currency), sums) in costs {
        let texts = [tenant.as_str(), currency.as_ref().map_or("", Currency::as_str)];
        let mut row: Values<'_> = vec![signed(window.as_millis())?.into()];
        row.extend(texts.map(|text| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))));
        for count in counts(sums) {
            row.push(signed(count)?.into());
        }
        for amount in amounts(sums) {
            let (units, pico) = amount.columns();
            row.extend([units.into(), pico.into()]);
        }
        rows.push(row);
    }
    Ok(tx.insert_rows(&INTO.0, &INTO.1, &rows)?)
}

/// Drops the costs of one window and tenant.
pub(crate) fn remove(tx: &Transaction<'_>, window: Timestamp, tenant: &TenantId) -> Result<(), LedgerError> {
    let sql = "DELETE FROM cost WHERE window_start = ?1 AND tenant = ?2";
    tx.prepare_cached(sql)?.execute(params![window.as_millis(), tenant.as_str()])?;
    Ok(())
}

/// Adds the units without a price to the running totals, by kind; with `sign` -1 takes them from there.
pub(crate) fn note_unpriced<'l>(
    tx: &Transaction<'_>,
    lines: impl Iterator<Item = &'l Line>,
    sign: i64,
) -> Result<(), LedgerError> {
    let mut units: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines.filter(|line| line.combination.unpriced != 0) {
        let lacking = KindSet::of_bits(line.combination.unpriced);
        for (kind, quantity) in line.amounts.quantities.each().filter(|(kind, _)| lacking.contains(*kind)) {
            *units.entry(kind.as_str()).or_default() += quantity;
        }
    }
    units.into_iter().try_for_each(|(kind, quantity)| totals::add(tx, "unpriced", kind, sign * signed(quantity)?))
}

pub(crate) fn currency(row: &Row<'_>, column: usize) -> Result<Option<Currency>, weir_database::Error> {
    Ok(Currency::parse(row.get_ref(column)?.as_str()?))
}

/// The sum of an amount, where `chosen` is 1, in three columns, none of which overflows.
pub(crate) fn exact(amount: &str, chosen: &str) -> String {
    format!(
        "sum({amount}_units * ({chosen})), sum({amount}_pico / 1000000 * ({chosen})), sum({amount}_pico % 1000000 * ({chosen}))"
    )
}

pub(crate) fn amount(row: &Row<'_>, first: usize) -> Result<Pico, weir_database::Error> {
    let part = |number: usize| row.get::<_, i64>(first + number).map(i128::from);
    Ok(Pico(part(0)? * crate::amount::PICO + part(1)? * 1_000_000 + part(2)?))
}

/// [`CostSums`] from the table `cost`.
pub(crate) fn of_cost() -> String {
    let counts = COUNTS.iter().map(|count| format!("sum({count})"));
    counts.chain(AMOUNTS.iter().map(|amount| exact(amount, "1"))).collect::<Vec<_>>().join(", ")
}

/// [`CostSums`] from the table `analysis`.
pub(crate) fn of_analysis() -> String {
    let marked = |mark: Marks| format!("(marks & {0}) / {0}", mark.0);
    let requests = |chosen: &str| format!("sum(requests * ({chosen}))");
    let tokens = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"];
    let mut columns = vec![
        requests("1"),
        requests(&marked(Marks::FAILED)),
        requests(&marked(Marks::RETRIED)),
        requests(&marked(Marks::ESTIMATED)),
        requests("CASE WHEN unpriced <> 0 THEN 1 ELSE 0 END"),
        requests(&marked(Marks::OWN_KEY)),
    ];
    columns.extend(tokens.iter().map(|column| format!("sum({column})")));
    columns.push(format!("sum({})", unpriced_tokens()));
    columns.push(exact("cost", "1"));
    columns.extend([Marks::FAILED, Marks::RETRIED, Marks::ESTIMATED].map(|mark| exact("cost", &marked(mark))));
    columns.join(", ")
}

/// The columns of a single row of `analysis` from which [`parts_of_row`] makes its sums.
pub(crate) fn of_analysis_row() -> String {
    format!(
        "requests, marks, unpriced <> 0, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
         {}, cost_units, cost_pico",
        unpriced_tokens()
    )
}

/// How many columns [`of_analysis_row`] has.
pub(crate) const ROW_COLUMNS: usize = 11;

/// The parts of a single row of `analysis`.
pub(crate) fn parts_of_row(row: &Row<'_>, first: usize) -> Result<Parts, weir_database::Error> {
    let number = |column: usize| row.get::<_, i64>(first + column).map(i128::from);
    let marks = Marks(row.get(first + 1)?);
    let of = |chosen: bool, amount: i128| if chosen { amount } else { 0 };
    let (requests, cost) = (number(0)?, number(9)? * PICO + number(10)?);
    let marked = [Marks::FAILED, Marks::RETRIED, Marks::ESTIMATED].map(|mark| marks.has(mark));
    let [failed, retried, estimated] = marked.map(|marked| of(marked, requests));
    let [failed_cost, retried_cost, estimated_cost] = marked.map(|marked| of(marked, cost));
    Ok([
        requests,
        failed,
        retried,
        estimated,
        of(number(2)? != 0, requests),
        of(marks.has(Marks::OWN_KEY), requests),
        number(3)?,
        number(4)?,
        number(5)?,
        number(6)?,
        number(7)?,
        number(8)?,
        cost,
        failed_cost,
        retried_cost,
        estimated_cost,
    ])
}

/// Tokens of a row of `analysis` without a price. Hardly any row lacks one.
fn unpriced_tokens() -> String {
    let kinds: Vec<String> = Kind::ALL
        .iter()
        .filter(|kind| kind.is_token())
        .map(|kind| format!("of_{} * (unpriced >> {} & 1)", kind.as_str(), *kind as u32))
        .collect();
    format!("CASE WHEN unpriced = 0 THEN 0 ELSE {} END", kinds.join(" + "))
}

pub(crate) fn sums_of(row: &Row<'_>, first: usize) -> Result<CostSums, weir_database::Error> {
    let count = |number: usize| row.get::<_, u64>(first + number);
    let cost = |number: usize| amount(row, first + COUNTS.len() + 3 * number);
    Ok(CostSums {
        requests: count(0)?,
        failed_requests: count(1)?,
        retried_requests: count(2)?,
        estimated_requests: count(3)?,
        unpriced_requests: count(4)?,
        own_key_requests: count(5)?,
        input_tokens: count(6)?,
        output_tokens: count(7)?,
        cache_read_tokens: count(8)?,
        cache_write_tokens: count(9)?,
        reasoning_tokens: count(10)?,
        unpriced_tokens: count(11)?,
        cost: cost(0)?,
        failed_cost: cost(1)?,
        retried_cost: cost(2)?,
        estimated_cost: cost(3)?,
    })
}
