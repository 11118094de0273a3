//! A tenant's own page: what it has used and has left, its bill so far, its keys. The tenant is the session's: no address names one,
//! and nothing that the operator pays or plans is shown.
mod files;

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Chart, Href, Page, Point, Section, Table, Tone};
use weir_ledger::LedgerError;
use weir_ledger::amount::{Currency, Pico};
use weir_ledger::query::LedgerReader;
use weir_ledger::values::ValueQuery;
use weir_ledger::view::cost::{CostQuery, CostRow, CostSums, Step};
use weir_steer::view::BudgetView;

use super::asked::Ask;
use super::guard::Member;
use super::words::{done, forecast, share, stage};
use super::{UiError, addresses, keys as key_pages, span, tenant};
use crate::budgets::BudgetQuery;
use crate::finance::bill::BillView;
use crate::finance::query::BillQuery;
use crate::finance::{Finance, FinanceError};
use crate::server::error::ApiError;
use crate::server::finance::with_finance;
use crate::server::{App, budgets, keys};

const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// What a suspended tenant's page says.
const SUSPENDED: &str = "You are suspended: requests with your keys are answered 403, and new keys change nothing about that, until the \
     operator of this service lets you in again.";
/// Values of a dimension that are shown.
const VALUES_SHOWN: usize = 100;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/own", get(get_page))
        .route("/own/{file}", get(files::get_file))
        .route("/own/alert-addresses", post(addresses::post_add))
        .route("/own/alert-addresses/{number}/prove", post(addresses::post_prove))
        .route("/own/alert-addresses/{number}/remove", post(addresses::post_remove))
        .route("/own/keys", post(key_pages::post_own_create))
        .route("/own/keys/{key}/rotate", post(key_pages::post_own_rotate))
        .route("/own/keys/{key}/revoke", post(key_pages::post_own_revoke))
}

/// What the ledger says of the tenant.
struct Used {
    bill: BillView,
    meters: Vec<MeterUse>,
    days: Vec<CostRow>,
    /// Usage by feature and key is kept since then.
    values_since: Timestamp,
    features: Counts,
    keys: Counts,
}

/// Units of a meter.
struct MeterUse {
    meter: String,
    /// None of a billing period that is over.
    today: Option<u64>,
    /// In the billing period.
    period: u64,
    /// Units of a billing period that cost nothing; None where the price plan has no such part.
    included: Option<u64>,
}

impl MeterUse {
    /// Included units that are left.
    fn left(&self) -> Option<u64> {
        self.included.map(|included| included.saturating_sub(self.period))
    }
}

/// Requests, input and output tokens, by a value or a day.
type Counts = BTreeMap<String, [u64; 3]>;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// A moment of the billing period; empty for the one that runs.
    at: String,
    /// Only keys after this one.
    keys_after: String,
    done: Option<String>,
}

async fn get_page(State(app): State<App>, member: Member, Ask(asked): Ask<Asked>) -> Result<Response, UiError> {
    let tenant = member.tenant().to_string();
    let (of, now) = (tenant.clone(), app.0.clock.now());
    let at = span::moment(&asked.at, now)?;
    app.0.store.catch_up_for_page().await?;
    let used = with_finance(&app, move |finance| used(finance, &of, at)).await?;
    if used.bill.closed {
        let blocks = [vec![Block::AsOf(now, None)], period(&used, now)].concat();
        return Ok(shown(&member, format!("Usage of {tenant} in an earlier billing period"), now, blocks));
    }
    let limits = budgets::list(&app, BudgetQuery { tenant: Some(tenant.clone()), stage: None }).await?;
    let mut blocks = done(asked.done.as_deref());
    if app.directory().current().is_suspended(&tenant) {
        blocks.push(Block::Notice(Tone::Bad, SUSPENDED.to_owned()));
    }
    blocks.push(Block::AsOf(now, None));
    blocks.push(span::periods(&used.bill, &Section::Own.href()));
    blocks.push(Block::Table(meters(&used, now)));
    blocks.push(Block::Table(left(&limits.budgets, &tenant, now)));
    blocks.push(Block::Chart(chart(&used.days, now)));
    blocks.extend(in_period(&used));
    match keys::list(&app, tenant.clone()).await {
        Ok(list) => {
            blocks.extend(key_pages::blocks(
                &list,
                &key_pages::Place::own(),
                &asked.keys_after,
                true,
                app.0.clock.now(),
            ));
        }
        // Keys of a tenants file are the operator's to change.
        Err(ApiError::NotConfigured(_) | ApiError::Unknown(_)) => {}
        Err(error) => return Err(error.into()),
    }
    blocks.extend(addresses::blocks(&app, &tenant).await?);
    Ok(shown(&member, format!("Usage of {tenant}"), now, blocks))
}

fn shown(member: &Member, title: String, at: Timestamp, blocks: Vec<Block>) -> Response {
    let page = Page { title, section: Section::Own, at, blocks };
    Html(page.render(member.viewer())).into_response()
}

