//! `weir status`: one screen.
use super::access::{self, Access};
use super::render::{json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::export::ExportStatus;
use crate::status::alerts::AlertsStatus;
use crate::status::configurations::Configurations;
use crate::status::{self, BillingStatus, Fetch, GatewayStatus, ProviderStatus, ServerStatus, SystemStatus};
use weir_contract::Timestamp;
use weir_ledger::query::LedgerReader;
use weir_stripe::status as stripe;

pub(super) fn run(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: SystemStatus = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/status", &()).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                here(config, &store.home)?
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print(&view);
    }
    Ok(if view.problems.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

/// The status of the files, without a server.
fn here(config: &Config, home: &crate::store::DataDir) -> anyhow::Result<SystemStatus> {
    let now = access::clock().now();
    let mut reader = LedgerReader::open(home.ledger())?;
    let ledger = reader.totals()?;
    let billed = config.stripe.as_ref().map(|stripe| stripe.event_names.clone());
    let billing = billed.map(|billed| stripe::read(reader.db(), now, false, &billed)).transpose()?;
    let billing = billing.as_ref().map(|status| (BillingStatus::of(status, None, None), status));
    let mut gateways = status::gateways(&reader, now)?;
    if let Some(mut known) = Configurations::of_log(home) {
        known.lay(&mut gateways);
    }
    let lists = (gateways, status::providers(&mut reader, config.catalogue.as_ref(), now)?);
    let tenants = config.directory(now)?.current();
    let doubts = config.alerts.doubts(config.tenants.plans(&tenants), &config.budgets);
    let alerts = AlertsStatus::read(&mut reader, &config.alerts, doubts, now)?;
    Ok(SystemStatus::of(now, None, lists, (&ledger, alerts), billing))
}

fn print(view: &SystemStatus) {
    let at = view.at.map(|at| at.to_string()).unwrap_or_default();
    say!("weir {} at {at}", view.version);
    print_server(view.server.as_ref());
    print_nodes(view.server.as_ref());
    print_gateways(&view.gateways);
    print_providers(&view.providers);
    let events = &view.events;
    say!(
        "\nevents: {} counted, {} missing, {} refused, {} conflicting, {} ahead of the clock; {} records not counted yet",
        events.accepted,
        events.missing,
        events.refused,
        events.conflicts,
        events.early,
        events.uncounted_records
    );
    print_alerts(&view.alerts);
    print_billing(view.billing.as_ref());
    for problem in &view.problems {
        say!("needs a person: {problem}");
    }
}

fn print_server(server: Option<&ServerStatus>) {
    let Some(server) = server else { return };
    say!("server: {} tenants with {} keys, directory {}", server.tenants, server.keys, server.directory);
    say!("event log: {}", server.log_place);
    say!("ledger: {}", server.ledger_place);
    for ExportStatus { name, position, behind_records, events, .. } in &server.exports {
        say!(
            "export {name}: up to record {position}, {behind_records} behind; {events} events since the server's start"
        );
    }
    for Fetch { token, at, version } in &server.fetches {
        let state = if *version == server.directory { "current" } else { "an older version" };
        say!("directory fetched with token {token:?}: last {at}, {state}");
    }
}

fn print_nodes(server: Option<&ServerStatus>) {
    let Some(server) = server.filter(|server| !server.nodes.is_empty()) else { return };
    for part in &server.partitions {
        let since = part.since.map(|since| since.to_string()).unwrap_or_default();
        say!(
            "partition {}: owned by {} since {since}, change {}; {} records not counted yet",
            part.number,
            part.owner,
            part.changes,
            part.uncounted_records
        );
    }
    let mut rows = table(&["node", "role", "address", "version", "#tables", "seen", "started"]);
    for node in &server.nodes {
        let role = match (node.is_seen, node.owns) {
            (false, _) => "missing",
            (true, true) => "owner",
            (true, false) => "follower",
        };
        rows.add_row([
            node.name.clone(),
            role.to_owned(),
            node.address.clone(),
            node.version.clone(),
            node.tables.to_string(),
            format!("{} ms ago", node.silent_ms),
            node.started.map(|at| at.to_string()).unwrap_or_default(),
        ]);
    }
    say!("\n{rows}");
}

fn print_gateways(gateways: &[GatewayStatus]) {
    if gateways.is_empty() {
        say!("\nno gateway was heard of within a day");
        return;
    }
    let mut rows = table(&["gateway", "last heard", "#workers", "#events", "#missing", "configuration", "plans"]);
    for gateway in gateways {
        rows.add_row([
            gateway.gateway.clone(),
            gateway.last_at.map(|at| at.to_string()).unwrap_or_default(),
            gateway.workers.to_string(),
            gateway.accepted.to_string(),
            gateway.missing.to_string(),
            gateway.config_version.clone().unwrap_or_default(),
            gateway.plans.join(", "),
        ]);
    }
    say!("\n{rows}");
}

fn print_providers(providers: &[ProviderStatus]) {
    if providers.is_empty() {
        return;
    }
    let mut rows =
        table(&["provider", "#attempts", "#failed", "reasons", "possible cost", "last failure", "breaker open at"]);
    for ProviderStatus { health, possible_cost, currency, unpriced_input_tokens } in providers {
        let failed: u64 = health.failed.values().sum();
        let mut reasons: Vec<String> =
            health.failed.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if health.retries_refused > 0 {
            reasons.push(format!("retries refused {}", health.retries_refused));
        }
        let priced = possible_cost.iter().zip(currency).map(|(cost, currency)| format!("{cost} {currency}"));
        let unpriced = (*unpriced_input_tokens > 0).then(|| format!("{unpriced_input_tokens} tokens without a price"));
        let last = health.last_failure.as_ref().map(|last| {
            let status = last.status.map(|status| format!(" {status}")).unwrap_or_default();
            format!("{} {}{status}, {} at {}", last.at, last.reason, last.model, last.gateway)
        });
        let open = health.open.iter().map(|open| format!("{} until {}", open.gateway, open.until));
        rows.add_row([
            health.provider.clone(),
            health.attempts.to_string(),
            failed.to_string(),
            reasons.join(", "),
            priced.chain(unpriced).collect::<Vec<_>>().join(", "),
            last.unwrap_or_default(),
            open.collect::<Vec<_>>().join(", "),
        ]);
    }
    say!("\n{rows}");
    say!(
        "Attempts of this hour and the one before; a possible cost is for prompts that were taken and never answered."
    );
}

fn print_alerts(alerts: &AlertsStatus) {
    let (waiting, failing) = (
        alerts.receivers.iter().map(|receiver| receiver.waiting).sum::<u64>(),
        alerts.receivers.iter().filter(|receiver| receiver.failing.is_some()).count(),
    );
    say!(
        "alerts firing: {} critical, {} warning; receivers: {}, failing: {failing}; messages waiting: {waiting}",
        alerts.critical,
        alerts.warning,
        alerts.receivers.len()
    );
}

fn print_billing(billing: Option<&BillingStatus>) {
    let Some(billing) = billing else {
        say!("billing: `stripe` is not configured");
        return;
    };
    let or_never = |at: Option<Timestamp>, never: &str| at.map_or(never.to_owned(), |at| at.to_string());
    say!(
        "billing: {} rows reported, {} pending, {} held; oldest waits for {} s",
        billing.reported,
        billing.pending,
        billing.held,
        billing.lag_seconds
    );
    say!(
        "reports: last {}, next {}; compared with Stripe: {}",
        or_never(billing.last_report, "not since the server's start"),
        or_never(billing.next_report, "by `weir report` only"),
        or_never(billing.compared, "never")
    );
}
