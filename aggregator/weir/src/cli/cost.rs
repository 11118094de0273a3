//! `weir cost`: what requests cost.
use anyhow::Context;
use clap::{Args, ValueEnum};
use weir_contract::Timestamp;
use weir_ledger::analysis::DIMENSIONS;
use weir_ledger::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow, Step};

use super::access::{self, Access};
use super::explain::as_csv::safe;
use super::render::{json, say, table};
use super::show::caught_up;
use super::{EXIT_DONE, parse_time};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// From this moment on (RFC 3339, UTC), or from the start of a month, day or hour: 2026-11.
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this moment (RFC 3339, UTC), or before the start of a month, day or hour: 2026-12.
    #[arg(long, value_parser = parse_time)]
    to: Option<Timestamp>,
    /// By model, class, route, feature, prompt_version, environment, credential, plan (one or more, with commas); these sums are
    /// kept for 90 days.
    #[arg(long, value_name = "DIMENSIONS", conflicts_with = "models")]
    by: Option<String>,
    /// A row for each step of time.
    #[arg(long, value_enum, default_value = "total")]
    step: StepArg,
    /// By provider, model and tariff, with units by kind, and with what has no price.
    #[arg(long)]
    models: bool,
    /// Print CSV.
    #[arg(long, conflicts_with = "models")]
    csv: bool,
}

/// Steps of time.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StepArg {
    Total,
    Hour,
    Day,
    Month,
}

impl StepArg {
    fn step(self) -> Step {
        match self {
            StepArg::Total => Step::Total,
            StepArg::Hour => Step::Hour,
            StepArg::Day => Step::Day,
            StepArg::Month => Step::Month,
        }
    }
}

pub(super) fn run(config: &Config, args: CostArgs, as_json: bool) -> anyhow::Result<u8> {
    let CostArgs { tenant, from, to, by, step, models, csv } = args;
    if models {
        return of_models(config, &PricedQuery { tenant, from, to, step: step.step(), by_tenant: false }, as_json);
    }
    let query = CostQuery { tenant, from, to, step: step.step(), by };
    let rows = rows(config, &query)?;
    if as_json {
        json(&rows)?;
    } else if csv {
        write_csv(&query, &rows)?;
    } else {
        print(&query, &rows);
    }
    Ok(EXIT_DONE)
}

fn rows(config: &Config, query: &CostQuery) -> anyhow::Result<Vec<CostRow>> {
    access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/cost", query).await?,
            Access::Here(store) => caught_up(&store)
                .await?
                .cost(query)?
                .with_context(|| format!("--by takes some of {}, with commas between them", DIMENSIONS.join(", ")))?,
        })
    })
}

/// The columns of a query's keys.
fn keys(query: &CostQuery) -> Vec<&str> {
    let mut keys = vec!["tenant"];
    if query.step != Step::Total {
        keys.insert(0, "start");
    }
    keys.extend(query.by.iter().flat_map(|by| by.split(',').map(str::trim)));
    keys
}

fn key_values(row: &CostRow) -> Vec<String> {
    let start = row.start.iter().map(ToString::to_string);
    start.chain([row.tenant.clone()]).chain(row.values.iter().cloned()).collect()
}

fn print(query: &CostQuery, rows: &[CostRow]) {
    let numbers = [
        "currency",
        "#cost",
        "#failed",
        "#retried",
        "#estimated",
        "#requests",
        "#input tokens",
        "#output tokens",
        "#unpriced tokens",
    ];
    let columns: Vec<&str> = keys(query).into_iter().chain(numbers).collect();
    let mut shown = table(&columns);
    for row in rows {
        let sums = &row.sums;
        let amounts =
            [sums.cost, sums.failed_cost, sums.retried_cost, sums.estimated_cost].map(|amount| amount.to_string());
        let counts =
            [sums.requests, sums.input_tokens, sums.output_tokens, sums.unpriced_tokens].map(|count| count.to_string());
        let currency = row.currency.map_or_else(|| "(none)".to_owned(), |currency| currency.to_string());
        shown.add_row(key_values(row).into_iter().chain([currency]).chain(amounts).chain(counts));
    }
    say!("{shown}");
    let lacking: u64 = rows.iter().map(|row| row.sums.unpriced_tokens).sum();
    if lacking > 0 {
        say!("{lacking} tokens have no price, and no sum includes them: see `weir cost --models`");
    }
}

fn write_csv(query: &CostQuery, rows: &[CostRow]) -> anyhow::Result<()> {
    let numbers = [
        "currency",
        "cost",
        "failed_cost",
        "retried_cost",
        "estimated_cost",
        "requests",
        "failed_requests",
        "retried_requests",
        "estimated_requests",
        "unpriced_requests",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "unpriced_tokens",
    ];
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(keys(query).into_iter().chain(numbers))?;
    for row in rows {
        let s = &row.sums;
        let amounts = [s.cost, s.failed_cost, s.retried_cost, s.estimated_cost].map(|amount| amount.to_string());
        let counts = [
            s.requests,
            s.failed_requests,
            s.retried_requests,
            s.estimated_requests,
            s.unpriced_requests,
            s.input_tokens,
            s.output_tokens,
            s.cache_read_tokens,
            s.cache_write_tokens,
            s.reasoning_tokens,
            s.unpriced_tokens,
        ];
        let currency = row.currency.map_or_else(String::new, |currency| currency.to_string());
        let texts = key_values(row).into_iter().map(|text| safe(&text)).chain([currency]);
        out.write_record(texts.chain(amounts).chain(counts.map(|count| count.to_string())))?;
    }
    out.flush()?;
    Ok(())
}

fn of_models(config: &Config, query: &PricedQuery, as_json: bool) -> anyhow::Result<u8> {
    let rows: Vec<PricedRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/cost/models", query).await?,
            Access::Here(store) => caught_up(&store).await?.priced(query)?,
        })
    })?;
    if as_json {
        json(&rows)?;
        return Ok(EXIT_DONE);
    }
    let mut shown =
        table(&["start", "provider", "model", "tariff", "#requests", "units", "currency", "#cost", "without a price"]);
    let units = |units: &std::collections::BTreeMap<String, u64>| {
        units.iter().map(|(kind, quantity)| format!("{kind} {quantity}")).collect::<Vec<_>>().join(", ")
    };
    for row in &rows {
        let over = if row.over > 0 { format!("over {}", row.over) } else { String::new() };
        shown.add_row([
            row.start.map_or_else(String::new, |start| start.to_string()),
            row.provider.clone(),
            row.model.clone(),
            [row.tier.as_str(), &over].join(" ").trim().to_owned(),
            row.requests.to_string(),
            units(&row.quantities),
            row.currency.map_or_else(String::new, |currency| currency.to_string()),
            row.cost.to_string(),
            units(&row.unpriced),
        ]);
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}