/// What is told of a billing period that is over.
fn period(used: &Used, now: Timestamp) -> Vec<Block> {
    let first = vec![span::periods(&used.bill, &Section::Own.href()), Block::Table(meters(used, now))];
    [first, in_period(used)].concat()
}

/// Usage of the billing period by feature and key, and its bill.
fn in_period(used: &Used) -> Vec<Block> {
    let (bill, since) = (&used.bill, used.values_since);
    let mut blocks = Vec::new();
    if bill.from < since {
        let told = format!(
            "Usage by feature and key is kept since {since}: what was before is in the billed units and the bill alone."
        );
        blocks.push(Block::Paragraph(told));
    }
    if since < bill.to {
        let tables = [by("feature", &used.features, bill), by("key", &used.keys, bill)];
        blocks.extend(tables.map(Block::Table));
    }
    blocks.extend(tenant::bill(&used.bill, false));
    if !used.bill.bills.is_empty() {
        let csv = ("Download as CSV".to_owned(), file("bill.csv", &used.bill), false);
        blocks.push(Block::Tabs("The bill".to_owned(), vec![csv]));
    }
    blocks
}

fn today(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() / DAY_MS * DAY_MS)
}

fn used(finance: &mut Finance, tenant: &str, at: Option<Timestamp>) -> Result<Used, FinanceError> {
    let bill = bill(finance, tenant, at)?;
    let (meters, days) = (meters_used(finance, tenant, &bill)?, days(finance, tenant, None)?);
    let span = so_far(&bill, finance.now);
    let features = values(&mut finance.reader, tenant, "feature", span)?;
    let keys = values(&mut finance.reader, tenant, "credential", span)?;
    Ok(Used { meters, days, values_since: finance.reader.values_since()?, features, keys, bill })
}

/// The bill of a moment's billing period; of the current one so far.
fn bill(finance: &mut Finance, tenant: &str, at: Option<Timestamp>) -> Result<BillView, FinanceError> {
    finance.bill(&BillQuery { tenant: tenant.to_owned(), at })
}

/// A billing period, as far as it has gone.
fn so_far(bill: &BillView, now: Timestamp) -> (Timestamp, Timestamp) {
    (bill.from, bill.to.min(now))
}

/// Units by meter, today and in the billing period.
fn meters_used(finance: &mut Finance, tenant: &str, bill: &BillView) -> Result<Vec<MeterUse>, FinanceError> {
    let (now, since) = (finance.now, today(finance.now));
    let names: Vec<String> = finance.reader.totals()?.meters.into_iter().map(|meter| meter.meter).collect();
    let asked: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut units = |(from, to)| -> Result<_, LedgerError> {
        Ok(finance.reader.units(Some(tenant), &asked, from, to)?.remove(tenant).unwrap_or_default())
    };
    let (of_today, of_period) = (units((since, now))?, units(so_far(bill, now))?);
    // What a price includes is that of today's price.
    let included = if bill.closed { BTreeMap::default() } else { finance.included(tenant) };
    let used = |meter: String| MeterUse {
        today: (!bill.closed).then(|| of_today.get(&meter)),
        period: of_period.get(&meter),
        included: included.get(&meter).copied(),
        meter,
    };
    Ok(names.into_iter().map(used).collect())
}

/// Requests, input and output tokens by the values of a dimension.
fn values(
    reader: &mut LedgerReader,
    tenant: &str,
    by: &str,
    (from, to): (Timestamp, Timestamp),
) -> Result<Counts, LedgerError> {
    let mut counts = Counts::new();
    let query = ValueQuery { tenant: Some(tenant), by: &[by], from, to, by_tenant: true };
    reader.value_costs(&query, &mut |_, costs| {
        for cost in costs {
            add(&mut counts, cost.value, &cost.sums);
        }
    })?;
    Ok(counts)
}

fn add(counts: &mut Counts, of: String, sums: &CostSums) {
    let of = counts.entry(of).or_default();
    for (sum, part) in of.iter_mut().zip([sums.requests, sums.input_tokens, sums.output_tokens]) {
        *sum += part;
    }
}

/// Requests and tokens by day: of the last days, or of the billing period that `at` lies in. What they cost the operator is not the
/// tenant's to see.
fn days(finance: &mut Finance, id: &str, at: Option<Timestamp>) -> Result<Vec<CostRow>, FinanceError> {
    let (from, to) = match at {
        Some(_) => {
            let (from, to) = so_far(&bill(finance, id, at)?, finance.now);
            (Some(from), Some(to))
        }
        None => (tenant::last_days(finance.now).first().copied(), None),
    };
    let query = CostQuery { tenant: Some(id.to_owned()), from, to, step: Step::Day, ..CostQuery::default() };
    finance.cost(&query)
}

