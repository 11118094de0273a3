//! Queries and views of the ledger: the HTTP interface sends them, and the commands print them.
pub mod cost;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::{SecuritySample, Timestamp};

/// A query for usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Only this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only this meter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// Only windows from this moment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// A row per hour instead of one over all hours.
    #[serde(default)]
    pub hourly: bool,
}

/// The usage of one tenant on one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The window's start; absent when summed over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Timestamp>,
    /// The tenant.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// Billed units.
    pub billable: u64,
    /// Units measured and excluded from billing.
    pub excluded: u64,
    /// Units that the billing provider has accepted; signed, as corrections may be negative.
    pub reported: i64,
}

/// A query for usage by dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysisQuery {
    /// The dimensions, with commas between them: `model,class`.
    pub by: String,
    /// Only this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only windows from this moment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// The usage of one tenant under one combination of values. For analysis only: nothing is billed from it, and it
/// expires. Of a tenant with very many combinations in an hour, the last ones appear as `(other)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalysisRow {
    /// The tenant.
    pub tenant: String,
    /// The values, in the order asked for.
    pub values: Vec<String>,
    /// Requests of any outcome.
    pub requests: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens from a cache.
    pub cache_read_tokens: u64,
    /// Output tokens spent thinking.
    pub reasoning_tokens: u64,
}

/// Refusals of one tenant for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The tenant; empty if it was not identified.
    pub tenant: String,
    /// The reason code.
    pub reason: String,
    /// The number of refusals.
    pub count: u64,
}

/// Answer to `GET /v1/usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// By window, tenant and meter.
    pub usage: Vec<UsageRow>,
    /// By tenant and reason.
    pub refused: Vec<RefusedRow>,
}

/// The numbers of one source. `accepted + quarantined + missing = last`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// The source.
    pub source: String,
    /// The highest number seen or announced.
    pub last: u64,
    /// Numbers counted, each once.
    pub accepted: u64,
    /// Numbers refused for good.
    pub quarantined: u64,
    /// Numbers not seen.
    pub missing: u64,
    /// The first missing ranges, inclusive; at most [`MISSING_RANGES_SHOWN`].
    pub missing_ranges: Vec<(u64, u64)>,
    /// Repeats of events that were already counted or refused.
    pub duplicates: u64,
    /// Events with the id or number of another event.
    pub conflicts: u64,
    /// Events that left as log lines, as the source reports.
    pub spilled: u64,
    /// True if the source said that no number follows.
    pub closed: bool,
    /// When its first event was received.
    pub first_at: Timestamp,
    /// When its latest event was received.
    pub last_at: Timestamp,
}

/// The most missing ranges shown for one source.
pub(crate) const MISSING_RANGES_SHOWN: usize = 20;

/// The most sources listed by name. Those with missing, conflicting or quarantined events come first.
pub(crate) const SOURCES_SHOWN: usize = 1_000;

/// The sums of one meter over all tenants and windows. `accepted = billable + Σ excluded`;
/// `billable + adjusted = reported + pending + held + settled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterView {
    /// The meter.
    pub meter: String,
    /// Units measured.
    pub accepted: u64,
    /// Units billed or to be billed.
    pub billable: u64,
    /// Units excluded from billing, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// Units added by hand; signed.
    #[serde(default)]
    pub adjusted: i64,
    /// Units that the billing provider has accepted; signed, as corrections may be negative.
    pub reported: i64,
    /// Units still to be sent: pending rows, and open windows.
    pub pending: i64,
    /// Units of rows that are held for a person.
    pub held: i64,
    /// What a person has settled: billed by other means, or not billed.
    #[serde(default)]
    pub settled: i64,
    /// Fractions of all tenants that wait to become whole units, as a decimal: measured, and not yet billable.
    #[serde(default)]
    pub carried: String,
    /// True if both equations hold.
    pub balanced: bool,
}

/// The sums over all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTotals {
    /// The number of sources.
    pub sources: u64,
    /// Numbers counted.
    pub accepted: u64,
    /// Numbers refused for good.
    pub quarantined: u64,
    /// Numbers not seen.
    pub missing: u64,
    /// Repeats.
    pub duplicates: u64,
    /// Events with the id or number of another event.
    pub conflicts: u64,
    /// Events that left as log lines.
    pub spilled: u64,
}

