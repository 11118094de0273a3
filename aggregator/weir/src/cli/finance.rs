//! `weir margin`, `bill`, `review`, `price compare`, `whatif`, `crossover`, `lifetime`.
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_money::compare::CompareView;
use weir_money::crossover::{self, CrossoverView};
use weir_money::document::Form;
use weir_money::lifetime::LifetimeRow;
use weir_money::margin::{Level, MarginView, Unpriced};
use weir_money::review::{self, ReviewView};
use weir_money::whatif::{Outcome, WhatIfView};

use super::access::{self, Access};
use super::args::margin::{FinanceCommand, PriceCommand};
use super::explain::as_csv::safe;
use super::render::{json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::finance::bill::BillView;
use crate::finance::query::{BillQuery, CompareQuery, CrossoverQuery, MarginQuery, ReviewQuery, WhatIfQuery};
use crate::finance::sheet::{self, Sheet};
use crate::finance::{Finance, FinanceError};
use crate::store::Store;

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Table,
    Json,
    Csv,
}

impl Shown {
    pub(super) fn of(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (_, true) => Shown::Csv,
            (true, false) => Shown::Json,
            (false, false) => Shown::Table,
        }
    }
}

/// Runs a command about money.
pub(super) fn run(config: &Config, command: FinanceCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        FinanceCommand::Margin(args) => margin(config, &args.query(), Shown::of(json, args.csv)),
        FinanceCommand::Bill(args) => bill(config, &args.query(), Shown::of(json, args.csv)),
        FinanceCommand::Review(args) => review(config, &args.query(), args.format.into(), Shown::of(json, args.csv)),
        FinanceCommand::Price(PriceCommand::Compare(args)) => compare(config, &args.query(), Shown::of(json, args.csv)),
        FinanceCommand::Whatif(args) => whatif(config, &args.query(), Shown::of(json, args.csv)),
        FinanceCommand::Crossover(args) => {
            crossover(config, &args.query(), args.svg.as_deref(), Shown::of(json, args.csv))
        }
        FinanceCommand::Lifetime(args) => lifetime(config, Shown::of(json, args.csv)),
    }
}

/// Asks the server, or the files if none runs.
pub(super) fn ask<Q: Serialize, T: DeserializeOwned>(
    config: &Config,
    path: &str,
    query: &Q,
    answer: impl FnOnce(&mut Finance, &Q) -> Result<T, FinanceError>,
) -> anyhow::Result<T> {
    access::block_on(async {
        match access::open(config)? {
            Access::Server(server) => server.get(path, query).await,
            Access::Here(store) => {
                store.catch_up().await?;
                Ok(answer(&mut here(config, &store)?, query)?)
            }
        }
    })
}

/// Everything that answers rest on, from the files.
pub(super) fn here(config: &Config, store: &Store) -> anyhow::Result<Finance> {
    let tenants = config.directory(access::clock().now())?.current();
    let (reader, finances) = (store.reader()?, Arc::new(config.finances.clone()));
    let other_costs = config.other_costs.clone();
    let (prices, now) = (config.prices.book()?.map(Arc::new), access::clock().now());
    Ok(Finance { reader, finances, other_costs, tenants, prices, now })
}

/// Shows a sheet in the form that is asked for; JSON shows the whole view.
pub(super) fn show(view: &impl Serialize, sheet: &Sheet, shown: Shown) -> anyhow::Result<()> {
    match shown {
        Shown::Json => json(view)?,
        Shown::Csv => print_csv(sheet)?,
        Shown::Table => {
            let mut shown = table(&sheet.columns);
            sheet.rows.iter().for_each(|row| shown.add_row(row));
            say!("{shown}");
        }
    }
    Ok(())
}

fn print_csv(sheet: &Sheet) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(sheet.columns.iter().map(|column| column.trim_start_matches('#')))?;
    for row in &sheet.rows {
        out.write_record(row.iter().zip(&sheet.columns).map(|(cell, column)| cell_of(cell, column)))?;
    }
    Ok(out.flush()?)
}

/// A cell that no spreadsheet takes for a formula. Numbers may be negative.
fn cell_of(cell: &str, column: &str) -> String {
    if column.starts_with('#') { cell.to_owned() } else { safe(cell) }
}

/// Names what the sums of a table lack.
fn say_unpriced(unpriced: Unpriced, shown: Shown) {
    if let (Some(words), Shown::Table) = (unpriced.words(), shown) {
        say!("note: {words}: see `weir cost --models`");
    }
}

