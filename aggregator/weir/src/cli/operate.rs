//! Commands of operation: backup, restore, forgetting a user, adjusting, the audit, CSV.
use std::path::Path;

use anyhow::Context;

use super::access::{self, Access, audit_here};
use super::explain::as_csv::safe;
use super::render::{json, say, table};
use super::show::{analysis_rows, usage_view};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::backup;
use crate::budgets;
use crate::config::Config;
use crate::forget;
use crate::forget::{ForgetRequest, ForgetView};
use crate::reporting::{NO_STRIPE, reporter, tenants};
use crate::store::{DataDir, Store};
use weir_billing::outbox::sender;
use weir_billing::outbox::view::{AdjustRequest, AdjustView};
use weir_ledger::view::{AnalysisQuery, AuditEntry, UsageQuery};

pub(super) fn backup(config: &Config, into: &Path, as_json: bool) -> anyhow::Result<u8> {
    let contents = backup::backup(&DataDir::of(config), into)?;
    if as_json {
        json(&contents)?;
    } else {
        say!("{}: {} records, {} of them counted", into.display(), contents.log_position, contents.position);
    }
    Ok(EXIT_DONE)
}

pub(super) fn restore(config: &Config, from: &Path, replace: bool, as_json: bool) -> anyhow::Result<u8> {
    access::check_alone(config)?;
    let home = DataDir::of(config);
    let (contents, lock) = backup::restore(&home, from, replace)?;
    drop(lock);
    let store = Store::open(home, config.rules()?, access::clock())?;
    let detail = format!("{} up to record {}", from.display(), contents.log_position);
    let forgotten = access::block_on(async {
        let now = access::clock().now();
        store.ledger.call(move |ledger| ledger.durably(|db| sender::mark_restored(db, now))).await?;
        audit_here(&store, "restore", detail).await?;
        Ok(forget::apply(&store, access::clock().now()).await?)
    })?;
    store.close().finish();
    if as_json {
        json(&contents)?;
    } else {
        say!("restored up to record {}", contents.log_position);
        if let Some(view) = forgotten {
            say!(
                "forgotten users were taken out of {} records and {} waiting or refused events again",
                view.records,
                view.events
            );
        }
        say!("nothing of the hours before now is sent until Stripe's summaries say what is there already");
    }
    Ok(EXIT_DONE)
}

pub(super) fn forget_user(config: &Config, request: &ForgetRequest, as_json: bool) -> anyhow::Result<u8> {
    let view: ForgetView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/users/forget", request).await?,
            Access::Here(store) => {
                let view = forget::forget(&store, &config.user_keys()?, request, access::clock().now()).await?;
                let detail = format!("{} records, {} events", view.records, view.events);
                audit_here(&store, "user forget", detail).await?;
                view
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("taken out of {} records and {} waiting or refused events; sums stay", view.records, view.events);
    }
    Ok(EXIT_DONE)
}

pub(super) fn audit(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let entries: Vec<AuditEntry> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/audit", &()).await?,
            Access::Here(store) => budgets::audit(&mut store.reader()?)?,
        })
    })?;
    if as_json {
        json(&entries)?;
        return Ok(EXIT_DONE);
    }
    let mut shown = table(&["at", "who", "act", "detail"]);
    for entry in entries {
        shown.add_row([entry.at.to_string(), entry.who, entry.act, entry.detail]);
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}

pub(super) fn adjust(config: &Config, request: &AdjustRequest, as_json: bool) -> anyhow::Result<u8> {
    let view: AdjustView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/adjust", request).await?,
            Access::Here(store) => {
                let directory = config.directory(access::clock().now())?;
                store.catch_up().await?;
                let reporter = reporter(config, &store, access::clock())?.context(NO_STRIPE)?;
                reporter.adjust(request.clone(), || tenants(&directory), access::somebody_here()).await?
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        let what = view.held.as_deref().map_or("the next report sends it".to_owned(), |why| format!("held: {why}"));
        say!("row {} in the window {}; {what}", view.row, view.window);
    }
    Ok(if view.held.is_some() { EXIT_ATTENTION } else { EXIT_DONE })
}

pub(super) fn export_usage(config: &Config, query: &UsageQuery) -> anyhow::Result<u8> {
    let view = usage_view(config, query)?;
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(["window", "tenant", "meter", "billable", "excluded", "reported"])?;
    for row in view.usage {
        let window = row.window.map(|window| window.to_string()).unwrap_or_default();
        let numbers = [row.billable.to_string(), row.excluded.to_string(), row.reported.to_string()];
        out.write_record([window, safe(&row.tenant), safe(&row.meter)].into_iter().chain(numbers))?;
    }
    out.flush()?;
    Ok(EXIT_DONE)
}

pub(super) fn export_analysis(config: &Config, query: &AnalysisQuery) -> anyhow::Result<u8> {
    let rows = analysis_rows(config, query)?;
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    let numbers = ["requests", "input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens"];
    out.write_record(std::iter::once("tenant").chain(query.by.split(',').map(str::trim)).chain(numbers))?;
    for row in rows {
        let amounts = [row.requests, row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens];
        let texts = std::iter::once(&row.tenant).chain(&row.values).map(|text| safe(text));
        out.write_record(texts.chain(amounts.map(|n| n.to_string())))?;
    }
    out.flush()?;
    Ok(EXIT_DONE)
}
