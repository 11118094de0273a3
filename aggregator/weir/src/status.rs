//! `weir status`: how everything stands, on one screen: gateways, counting, billing, and what needs a person.
pub mod alerts;
pub(crate) mod configurations;

use std::collections::BTreeMap;

use alerts::AlertsStatus;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use crate::config::catalogue::Catalogue;
use crate::export::ExportStatus;
use crate::models::decimal;
use weir_ledger::LedgerError;
use weir_ledger::attempts::ProviderHealth;
use weir_ledger::query::LedgerReader;
use weir_ledger::view::{LedgerView, WorkerView};
use weir_stripe::status::StatusView;

/// How long a gateway stays in the list after its last word, in milliseconds.
const LISTED_MS: u64 = 24 * 3_600 * 1000;
/// A gateway announces its numbers every half minute, without traffic as well. One that was silent for longer than this is
/// away, in milliseconds.
pub(crate) const SILENT_MS: u64 = 10 * 60 * 1000;
/// Prices of the catalogue are those of so many tokens.
const TOKENS_OF_PRICE: u128 = 1_000_000;
/// The bound of reporting: an hour, its grace and an hour more, in seconds.
const LAG_MAX_SECS: u64 = 3_600 + 3_600 + 600;

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Weir's version.
    pub version: String,
    /// The moment it describes.
    pub at: Option<Timestamp>,
    /// The server, if one runs.
    pub server: Option<ServerStatus>,
    /// Gateways heard of within a day, by name.
    pub gateways: Vec<GatewayStatus>,
    /// Events and their counting.
    pub events: EventsStatus,
    /// Providers of models that gateways have tried in this hour and the one before, or keep away from.
    #[serde(default)]
    pub providers: Vec<ProviderStatus>,
    /// Alerts, and whom they do not reach.
    #[serde(default)]
    pub alerts: AlertsStatus,
    /// Reporting to Stripe, if it is configured.
    pub billing: Option<BillingStatus>,
    /// What needs a person, and what to do.
    pub problems: Vec<String>,
}

/// The running server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Why events are not accepted; absent if they are.
    pub log: Option<String>,
    /// Why accepted events are not counted; absent if they are.
    pub ledger: Option<String>,
    /// Tenants in force.
    pub tenants: u64,
    /// Their keys.
    pub keys: u64,
    /// The version of the directory that gateways fetch.
    pub directory: String,
    /// The tokens that fetched the directory since the start.
    pub fetches: Vec<Fetch>,
    /// Where the event log is: its file, or its address elsewhere.
    #[serde(default)]
    pub log_place: String,
    /// Where the ledger is: its file, or its address elsewhere.
    #[serde(default)]
    pub ledger_place: String,
    /// The exports.
    #[serde(default)]
    pub exports: Vec<ExportStatus>,
    /// Gateways that cannot use the catalogue of models, and go on with the one before.
    #[serde(default)]
    pub catalogue_refused_by: Vec<String>,
    /// Plans that rules of the catalogue name and no gateway has: these rules are never true.
    #[serde(default)]
    pub unknown_plans: Vec<String>,
    /// Why the configuration on disk is not used; absent if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// What is wrong with budgets: usage that they cannot count, and names that fit nobody.
    #[serde(default)]
    pub budgets: Vec<String>,
    /// The nodes that share event log and ledger, by name; none where this server is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStatus>,
    /// Who owns which part of event log and ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionStatus>,
}

/// One of several `weir serve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub address: String,
    /// Its version of weir.
    pub version: String,
    /// The latest version of the ledger's tables that it knows.
    pub tables: i64,
    /// Whether it owns.
    pub owns: bool,
    /// Whether it was seen within the last seconds.
    pub is_seen: bool,
    /// How long ago it was seen, in milliseconds.
    pub silent_ms: u64,
    /// When it started.
    pub started: Option<Timestamp>,
    /// What stands against a take-over by it; empty if nothing does.
    pub note: String,
}

/// A part of event log and ledger, of which there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its number.
    pub number: u64,
    /// The node that owns it.
    pub owner: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How often the owner changed.
    pub changes: u64,
    /// Records that are not counted yet.
    pub uncounted_records: u64,
}

impl NodeStatus {
    fn problem(&self) -> Option<String> {
        if !self.is_seen {
            let seconds = self.silent_ms / 1_000;
            return Some(format!("node {} at {} was last seen {seconds} s ago", self.name, self.address));
        }
        (!self.note.is_empty()).then(|| format!("node {} {}", self.name, self.note))
    }
}

/// The last fetch of the directory under one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The token's name.
    pub token: String,
    /// When it was.
    pub at: Timestamp,
    /// The version it received.
    pub version: String,
}

