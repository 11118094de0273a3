//! What the HTTP interface answers and the commands print: one set of types for both.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_contract::Timestamp;

use crate::outbox::Hold;
use crate::reading::Reading;

/// How usage is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Only this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only this meter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// From this window on.
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
    /// What is billed.
    pub billable: u64,
    /// What was measured and is not billed.
    pub excluded: u64,
    /// What the billing provider has taken; signed, since corrections are.
    pub reported: i64,
}

/// How usage is asked for by dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysisQuery {
    /// The dimensions, with commas between them: `model,class`.
    pub by: String,
    /// Only this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// From this window on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Windows that start before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// What one tenant used under one combination of values. For looking at: nothing is billed from it, it expires, and of a
/// tenant with very many combinations in an hour the last ones are `(other)`.
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

/// How often a tenant was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The tenant; empty where nobody was known.
    pub tenant: String,
    /// The reason code.
    pub reason: String,
    /// How often.
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

/// The books of one source. `accepted + quarantined + missing = last`.
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
    /// The first of the ranges that are missing, inclusive; at most [`MISSING_RANGES_SHOWN`].
    pub missing_ranges: Vec<(u64, u64)>,
    /// Repeats of events that are counted or refused already.
    pub duplicates: u64,
    /// Events with the id or number of another.
    pub conflicts: u64,
    /// How many events left as log lines, by the source's own account.
    pub spilled: u64,
    /// Whether it said that no number follows.
    pub closed: bool,
    /// When its first event was received.
    pub first_at: Timestamp,
    /// And its latest.
    pub last_at: Timestamp,
}

/// The most missing ranges shown for one source.
pub const MISSING_RANGES_SHOWN: usize = 20;
/// The most sources listed by name; those with something missing, conflicting or quarantined come first.
pub const SOURCES_SHOWN: usize = 1_000;

/// The sums of one meter over all tenants and windows. `accepted = billable + Σ excluded`;
/// `billable + adjusted = reported + pending + held + settled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterView {
    /// The meter.
    pub meter: String,
    /// Everything that was measured.
    pub accepted: u64,
    /// What is billed.
    pub billable: u64,
    /// What is not, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// What was added to it by hand; signed.
    #[serde(default)]
    pub adjusted: i64,
    /// What the billing provider has taken; signed, since corrections are.
    pub reported: i64,
    /// What it will be sent: rows that wait, and windows that are open.
    pub pending: i64,
    /// What waits for a person.
    pub held: i64,
    /// What a person has settled: billed by other means, or not billed.
    #[serde(default)]
    pub settled: i64,
    /// Fractions of all tenants that wait to become whole units, as a decimal: measured, and not yet billable.
    #[serde(default)]
    pub carried: String,
    /// Whether both equations hold.
    pub balanced: bool,
}

/// The sums of the books of all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTotals {
    /// How many sources there are.
    pub sources: u64,
    /// Numbers counted.
    pub accepted: u64,
    /// Numbers refused for good.
    pub quarantined: u64,
    /// Numbers not seen.
    pub missing: u64,
    /// Repeats.
    pub duplicates: u64,
    /// Events with the id or number of another.
    pub conflicts: u64,
    /// Events that left as log lines.
    pub spilled: u64,
}

/// Answer to `GET /v1/ledger`: the numbers of the invariants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// The ledger's name.
    pub ledger: String,
    /// The last record that is counted.
    pub position: u64,
    /// The last record of the log.
    pub log_position: u64,
    /// Events that wait because they are ahead of the clock.
    pub early: u64,
    /// Refused events that are kept, by reason.
    pub quarantine: BTreeMap<String, u64>,
    /// Refused events that are kept no longer, since there were too many.
    #[serde(default)]
    pub quarantine_dropped: u64,
    /// Sources that are forgotten: silent for as long as the log keeps bodies, and missing nothing.
    #[serde(default)]
    pub sources_dropped: u64,
    /// Events that were counted though no books are kept of their sources, since there were too many.
    #[serde(default)]
    pub events_unbooked: u64,
    /// All sources together.
    pub totals: SourceTotals,
    /// Each source.
    pub sources: Vec<SourceView>,
    /// Each meter.
    pub meters: Vec<MeterView>,
    /// Whether every equation holds.
    pub balanced: bool,
}

/// Answer to `GET /v1/events/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// The log record it came in.
    pub position: u64,
    /// Its place there, from 0.
    pub item: usize,
    /// When it was received.
    pub received_at: Timestamp,
    /// The hour it is counted in.
    pub window: Timestamp,
    /// The event as it came.
    pub event: serde_json::Value,
}

/// Answer to `GET /v1/readings/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingView {
    /// The log record it came in.
    pub position: u64,
    /// Its place there, from 0.
    pub item: usize,
    /// When it was received.
    pub received_at: Timestamp,
    /// The hour it is counted in.
    pub window: Timestamp,
    /// The reading.
    pub reading: Reading,
}

/// Body of `POST /v1/report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// Close windows as if it were this moment. For tests and demonstrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Decide anew about rows that are held.
    #[serde(default)]
    pub retry_held: bool,
    /// Of these only; without it about all that are held.
    #[serde(default, skip_serializing_if = "RetryFilter::is_all")]
    pub retry_only: RetryFilter,
}

/// Which held rows are decided about anew: those that fit everything it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryFilter {
    /// By number; at most [`ROWS_SHOWN`]. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<i64>,
    /// Of this customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Held for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Hold>,
}

impl RetryFilter {
    /// Whether it leaves no row out.
    pub fn is_all(&self) -> bool {
        *self == RetryFilter::default()
    }
}