/// Answer to `GET /v1/ledger`: the numbers that must balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// The ledger's name.
    pub ledger: String,
    /// The position of the last counted record.
    pub position: u64,
    /// The position of the log's last record.
    pub log_position: u64,
    /// Events that wait because they are ahead of the clock.
    pub early: u64,
    /// Refused events in quarantine, by reason.
    pub quarantine: BTreeMap<String, u64>,
    /// Refused events dropped from quarantine for want of room.
    #[serde(default)]
    pub quarantine_dropped: u64,
    /// Sources dropped because they were silent for as long as the log keeps bodies, and missed no number.
    #[serde(default)]
    pub sources_dropped: u64,
    /// Events counted without tracking their source, because there were too many sources.
    #[serde(default)]
    pub events_unbooked: u64,
    /// Units that no cost includes, since they have no price, by kind.
    #[serde(default)]
    pub unpriced: BTreeMap<String, u64>,
    /// Findings about the borders between tenants since the ledger's beginning, by kind.
    #[serde(default)]
    pub security: BTreeMap<String, u64>,
    /// Attempts at providers since the ledger's beginning: all (`made`), and those that failed, by reason.
    #[serde(default)]
    pub attempts: BTreeMap<String, u64>,
    /// Findings and searches dropped for want of room, by table.
    #[serde(default)]
    pub audit_dropped: BTreeMap<String, u64>,
    /// The sums over all sources.
    pub totals: SourceTotals,
    /// The single sources.
    pub sources: Vec<SourceView>,
    /// The single meters.
    pub meters: Vec<MeterView>,
    /// True if every equation holds.
    pub balanced: bool,
}

impl LedgerView {
    /// What a person has to look at, and what to do.
    pub fn problems(&self) -> Vec<String> {
        let refused: u64 = self.quarantine.values().sum();
        let missing = self.totals.missing;
        let mut problems = Vec::new();
        if !self.balanced {
            problems.push("an equation does not hold: stop the server and run `weir ledger rebuild`".to_owned());
        }
        if missing > 0 {
            problems.push(format!("{missing} events are missing: replay the gateways' logs with `weir replay`"));
        }
        if refused > 0 {
            problems.push(format!("{refused} events are refused and kept: see `weir quarantine list`"));
        }
        if self.events_unbooked > 0 {
            problems.push(format!("{} events are counted whose sources are not tracked", self.events_unbooked));
        }
        problems
    }
}

/// A query for the audit of the borders between tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityQuery {
    /// Only this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only from this moment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// A finding about the borders between tenants, of one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRow {
    /// The minute's start.
    pub minute: Timestamp,
    /// The tenant whose request it was; empty if no credential proved one.
    pub tenant: String,
    /// What was found: `foreign_record`, `refused_operation`, …
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The operation, by weir's name of it.
    pub operation: String,
    /// The route; empty if none matched.
    pub route: String,
    /// How often; of records and ids, how many.
    pub count: u64,
    /// Whose records or ids they were, where that is known.
    pub owners: Vec<String>,
    /// The first requests.
    pub samples: Vec<SecuritySample>,
}

/// A search of a vector store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRow {
    /// When it ended.
    pub at: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// The gateway's id of the request.
    pub request_id: String,
    /// The store.
    pub store: String,
    /// The collection as the tenant names it.
    pub collection: String,
    /// The operation, by weir's name of it.
    pub operation: String,
    /// The status that the client saw.
    pub status: u16,
    /// The tenant's own records that reached it.
    pub results: u64,
    /// Records that were taken out, by owner.
    pub removed: BTreeMap<String, u64>,
}

/// An action of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it was done.
    pub at: Timestamp,
    /// The token's name, or a phrase for commands run on this machine.
    pub who: String,
    /// The action.
    pub act: String,
    /// Its parameters and result.
    pub detail: String,
}

/// Body of `POST /v1/audit`: an action that a command did without the server, or in many requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// The action: 1 to [`AUDIT_ACT_MAX_BYTES`] bytes.
    pub act: String,
    /// Its parameters and result: at most [`AUDIT_DETAIL_MAX_BYTES`] bytes.
    #[serde(default)]
    pub detail: String,
}

/// The longest `act` accepted, in bytes.
pub const AUDIT_ACT_MAX_BYTES: usize = 64;

/// The longest `detail` accepted, in bytes.
pub const AUDIT_DETAIL_MAX_BYTES: usize = 1_000;

/// Selects refused events. An absent field matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineQuery {
    /// Refused for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A refused event that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedEvent {
    /// Why, as a word.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// The source it claims, if it claims one.
    pub source: Option<String>,
    /// The number it claims.
    pub sequence: Option<u64>,
    /// How often it came.
    pub times: u64,
    /// When it first came.
    pub received_at: Timestamp,
    /// Its bytes, as text.
    pub event: String,
}

/// The most refused events listed in one answer, the latest first.
pub(crate) const QUARANTINED_SHOWN: u32 = 500;

/// Body of `POST /v1/quarantine/drop`: which refused events a person lets go, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// Refused for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why they need not be counted; the audit keeps it.
    pub why: String,
}

impl DropRequest {
    /// Which events are meant.
    pub fn query(&self) -> QuarantineQuery {
        QuarantineQuery { reason: self.reason.clone(), source: self.source.clone() }
    }
}

/// Refused events that were let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropView {
    /// How many.
    pub dropped: u64,
}

/// A source in short: one worker of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The source.
    pub source: String,
    /// Numbers counted.
    pub accepted: u64,
    /// Numbers not seen.
    pub missing: u64,
    /// True if the source said that no number follows.
    pub closed: bool,
    /// When its latest event was received.
    pub last_at: Timestamp,
}

/// What became of refused events that were judged again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryView {
    /// Accepted now, and counted.
    pub accepted: u64,
    /// Refused as before, and still kept.
    pub refused: u64,
}