/// A gateway: the name that its sources bear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its name.
    pub gateway: String,
    /// When it was last heard.
    pub last_at: Option<Timestamp>,
    /// Workers that have not ended.
    pub workers: u64,
    /// Events counted, of these workers and those that ended within a day.
    pub accepted: u64,
    /// Numbers that never came.
    pub missing: u64,
    /// The version of its configuration, as its latest usage event says; absent if it sent none lately.
    pub config_version: Option<String>,
    /// Plans of tenants whose events it made under that configuration, as far as they were seen.
    pub plans: Vec<String>,
}

/// A provider: how attempts at it went in this hour and the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// What gateways have told.
    #[serde(flatten)]
    pub health: ProviderHealth,
    /// What it may charge for prompts that it took and never answered, at the catalogue's prices; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possible_cost: Option<String>,
    /// The currency of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Tokens of such prompts for which no price is known.
    pub unpriced_input_tokens: u64,
}

/// Events and their counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsStatus {
    /// Counted.
    pub accepted: u64,
    /// Numbered and never seen.
    pub missing: u64,
    /// Refused and kept.
    pub refused: u64,
    /// With the id or number of another.
    pub conflicts: u64,
    /// Ahead of the clock.
    pub early: u64,
    /// Records of the log that are not counted yet.
    pub uncounted_records: u64,
}

/// Reporting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingStatus {
    /// Rows that Stripe has.
    pub reported: u64,
    /// Rows to be sent.
    pub pending: u64,
    /// Rows that wait for a person.
    pub held: u64,
    /// The age of the oldest window that Stripe lacks, in seconds.
    pub lag_seconds: u64,
    /// When the server last reported; absent if it has not since its start.
    pub last_report: Option<Timestamp>,
    /// When it reports next; absent without `report_every`.
    pub next_report: Option<Timestamp>,
    /// When weir last compared with Stripe.
    pub compared: Option<Timestamp>,
}

impl SystemStatus {
    /// Puts the parts together, and says what is wrong with them.
    pub fn of(
        now: Timestamp,
        server: Option<ServerStatus>,
        (gateways, providers): (Vec<GatewayStatus>, Vec<ProviderStatus>),
        (ledger, alerts): (&LedgerView, AlertsStatus),
        billing: Option<(BillingStatus, &StatusView)>,
    ) -> Self {
        let mut problems = Vec::new();
        match &server {
            None => problems.push("no server runs on this data directory: events are not accepted".to_owned()),
            Some(server) => {
                problems.extend(server.log.as_ref().map(|why| format!("events are not accepted: {why}")));
                problems.extend(server.ledger.as_ref().map(|why| format!("accepted events are not counted: {why}")));
                problems.extend(server.configuration.as_ref().map(|why| {
                    format!("the configuration on disk is not used, and what was read last stays in force: {why}")
                }));
                problems.extend(server.budgets.iter().cloned());
                problems.extend(server.nodes.iter().filter_map(NodeStatus::problem));
                problems.extend(server.exports.iter().filter_map(ExportStatus::trouble));
                problems.extend(server.catalogue_refused_by.iter().map(|gateway| {
                    format!("gateway {gateway} cannot use the catalogue of models, and goes on with the one before: its log says why")
                }));
                problems.extend(server.unknown_plans.iter().map(|plan| {
                    format!("a rule of the catalogue names the plan {plan:?}, which no gateway has: it is never true")
                }));
            }
        }
        problems.extend(ledger.problems());
        problems.extend(gateways.iter().filter_map(|gateway| gateway.problem(now)));
        problems.extend(alerts.problems());
        if let Some((billing, status)) = &billing {
            problems.extend(billing.problems(status));
        }
        SystemStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: Some(now),
            server,
            gateways,
            providers,
            events: EventsStatus::of(ledger),
            alerts,
            billing: billing.map(|(billing, _)| billing),
            problems,
        }
    }
}

impl EventsStatus {
    fn of(ledger: &LedgerView) -> Self {
        EventsStatus {
            accepted: ledger.totals.accepted,
            missing: ledger.totals.missing,
            refused: ledger.quarantine.values().sum(),
            conflicts: ledger.totals.conflicts,
            early: ledger.early,
            uncounted_records: ledger.log_position.saturating_sub(ledger.position),
        }
    }
}

impl GatewayStatus {
    fn problem(&self, now: Timestamp) -> Option<String> {
        let last = self.last_at?;
        let silent_ms = now.millis_since(last);
        (self.workers > 0 && silent_ms > SILENT_MS).then(|| {
            let minutes = silent_ms / 60_000;
            format!(
                "gateway {} was last heard {minutes} minutes ago, and its workers have not said that they end",
                self.gateway
            )
        })
    }
}

impl BillingStatus {
    /// What Stripe's status says, without single rows.
    pub fn of(status: &StatusView, last_report: Option<Timestamp>, next_report: Option<Timestamp>) -> Self {
        BillingStatus {
            reported: status.billing.reported,
            pending: status.billing.pending,
            held: status.billing.held,
            lag_seconds: status.lag_seconds,
            last_report,
            next_report,
            compared: status.reconciliation.as_ref().map(|last| last.at),
        }
    }