fn meters(used: &Used, now: Timestamp) -> Table {
    let span = (used.bill.from, used.bill.to);
    let rows = used.meters.iter().map(|of| {
        let end = forecast(i128::from(of.period), span, now).map_or(Cell::Missing, Cell::Number);
        let (included, left) = (Cell::maybe(of.included), Cell::maybe(of.left()));
        vec![Cell::text(&of.meter), Cell::maybe(of.today), of.period.into(), end, included, left]
    });
    let columns = [
        "Meter",
        "Today (UTC)",
        "This billing period",
        "At its end, if it goes on so",
        "Included in the price",
        "Left of that",
    ];
    let mut table = if used.bill.closed {
        let rows = used.meters.iter().map(|of| vec![Cell::text(&of.meter), of.period.into()]);
        Table::new("Billed units", &["Meter", "In the billing period"], "Nothing was measured.").rows(rows)
    } else {
        Table::new("Billed units", &columns, "Nothing is measured yet.").rows(rows)
    };
    table.csv = Some(file("units.csv", &used.bill));
    table
}

/// A file of the tenant's own, of a bill's period.
fn file(name: &str, bill: &BillView) -> Href {
    span::of_period(Href::to(&["own", name]), bill)
}

/// The tenant's own budgets. Of one in money, which may be the operator's cost, only the share is told; of one that tenants share,
/// nothing.
fn left(budgets: &[BudgetView], tenant: &str, now: Timestamp) -> Table {
    let own = budgets.iter().filter(|budget| budget.subject == tenant);
    let rows = own.map(|budget| {
        let counted = |amount| {
            if Currency::parse(&budget.unit).is_some() { Cell::Missing } else { Cell::amount(amount, &budget.unit) }
        };
        let (used, left) = (budget.use_of(), (budget.amount - budget.used).max(Pico::ZERO));
        let paused = budget.raise.as_ref().filter(|_| used.paused);
        vec![
            Cell::text(&budget.budget),
            counted(budget.used),
            counted(left),
            share(used),
            share_at_end(budget, now),
            stage(used),
            Cell::text(match (used.observed, used.paused) {
                (true, _) => "no: it is only observed",
                (_, true) => "not while it is paused",
                (false, false) => "yes",
            }),
            Cell::maybe(paused.map(|raise| raise.until)),
            Cell::maybe(budget.period_end),
        ]
    });
    let columns = [
        "Budget",
        "Used",
        "Left",
        "Share used",
        "Share at its end, if it goes on so",
        "Stage",
        "Binds you",
        "Paused until",
        "Begins anew",
    ];
    Table::new("Budgets", &columns, "No budget bounds your usage.").rows(rows)
}

/// The share of a budget that will be used at the end of its period.
fn share_at_end(budget: &BudgetView, now: Timestamp) -> Cell {
    let ends = budget.period_end.map(|end| (budget.period_start, end));
    let share = ends.and_then(|span| forecast(i128::from(budget.used_permille), span, now));
    share.map_or(Cell::Missing, |permille| {
        let permille = u32::try_from(permille).unwrap_or(u32::MAX);
        let tone = if permille >= 1_000 { Tone::Bad } else { Tone::Plain };
        Cell::Meter { permille, tone }
    })
}

fn chart(days: &[CostRow], now: Timestamp) -> Chart {
    let mut requests = requests_by_day(days);
    if !requests.is_empty() {
        for day in tenant::last_days(now) {
            requests.entry(day_of(day)).or_default();
        }
    }
    Chart {
        caption: "Requests by day".to_owned(),
        of: "Day (UTC)".to_owned(),
        unit: "Requests".to_owned(),
        points: requests
            .into_iter()
            .map(|(day, sums)| Point { label: day, value: sums[0].into(), exact: Cell::Number(sums[0].into()) })
            .collect(),
        empty: "There were no requests in the last 30 days.".to_owned(),
        csv: Some(Href::to(&["own", "usage.csv"])),
    }
}

/// Requests, input and output tokens by day, over all currencies.
fn requests_by_day(days: &[CostRow]) -> Counts {
    let mut counts = Counts::new();
    for row in days {
        add(&mut counts, day_of(row.start.unwrap_or_default()), &row.sums);
    }
    counts
}

/// A moment's day.
fn day_of(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn by(what: &str, counts: &Counts, bill: &BillView) -> Table {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, [requests, ..])| std::cmp::Reverse(*requests));
    let rows = counts.into_iter().map(|(name, [requests, input, output])| {
        let name = if name.is_empty() { "(none)" } else { name };
        vec![Cell::text(name), (*requests).into(), (*input).into(), (*output).into()]
    });
    let (heading, empty) = match bill.closed {
        true => (format!("The billing period by {what}"), "Nothing was used."),
        false => (format!("This billing period by {what}"), "Nothing was used yet."),
    };
    let columns = [what, "Requests", "Input tokens", "Output tokens"];
    let mut table = Table::new(&heading, &columns, empty).first(VALUES_SHOWN, rows);
    table.csv = Some(file(&format!("{what}s.csv"), bill));
    table
}