/// What a report did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportView {
    /// Rows made from closed windows.
    pub created: u64,
    /// Rows the provider took in this run.
    pub reported: u64,
    /// Rows that wait for another attempt.
    pub pending: u64,
    /// Held rows that were let go.
    #[serde(default)]
    pub released: u64,
    /// Rows that wait for a person, by reason.
    pub held: BTreeMap<String, u64>,
    /// Why the run ended early, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Whether the time of a run was over before everything was sent: report again.
    #[serde(default)]
    pub more: bool,
}

impl ReportView {
    /// The same with what the run after it did.
    #[must_use]
    pub fn followed_by(self, next: ReportView) -> Self {
        ReportView {
            created: self.created + next.created,
            reported: self.reported + next.reported,
            released: self.released + next.released,
            ..next
        }
    }
}

/// How a person settles a held row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It is billed by other means: an invoice item, say.
    Invoiced,
    /// It is not billed.
    Void,
}

impl Settlement {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Settlement::Invoiced => "invoiced",
            Settlement::Void => "void",
        }
    }
}

/// Body of `POST /v1/stripe/settle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// Held rows, by number; at most [`ROWS_SHOWN`].
    pub rows: Vec<i64>,
    /// How.
    #[serde(rename = "as")]
    pub outcome: Settlement,
    /// By what: the invoice or invoice item. May be left out of what is void; at most 200 bytes.
    #[serde(rename = "ref", default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Why, in at most 500 bytes.
    pub why: String,
}

/// A row that was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledRow {
    /// Its number.
    pub row: i64,
    /// The window's start.
    pub window: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// How much; signed.
    pub value: i64,
    /// Why it was held.
    pub reason: String,
}

/// Body of `POST /v1/stripe/errors/seen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRequest {
    /// What was done about them, in at most 500 bytes.
    pub why: String,
}

/// Answer to `POST /v1/stripe/errors/seen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenView {
    /// Errors that are acknowledged now.
    pub errors: u64,
    /// Reports that could not be read, and are acknowledged.
    pub reports: u64,
}

/// Body of `POST /v1/adjust`: a correction by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjustRequest {
    /// The tenant.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// A moment in the window that is corrected.
    pub window: Timestamp,
    /// By how much; signed, not 0.
    #[serde(deserialize_with = "whole_number")]
    pub value: i64,
    /// Why, in at most 500 bytes.
    pub why: String,
}

/// A whole number, also where it is written as `12.0`.
fn whole_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    whole(&number).ok_or_else(|| serde::de::Error::custom(format!("{number} is no whole number")))
}

/// A number as a whole one, if it is one exactly: `12`, `12.0`, not `12.5` nor what a double cannot tell from its neighbour.
pub(crate) fn whole(number: &serde_json::Number) -> Option<i64> {
    /// Below this, 2^53, every whole number is a double of its own.
    const EXACT_MAX: i64 = 1 << 53;
    let text = number.to_string();
    let value: i64 = text.strip_suffix(".0").unwrap_or(&text).parse().ok()?;
    (value.abs() < EXACT_MAX).then_some(value)
}

/// The row that a correction by hand became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustView {
    /// Its number.
    pub row: i64,
    /// The start of its window.
    pub window: Timestamp,
    /// Why it is held, if it is.
    pub held: Option<String>,
}

/// One row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// Its number.
    pub id: i64,
    /// The window's start.
    pub window: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// 0 for the window's sum, above it corrections.
    pub revision: i64,
    /// How much; signed.
    pub value: i64,
    /// `pending`, `reported` or `held`.
    pub state: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// What the provider said last.
    pub detail: Option<String>,
    /// The customer it goes to.
    pub customer: Option<String>,
    /// The identifier of its meter event.
    pub identifier: Option<String>,
    /// How often it was sent.
    pub attempts: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Answer to `GET /v1/stripe`: how the reporting stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingView {
    /// Rows the provider has taken.
    pub reported: u64,
    /// Rows that wait for an attempt.
    pub pending: u64,
    /// Rows that wait for a person.
    pub held: u64,
    /// Rows that a person has settled: billed by other means, or not billed.
    #[serde(default)]
    pub settled: u64,
    /// Held rows by reason.
    #[serde(default)]
    pub held_by_reason: BTreeMap<String, u64>,
    /// The oldest window that is over and not taken, but for what is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_open: Option<Timestamp>,
    /// Rows that are pending or held, oldest first; at most [`ROWS_SHOWN`].
    pub rows: Vec<OutboxRow>,
}

/// The most outbox rows listed in one answer.
pub const ROWS_SHOWN: usize = 500;

/// Something an administrator had done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The token's name, or the commands of the machine.
    pub who: String,
    /// What.
    pub act: String,
    /// With what, and with what result.
    pub detail: String,
}

/// Body of `POST /v1/audit`: what a command did that the server has no part in, or many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// What: 1 to [`AUDIT_ACT_MAX_BYTES`] bytes.
    pub act: String,
    /// With what, and with what result: at most [`AUDIT_DETAIL_MAX_BYTES`] bytes.
    #[serde(default)]
    pub detail: String,
}

/// The longest `act` that is noted on request, in bytes.
pub const AUDIT_ACT_MAX_BYTES: usize = 64;
/// The longest `detail` that is noted on request, in bytes.
pub const AUDIT_DETAIL_MAX_BYTES: usize = 1_000;

/// Body of `POST /v1/users/forget`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// The user, as events name them: `hmac:` and hex digits.
    pub user: String,
}

/// What forgetting a user did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetView {
    /// Records of the event log that named the user.
    pub records: u64,
    /// Events in quarantine, or ahead of the clock, that did.
    pub events: u64,
}