    fn problems(&self, status: &StatusView) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lag_seconds > LAG_MAX_SECS {
            problems.push(format!("an hour waits for Stripe for {} s: see `weir stripe status`", self.lag_seconds));
        }
        if status.needs_a_person() {
            problems.push("held rows, errors or differences of Stripe: see `weir stripe status`".to_owned());
        }
        problems
    }
}

/// The gateways that were heard of within a day before `now`, by name, without their configurations.
pub(crate) fn gateways(reader: &LedgerReader, now: Timestamp) -> Result<Vec<GatewayStatus>, LedgerError> {
    let since = Timestamp::from_millis(now.as_millis().saturating_sub(LISTED_MS));
    let mut found: BTreeMap<String, GatewayStatus> = BTreeMap::new();
    for WorkerView { source, accepted, missing, closed, last_at } in reader.workers_since(since)? {
        let Some(name) = gateway_of(&source) else { continue };
        let gateway = found.entry(name.to_owned()).or_default();
        gateway.workers += u64::from(!closed);
        gateway.accepted = gateway.accepted.saturating_add(accepted);
        gateway.missing = gateway.missing.saturating_add(missing);
        gateway.last_at = gateway.last_at.max(Some(last_at));
    }
    Ok(found.into_iter().map(|(name, gateway)| GatewayStatus { gateway: name, ..gateway }).collect())
}

/// The providers that gateways have tried lately, by name.
pub(crate) fn providers(
    reader: &mut LedgerReader,
    catalogue: Option<&Catalogue>,
    now: Timestamp,
) -> Result<Vec<ProviderStatus>, LedgerError> {
    let from = Timestamp::from_millis(now.as_millis().saturating_sub(HOUR_MS));
    let found = reader.provider_health(from, now)?;
    Ok(found.into_iter().map(|health| ProviderStatus::of(health, catalogue)).collect())
}

impl ProviderStatus {
    fn of(health: ProviderHealth, catalogue: Option<&Catalogue>) -> Self {
        let (mut cost, mut unpriced) = (None, 0_u64);
        for model in &health.models {
            let tokens = model.unanswered_input_tokens;
            match catalogue.and_then(|catalogue| catalogue.model(&model.model)) {
                _ if tokens == 0 => {}
                Some(known) => cost = Some(cost.unwrap_or(0) + u128::from(tokens) * u128::from(known.price.input)),
                None => unpriced += tokens,
            }
        }
        let cost = cost.map(|cost: u128| u64::try_from(cost.div_ceil(TOKENS_OF_PRICE)).unwrap_or(u64::MAX));
        ProviderStatus {
            health,
            currency: cost.and(catalogue).map(|catalogue| catalogue.says.routing.currency.clone()),
            possible_cost: cost.map(decimal),
            unpriced_input_tokens: unpriced,
        }
    }
}

/// The gateway in a source's name: `/weir/GATEWAY/LIFE`.
fn gateway_of(source: &str) -> Option<&str> {
    source.strip_prefix("/weir/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_falls_silent_without_a_word_is_a_problem() {
        let now = Timestamp::from_secs(10_000);
        let gateway = |workers, last| GatewayStatus {
            gateway: "gw-1".to_owned(),
            workers,
            last_at: Some(Timestamp::from_secs(last)),
            ..GatewayStatus::default()
        };
        assert_eq!(gateway(2, 9_500).problem(now), None);
        assert_eq!(gateway(0, 9_000).problem(now), None, "it has ended");
        let problem = gateway(2, 9_000).problem(now).expect("silent");
        assert!(problem.contains("gw-1") && problem.contains("16 minutes"), "{problem}");
    }

    #[test]
    fn all_that_is_wrong_is_told_with_what_to_do() {
        let ledger = LedgerView { balanced: true, ..LedgerView::default() };
        let running = Some(ServerStatus::default());
        let now = Timestamp::from_secs(10_000);
        let well = SystemStatus::of(now, running.clone(), Default::default(), (&ledger, AlertsStatus::default()), None);
        assert_eq!(well.problems, [""; 0]);
        let stopped = SystemStatus::of(now, None, Default::default(), (&ledger, AlertsStatus::default()), None);
        assert!(stopped.problems[0].contains("no server runs"), "{stopped:?}");
        let full = ServerStatus { log: Some("the disk is full".to_owned()), ..ServerStatus::default() };
        let status = StatusView { lag_seconds: 9_000, ..StatusView::default() };
        let billing = BillingStatus::of(&status, None, None);
        let ill = SystemStatus::of(
            now,
            Some(full),
            Default::default(),
            (&ledger, AlertsStatus::default()),
            Some((billing, &status)),
        );
        assert_eq!(ill.problems.len(), 2, "{ill:?}");
        assert!(ill.problems[0].contains("disk is full") && ill.problems[1].contains("weir stripe status"), "{ill:?}");
    }
}
