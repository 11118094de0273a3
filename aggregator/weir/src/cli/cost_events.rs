//! `weir events list`.
use std::collections::BTreeMap;

use weir_ledger::analysis::DIMENSIONS;
use weir_money::amount::Pico;

use super::EXIT_DONE;
use super::access::{self, Access};
use super::args::counting::ListArgs;
use super::explain::as_csv::safe;
use super::finance::here;
use super::render::{complain, json, say, table};
use crate::config::Config;
use crate::cost_events::{self, EventCost, EventCostQuery, EventCosts, LIMIT_MAX};

pub(super) fn run(config: &Config, args: ListArgs, as_json: bool) -> anyhow::Result<u8> {
    let as_csv = args.csv;
    let mut query = args.query();
    access::block_on(async {
        let access = access::open(config)?;
        if let Access::Here(store) = &access {
            store.catch_up().await?;
            if let Some(tenant) = &query.tenant {
                here(config, store)?.check_tenant(tenant)?;
            }
        }
        if as_csv {
            return csv(&access, &mut query).await;
        }
        let page = filled(&access, &mut query).await?;
        if as_json {
            json(&page)?;
        } else {
            print(&page);
        }
        Ok(())
    })?;
    Ok(EXIT_DONE)
}

async fn page(access: &Access, query: &EventCostQuery) -> anyhow::Result<EventCosts> {
    Ok(match access {
        Access::Server(server) => server.get("/v1/cost/events", query).await?,
        Access::Here(store) => cost_events::page(&store.home, query)?,
    })
}

/// A page with as many events as are asked for, if there are: a server's page may be short.
async fn filled(access: &Access, query: &mut EventCostQuery) -> anyhow::Result<EventCosts> {
    let wanted = query.limit.unwrap_or(cost_events::LIMIT_DEFAULT);
    let mut all = page(access, query).await?;
    while all.events.len() < wanted && all.next.is_some() {
        query.after = all.next.take();
        query.limit = Some(wanted - all.events.len());
        let more = page(access, query).await?;
        all.events.extend(more.events);
        all.next = more.next;
    }
    Ok(all)
}

fn print(page: &EventCosts) {
    let mut rows = table(&[
        "time",
        "id",
        "tenant",
        "model",
        "class",
        "outcome",
        "#input",
        "#output",
        "currency",
        "#cost",
        "without a price",
    ]);
    let mut sums: BTreeMap<String, Pico> = BTreeMap::new();
    for event in &page.events {
        let of = |dimension: &str| event.dimensions.get(dimension).cloned().unwrap_or_default();
        let currency = event.currency.map(|currency| currency.to_string()).unwrap_or_default();
        rows.add_row([
            event.time.to_string(),
            event.id.clone(),
            event.tenant.clone(),
            of("model"),
            of("class"),
            if event.counted_before {
                format!("{}, usage counted before", event.outcome)
            } else {
                event.outcome.clone()
            },
            event.input_tokens.to_string(),
            event.output_tokens.to_string(),
            currency.clone(),
            event.cost.map(|cost| cost.to_string()).unwrap_or_default(),
            unpriced(event),
        ]);
        if event.currency.is_some() {
            *sums.entry(currency).or_default() += event.cost.unwrap_or_default();
        }
    }
    say!("{rows}");
    for (currency, sum) in sums {
        say!("{} events on this page: {sum} {currency}", page.events.len());
    }
    let lacking = page.events.iter().filter(|event| !event.unpriced.is_empty()).count();
    if lacking > 0 {
        say!("note: {lacking} of these events used what has no price; its cost is missing");
    }
    if let Some(since) = page.kept_since {
        say!("note: single events are kept since {since}: older ones are gone, and only their sums stand");
    }
    if let Some(next) = &page.next {
        say!("more: the same command with --after {next}, or --csv for all");
    }
}

fn unpriced(event: &EventCost) -> String {
    let kinds = event.unpriced.iter().map(|(kind, quantity)| format!("{kind} {quantity}"));
    kinds.collect::<Vec<_>>().join(", ")
}

/// Writes every page.
async fn csv(access: &Access, query: &mut EventCostQuery) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    let before = ["time", "id", "tenant", "request", "answer", "provider"];
    let after = [
        "outcome",
        "usage",
        "counted_before",
        "input_tokens",
        "cache_read_tokens",
        "output_tokens",
        "currency",
        "cost",
        "without_a_price",
        "price",
        "idempotency_key_hash",
        "trace",
    ];
    out.write_record(before.into_iter().chain(DIMENSIONS).chain(after))?;
    query.limit = Some(LIMIT_MAX);
    loop {
        let page = page(access, query).await?;
        for event in &page.events {
            out.write_record(record(event))?;
        }
        if let (Some(since), None) = (page.kept_since, &query.after) {
            complain!("weir: single events are kept since {since}: older ones are gone, and only their sums stand");
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(out.flush()?);
        }
    }
}

fn record(event: &EventCost) -> Vec<String> {
    let text = |text: &Option<String>| safe(text.as_deref().unwrap_or_default());
    let mut record = vec![
        event.time.to_string(),
        safe(&event.id),
        safe(&event.tenant),
        safe(&event.request_id),
        text(&event.response_id),
        text(&event.provider),
    ];
    record.extend(
        DIMENSIONS.map(|dimension| event.dimensions.get(dimension).map(|value| safe(value)).unwrap_or_default()),
    );
    record.extend([
        event.outcome.clone(),
        event.usage.clone(),
        event.counted_before.to_string(),
        event.input_tokens.to_string(),
        event.cache_read_tokens.to_string(),
        event.output_tokens.to_string(),
        event.currency.map(|currency| currency.to_string()).unwrap_or_default(),
        event.cost.map(|cost| cost.to_string()).unwrap_or_default(),
        unpriced(event),
        text(&event.entry),
        text(&event.idempotency_key_hash),
        text(&event.trace_id),
    ]);
    record
}