fn margin(config: &Config, query: &MarginQuery, shown: Shown) -> anyhow::Result<u8> {
    let view: MarginView = ask(config, "/v1/margin", query, Finance::margin)?;
    show(&view, &sheet::margin(&view), shown)?;
    if shown == Shown::Table {
        for (model, tokens) in &view.unpriced {
            let requests = view.unpriced_requests.get(model).copied().unwrap_or(0);
            say!("no price for {model}: {tokens} tokens, {requests} requests");
        }
        view.notes.iter().for_each(|note| say!("note: {note}"));
        if view.left_out > 0 {
            say!("note: {} rows are left out; ask for one tenant", view.left_out);
        }
    }
    let negative = view.rows.iter().any(|row| row.level == Level::Negative);
    Ok(if negative { EXIT_ATTENTION } else { EXIT_DONE })
}

fn bill(config: &Config, query: &BillQuery, shown: Shown) -> anyhow::Result<u8> {
    let view: BillView = ask(config, "/v1/bill", query, Finance::bill)?;
    if shown == Shown::Table {
        let state = if view.closed { "over" } else { "so far" };
        say!("{} from {} to {}, {state}", view.tenant, view.from, view.to);
        say!("single events: weir events list --tenant {} --from {} --to {}", view.tenant, view.from, view.to);
    }
    show(&view, &sheet::bill(&view), shown)?;
    if shown == Shown::Table {
        view.notes.iter().for_each(|note| say!("note: {note}"));
    }
    say_unpriced(view.unpriced, shown);
    Ok(EXIT_DONE)
}

fn compare(config: &Config, query: &CompareQuery, shown: Shown) -> anyhow::Result<u8> {
    let view: CompareView = ask(config, "/v1/prices/compare", query, Finance::compare)?;
    show(&view, &sheet::compare(&view), shown)?;
    let foreign: Vec<&str> =
        view.plans.iter().filter(|row| row.other_currencies).map(|row| row.plan.as_str()).collect();
    if !foreign.is_empty() && shown == Shown::Table {
        say!("note: the tenant has cost in other currencies, which the margin lacks under {}", foreign.join(", "));
    }
    say_unpriced(view.unpriced, shown);
    Ok(EXIT_DONE)
}

fn lifetime(config: &Config, shown: Shown) -> anyhow::Result<u8> {
    let view: Vec<LifetimeRow> = ask(config, "/v1/lifetime", &(), |finance, ()| finance.lifetime())?;
    show(&view, &sheet::lifetime(&view), shown)?;
    say_unpriced(view.iter().map(|row| row.unpriced).sum(), shown);
    Ok(if view.iter().any(|row| row.below) { EXIT_ATTENTION } else { EXIT_DONE })
}

fn whatif(config: &Config, query: &WhatIfQuery, shown: Shown) -> anyhow::Result<u8> {
    let view: WhatIfView = ask(config, "/v1/whatif", query, Finance::whatif)?;
    if shown == Shown::Table {
        for (name, Outcome { revenue, cost, other_cost, margin, margin_percent, level }) in
            [("measured", &view.before), ("then", &view.after)]
        {
            let percent =
                margin_percent.map(|percent| format!(" ({percent} %, {})", level.as_str())).unwrap_or_default();
            say!(
                "{name}: revenue {revenue}, cost {cost}, other cost {other_cost}, margin {margin} {}{percent}",
                view.currency
            );
        }
        if view.capped > 0 {
            say!("the cap cuts {} months of tenants", view.capped);
        }
    }
    show(&view, &sheet::whatif(&view), shown)?;
    say_unpriced(view.unpriced, shown);
    if shown == Shown::Table {
        view.assumptions.iter().for_each(|assumption| say!("assumed: {assumption}"));
    }
    Ok(EXIT_DONE)
}

fn crossover(config: &Config, query: &CrossoverQuery, svg: Option<&Path>, shown: Shown) -> anyhow::Result<u8> {
    let view: CrossoverView = ask(config, "/v1/crossover", query, Finance::crossover)?;
    if let Some(path) = svg {
        std::fs::write(path, crossover::draw(&view)).with_context(|| path.display().to_string())?;
    }
    let rows = if shown == Shown::Csv { sheet::curve(&view) } else { sheet::crossover(&view) };
    show(&view, &rows, shown)?;
    say_unpriced(view.unpriced, shown);
    if shown == Shown::Table {
        match (view.break_even_requests, view.break_even_tokens) {
            (Some(requests), Some(tokens)) => say!("break-even: {requests} requests, {tokens} tokens per month"),
            _ => say!("no break-even: a replica costs more than the API charges for what it carries"),
        }
    }
    Ok(EXIT_DONE)
}

fn review(config: &Config, query: &ReviewQuery, form: Form, shown: Shown) -> anyhow::Result<u8> {
    let view: ReviewView = ask(config, "/v1/review", query, Finance::review)?;
    match shown {
        Shown::Table => say!("{}", review::document(&view).render(form).trim_end()),
        _ => show(&view, &sheet::review(&view), shown)?,
    }
    Ok(EXIT_DONE)
}
