//! `weir cost`: what requests cost.
use std::collections::BTreeMap;

use weir_ledger::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow, Step};

use super::EXIT_DONE;
use super::args::money::CostArgs;
use super::explain::as_csv::safe;
use super::finance::{Shown, ask, show};
use super::render::{json, say, table};
use super::show::ever;
use crate::config::Config;
use crate::finance::Finance;
use crate::finance::sheet::Sheet;
use crate::money::OtherQuery;
use weir_money::margin::Unpriced;
use weir_money::other::{OtherCostRow, Purpose};

pub(super) fn run(config: &Config, args: CostArgs, as_json: bool) -> anyhow::Result<u8> {
    let CostArgs { tenant, from, to, by, step, models, other, csv } = args;
    let shown = Shown::of(as_json, csv);
    if other {
        return of_others(config, &OtherQuery { tenant, from, to, step: step.step() }, shown);
    }
    let from = ever(from);
    if models {
        return of_models(config, &PricedQuery { tenant, from, to, step: step.step(), by_tenant: false }, shown);
    }
    let query = CostQuery { tenant, from, to, step: step.step(), by };
    let rows = ask(config, "/v1/cost", &query, Finance::cost)?;
    if as_json {
        json(&rows)?;
    } else if csv {
        write_csv(&query, &rows)?;
    } else {
        print(&query, &rows);
    }
    Ok(EXIT_DONE)
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
        "#unpriced requests",
        "#unpriced tokens",
    ];
    let columns: Vec<&str> = keys(query).into_iter().chain(numbers).collect();
    let mut shown = table(&columns);
    for row in rows {
        let sums = &row.sums;
        let amounts =
            [sums.cost, sums.failed_cost, sums.retried_cost, sums.estimated_cost].map(|amount| amount.to_string());
        let counts =
            [sums.requests, sums.input_tokens, sums.output_tokens, sums.unpriced_requests, sums.unpriced_tokens]
                .map(|count| count.to_string());
        let currency = row.currency.map_or_else(|| "(none)".to_owned(), |currency| currency.to_string());
        shown.add_row(key_values(row).into_iter().chain([currency]).chain(amounts).chain(counts));
    }
    say!("{shown}");
    let of = |row: &CostRow| Unpriced { requests: row.sums.unpriced_requests, tokens: row.sums.unpriced_tokens };
    if let Some(words) = rows.iter().map(of).sum::<Unpriced>().words() {
        say!("note: {words}: see `weir cost --models`");
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

/// Units and costs by model, from the server or from the files.
pub(super) fn models(config: &Config, query: &PricedQuery) -> anyhow::Result<Vec<PricedRow>> {
    ask(config, "/v1/cost/models", query, Finance::priced)
}

fn of_models(config: &Config, query: &PricedQuery, shown: Shown) -> anyhow::Result<u8> {
    let rows = models(config, query)?;
    let units = |units: &BTreeMap<String, u64>| {
        units.iter().map(|(kind, quantity)| format!("{kind} {quantity}")).collect::<Vec<_>>().join(", ")
    };
    let cells = |row: &PricedRow| {
        let over = if row.over > 0 { format!("over {}", row.over) } else { String::new() };
        vec![
            row.start.map_or_else(String::new, |start| start.to_string()),
            row.provider.clone(),
            row.model.clone(),
            [row.tier.as_str(), &over].join(" ").trim().to_owned(),
            row.requests.to_string(),
            units(&row.quantities),
            row.currency.map_or_else(String::new, |currency| currency.to_string()),
            row.cost.to_string(),
            units(&row.unpriced),
        ]
    };
    let columns =
        vec!["start", "provider", "model", "tariff", "#requests", "units", "currency", "#cost", "without a price"];
    show(&rows, &Sheet { columns, rows: rows.iter().map(cells).collect() }, shown)?;
    Ok(EXIT_DONE)
}

fn of_others(config: &Config, query: &OtherQuery, shown: Shown) -> anyhow::Result<u8> {
    let rows = ask(config, "/v1/cost/other", query, Finance::other_costs)?;
    let cells = |row: &OtherCostRow| {
        vec![
            row.start.map_or_else(String::new, |start| start.to_string()),
            row.tenant.clone(),
            row.name.clone(),
            row.currency.to_string(),
            row.amount.to_string(),
            match (row.shared, row.purpose) {
                (true, _) => "a share".to_owned(),
                (false, Purpose::Running) => String::new(),
                (false, Purpose::Acquisition) => "acquisition".to_owned(),
                (false, Purpose::LifetimeValue) => "no cost: lifetime value".to_owned(),
            },
        ]
    };
    let columns = vec!["start", "tenant", "reading", "currency", "#cost", "note"];
    show(&rows, &Sheet { columns, rows: rows.iter().map(cells).collect() }, shown)?;
    Ok(EXIT_DONE)
}
