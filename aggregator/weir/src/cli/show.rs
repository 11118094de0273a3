//! Commands that show the ledger: usage, analysis, the numbers, one event, a report.
use anyhow::{Context, bail};
use weir_contract::{EventId, Timestamp};

use super::access::{self, Access, audit_here};
use super::args::billing::ReportArgs;
use super::render::{json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::lookup::{EventView, EventsQuery, find_event, find_events};
use crate::reporting::{NO_STRIPE, reporter, tenants};
use crate::store::Store;
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::{ReportRequest, ReportView};
use weir_ledger::analysis::DIMENSIONS;
use weir_ledger::view::{AnalysisQuery, AnalysisRow, LedgerView, UsageQuery, UsageView};

/// The beginning of a command's span: everything that was ever counted, where nothing else is asked for. The API takes a month then.
pub(super) fn ever(from: Option<Timestamp>) -> Option<Timestamp> {
    Some(from.unwrap_or_default())
}

/// Usage, from the server or from the files.
pub(super) fn usage_view(config: &Config, query: &UsageQuery) -> anyhow::Result<UsageView> {
    let view: UsageView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/usage", query).await?,
            Access::Here(store) => caught_up(&store).await?.usage(query)?,
        })
    })?;
    if view.usage.is_empty() {
        check_names(config, query.tenant.as_deref(), query.meter.as_deref(), !view.refused.is_empty())?;
    }
    Ok(view)
}

/// Refuses a tenant or a meter that nobody knows: an empty answer would say that it used nothing.
fn check_names(config: &Config, tenant: Option<&str>, meter: Option<&str>, tenant_seen: bool) -> anyhow::Result<()> {
    if let Some(meter) = meter
        && !config.meters.names().iter().any(|name| name == meter)
    {
        bail!("there is no meter {meter:?}; there are {}", config.meters.names().join(", "));
    }
    if let Some(tenant) = tenant
        && !tenant_seen
        && !config.directory(access::clock().now())?.current().knows(tenant)
    {
        bail!("no usage of a tenant {tenant:?} is known in this time, and there is none of that name");
    }
    Ok(())
}

pub(super) fn usage(config: &Config, query: &UsageQuery, as_json: bool) -> anyhow::Result<u8> {
    let view = usage_view(config, query)?;
    if as_json {
        json(&view)?;
    } else {
        print_usage(&view);
    }
    Ok(EXIT_DONE)
}

fn print_usage(view: &UsageView) {
    let hourly = view.usage.iter().any(|row| row.window.is_some());
    let mut columns = vec!["tenant", "meter", "#billable", "#excluded", "#reported"];
    if hourly {
        columns.insert(0, "hour");
    }
    let mut usage = table(&columns);
    for row in &view.usage {
        let numbers = [row.billable.to_string(), row.excluded.to_string(), row.reported.to_string()];
        let hour = hourly.then(|| row.window.map(|window| window.to_string()).unwrap_or_default());
        usage.add_row(hour.into_iter().chain([row.tenant.clone(), row.meter.clone()]).chain(numbers));
    }
    say!("{usage}");
    if !view.refused.is_empty() {
        let mut refused = table(&["tenant", "refused because", "#requests"]);
        for row in &view.refused {
            let tenant = if row.tenant.is_empty() { "(unknown)" } else { &row.tenant };
            refused.add_row([tenant, &row.reason, &row.count.to_string()]);
        }
        say!("\n{refused}");
    }
}

/// Usage by dimensions, from the server or from the files.
pub(super) fn analysis_rows(config: &Config, query: &AnalysisQuery) -> anyhow::Result<Vec<AnalysisRow>> {
    let rows: Vec<AnalysisRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/analysis", query).await?,
            Access::Here(store) => caught_up(&store)
                .await?
                .analysis(query)?
                .with_context(|| format!("--by takes some of {}, with commas between them", DIMENSIONS.join(", ")))?,
        })
    })?;
    if rows.is_empty() {
        check_names(config, query.tenant.as_deref(), None, false)?;
    }
    Ok(rows)
}

pub(super) fn analysis(config: &Config, query: &AnalysisQuery, as_json: bool) -> anyhow::Result<u8> {
    let rows = analysis_rows(config, query)?;
    if as_json {
        json(&rows)?;
        return Ok(EXIT_DONE);
    }
    let numbers = ["#requests", "#input tokens", "#output tokens", "#cache read", "#reasoning"];
    let columns: Vec<&str> = std::iter::once("tenant").chain(query.by.split(',')).chain(numbers).collect();
    let mut shown = table(&columns);
    for row in rows {
        let amounts = [row.requests, row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens];
        shown.add_row(std::iter::once(row.tenant).chain(row.values).chain(amounts.map(|amount| amount.to_string())));
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}

pub(super) fn ledger(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: LedgerView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/ledger", &()).await?,
            Access::Here(store) => caught_up(&store).await?.ledger()?,
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print_ledger(&view);
    }
    Ok(if view.problems().is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

fn print_ledger(view: &LedgerView) {
    say!("ledger {}: counted {} of {} records", view.ledger, view.position, view.log_position);
    let mut sources = table(&[
        "source",
        "#last",
        "#accepted",
        "#quarantined",
        "#missing",
        "#duplicates",
        "#conflicts",
        "missing numbers",
    ]);
    for s in &view.sources {
        let ranges: Vec<String> = s.missing_ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        let numbers = [s.last, s.accepted, s.quarantined, s.missing, s.duplicates, s.conflicts].map(|n| n.to_string());
        sources.add_row(std::iter::once(s.source.clone()).chain(numbers).chain([ranges.join(" ")]));
    }
    say!("\n{sources}");
    let mut meters = table(&[
        "meter",
        "#accepted",
        "#excluded",
        "#billable",
        "#adjusted",
        "#reported",
        "#pending",
        "#held",
        "#settled",
        "#carried",
        "balanced",
    ]);
    for m in &view.meters {
        let excluded: u64 = m.excluded.values().sum();
        let numbers = [m.accepted, excluded, m.billable].map(|n| n.to_string());
        let billing = [m.adjusted, m.reported, m.pending, m.held, m.settled].map(|n| n.to_string());
        let balanced = if m.balanced { "yes" } else { "NO" }.to_owned();
        meters.add_row(
            std::iter::once(m.meter.clone()).chain(numbers).chain(billing).chain([m.carried.clone(), balanced]),
        );
    }
    say!("\n{meters}");
    for (reason, count) in &view.quarantine {
        say!("quarantined, {reason}: {count}");
    }
    for problem in view.problems() {
        say!("needs a person: {problem}");
    }
}

pub(super) fn event(config: &Config, id: &str) -> anyhow::Result<u8> {
    let id = EventId::parse(id).context("an event id is a UUID")?;
    let view: EventView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get(&format!("/v1/events/{id}"), &()).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                find_event(&store.home, id)?.context("no event with this id was counted, or it is pruned")?
            }
        })
    })?;
    json(&view)?;
    Ok(EXIT_DONE)
}

