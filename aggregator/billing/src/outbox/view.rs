//! Requests and views of the outbox, as the HTTP interface and the commands use them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, Row, params};

use super::Hold;
use weir_ledger::LedgerError;
use weir_ledger::totals::Totals;

/// Body of `POST /v1/report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// Closes windows as if it were this moment. For tests and demonstrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Chooses again for held rows.
    #[serde(default)]
    pub retry_held: bool,
    /// Restricts the retry to these rows; otherwise it covers all held ones.
    #[serde(default, skip_serializing_if = "RetryFilter::is_all")]
    pub retry_only: RetryFilter,
}

/// Selects held rows for a new decision. A row must match all given fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryFilter {
    /// By number; at most [`ROWS_SHOWN`]. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "weir_contract::whole::numbers")]
    pub rows: Vec<i64>,
    /// The rows of this customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Held for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Hold>,
}

impl RetryFilter {
    /// Whether it leaves no row out.
    pub(crate) fn is_all(&self) -> bool {
        *self == RetryFilter::default()
    }
}

/// The result of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportView {
    /// Rows made from closed windows.
    pub created: u64,
    /// Rows that the provider accepted in this run.
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
    #[serde(deserialize_with = "weir_contract::whole::numbers")]
    pub rows: Vec<i64>,
    /// How.
    #[serde(rename = "as")]
    pub outcome: Settlement,
    /// By what: the invoice or invoice item. May be left out of what is void; at most 200 characters.
    #[serde(rename = "ref", default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Why, in at most 500 characters.
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
    /// The amount to add; signed, not 0.
    #[serde(deserialize_with = "weir_contract::whole::number")]
    pub value: i64,
    /// The reason, at most 500 bytes.
    pub why: String,
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
    /// Its end, which no event in it reaches: an hour later, or sooner where a billing period begins or ends within the hour.
    #[serde(default)]
    pub until: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// 0 for the window's sum; corrections count up from 1.
    pub revision: i64,
    /// The amount; signed.
    pub value: i64,
    /// `pending`, `reported` or `held`.
    pub state: String,
    /// Why the row is held.
    pub reason: Option<String>,
    /// The provider's last message.
    pub detail: Option<String>,
    /// The customer it goes to.
    pub customer: Option<String>,
    /// The identifier of its meter event.
    pub identifier: Option<String>,
    /// The number of attempts.
    pub attempts: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether a person added it by hand (`weir adjust`); else it is what was used.
    #[serde(default)]
    pub adjustment: bool,
}

/// The columns that a row is read from, in the order of [`read`].
pub(super) const COLUMNS: &str =
    "outbox.id, outbox.window_start, outbox.tenant, outbox.meter, outbox.revision, outbox.value,
    outbox.state, outbox.reason, outbox.detail, outbox.customer, outbox.identifier, outbox.attempts, outbox.created_at,
    CASE outbox.kind WHEN 'adjustment' THEN 1 ELSE 0 END,
    CASE WHEN outbox.window_end > outbox.window_start THEN outbox.window_end ELSE outbox.window_start + 3600000 END";
/// The first column after them.
pub(super) const NEXT: usize = 15;

/// Answer to `GET /v1/stripe`: the state of reporting.
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
    /// The oldest window that is over and not accepted; held rows do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_open: Option<Timestamp>,
    /// Rows that are pending or held, oldest first; of each at most [`ROWS_SHOWN`].
    pub rows: Vec<OutboxRow>,
}

/// The most outbox rows listed in one answer.
pub(crate) const ROWS_SHOWN: usize = 500;

/// Reads the state of reporting without single rows, in time that does not grow with their number.
pub fn totals(db: &mut Connection) -> Result<BillingView, LedgerError> {
    let tx = db.transaction()?;
    let totals = Totals::read(&tx)?;
    let rows = |state| totals.get("rows", state);
    // The first condition is redundant. It repeats the condition of the index `outbox_open`, which SQLite uses only
    // then.
    let sql = "SELECT min(window_start) FROM outbox WHERE state <> 'reported' AND state = 'pending'";
    let oldest: Option<u64> = tx.query_row(sql, [], |row| row.get(0))?;
    Ok(BillingView {
        reported: rows("reported"),
        pending: rows("pending"),
        held: rows("held"),
        settled: rows("settled"),
        held_by_reason: totals.of("held_rows"),
        oldest_open: oldest.map(time),
        rows: Vec::new(),
    })
}

/// Reads the state of reporting.
pub fn billing(db: &mut Connection) -> Result<BillingView, LedgerError> {
    let mut view = totals(db)?;
    let tx = db.transaction()?;
    // Each state by itself: many pending rows must not hide those that wait for a person. `+id`, since in the order of ids the plan would go
    // through every row that was ever reported.
    for state in ["held", "pending"] {
        let mut select = tx.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM outbox WHERE outbox.state <> 'reported' AND outbox.state = ?1 ORDER BY +outbox.id LIMIT ?2"
        ))?;
        let rows = select.query_map(params![state, ROWS_SHOWN as i64], read)?;
        view.rows.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    view.rows.sort_unstable_by_key(|row| row.id);
    Ok(view)
}

pub(super) fn read(row: &Row<'_>) -> Result<OutboxRow, weir_database::Error> {
    Ok(OutboxRow {
        id: row.get(0)?,
        window: time(row.get(1)?),
        tenant: row.get(2)?,
        meter: row.get(3)?,
        revision: row.get(4)?,
        value: row.get(5)?,
        state: row.get(6)?,
        reason: row.get(7)?,
        detail: row.get(8)?,
        customer: row.get(9)?,
        identifier: row.get(10)?,
        attempts: row.get(11)?,
        created_at: time(row.get(12)?),
        adjustment: row.get(13)?,
        until: time(row.get(14)?),
    })
}

pub(super) fn time(stored: u64) -> Timestamp {
    Timestamp::from_millis(stored)
}