pub(super) fn events(config: &Config, query: &EventsQuery, as_json: bool) -> anyhow::Result<u8> {
    let found: Vec<EventView> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/events", query).await?,
            Access::Here(store) => find_events(&store.home, query)?,
        })
    })?;
    if as_json {
        json(&found)?;
    } else {
        print_events(&found);
    }
    Ok(if found.is_empty() { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_events(found: &[EventView]) {
    if found.is_empty() {
        say!("no event with this id is in the event log, in this time");
        return;
    }
    let fields = [
        "tenant",
        "outcome",
        "request_model",
        "input_tokens",
        "output_tokens",
        "request_id",
        "response_id",
        "trace_id",
    ];
    let mut rows =
        table(&["received", "id", "tenant", "outcome", "model", "#input", "#output", "request", "answer", "trace"]);
    for view in found {
        let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let of = |field: &str| {
            let data = &view.event["data"];
            [&data[field], &data["usage"][field], &view.event[field]]
                .into_iter()
                .find(|value| !value.is_null())
                .map_or(String::new(), shown)
        };
        let tenant = of("subject");
        let id = of("id");
        let rest = fields.iter().skip(1).map(|field| of(field));
        rows.add_row([view.received_at.to_string(), id, tenant].into_iter().chain(rest));
    }
    say!("{rows}");
}

pub(super) fn report(config: &Config, args: &ReportArgs, as_json: bool) -> anyhow::Result<u8> {
    let as_of = args.as_of.as_deref().map(moment).transpose()?;
    let mut request = ReportRequest { as_of, retry_held: args.retry_held, retry_only: args.retry_only() };
    let view: ReportView = access::block_on(async {
        let access = access::open(config)?;
        let mut view = report_once(config, &access, &request).await?;
        // A run is bounded in time, so that others have their turn.
        while view.more {
            request = ReportRequest { as_of, ..ReportRequest::default() };
            view = view.followed_by(report_once(config, &access, &request).await?);
        }
        Ok(view)
    })?;
    if as_json {
        json(&view)?;
    } else {
        print_report(&view);
    }
    let attention = view.pending > 0 || !view.held.is_empty() || view.stopped.is_some();
    Ok(if attention { EXIT_ATTENTION } else { EXIT_DONE })
}

async fn report_once(config: &Config, access: &Access, request: &ReportRequest) -> anyhow::Result<ReportView> {
    match access {
        Access::Server(server) => server.post("/v1/report", request).await,
        Access::Here(store) => report_here(config, store, request.clone()).await,
    }
}

async fn report_here(config: &Config, store: &Store, request: ReportRequest) -> anyhow::Result<ReportView> {
    let directory = config.directory(access::clock().now())?;
    store.catch_up().await?;
    let reporter = reporter(config, store, access::clock())?.context(NO_STRIPE)?;
    let view = reporter.run(request, || tenants(&directory)).await?;
    audit_here(store, "report", format!("{} rows made, {} reported", view.created, view.reported)).await?;
    Ok(view)
}

fn print_report(view: &ReportView) {
    say!("rows made {}, reported {}, still pending {}", view.created, view.reported, view.pending);
    if view.released > 0 {
        say!("held rows let go {}", view.released);
    }
    for (reason, count) in &view.held {
        say!("held, {reason}: {count}  ({})", remedy(reason));
    }
    if let Some(why) = &view.stopped {
        say!("stopped early: {why}");
    }
}

/// The remedy for rows held for this reason.
pub(super) fn remedy(reason: &str) -> &'static str {
    Hold::ALL.into_iter().find(|hold| hold.as_str() == reason).map_or("", Hold::remedy)
}

/// A reader of the ledger after it has counted the whole log.
pub(super) async fn caught_up(store: &Store) -> anyhow::Result<weir_ledger::query::LedgerReader> {
    store.catch_up().await?;
    Ok(store.reader()?)
}

/// Parses a moment: RFC 3339 in UTC, or `now+2h`.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Some(ahead) = text.strip_prefix("now+") {
        let ahead = humantime::parse_duration(ahead).with_context(|| format!("{text:?}"))?;
        return Ok(access::clock().now().plus_millis(u64::try_from(ahead.as_millis())?));
    }
    match Timestamp::parse(text) {
        Some(time) => Ok(time),
        None => bail!("{text:?} is neither a time in UTC such as 2026-11-21T04:00:00Z nor now+2h"),
    }
}
