//! `weir explain`: from an invoice's line to the outbox rows it is made of, to their windows, to the single events.
//!
//! What is billed in a period is the sum of the rows that the provider took with a time in it. Each window that has such a
//! row is taken apart so that it adds up to the unit:
//!
//! ```text
//! billed here = events + no longer kept (or unexplained) + carried fractions
//!               - billed in other periods - waiting (pending, held, settled by hand) - not closed yet
//! ```
//!
//! Events, and readings beside them, are read from the event log, as the ledger read it: repeats, conflicts and what is not
//! billable do not count.
//! Where the log is pruned the sums of the ledger stand, and that is said.
mod books;
mod events;
mod line;
pub mod period;
mod readings;
mod search;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use period::Period;
pub use search::EventLine;
use weir_event_log::LogError;
use weir_event_log::sqlite::SqliteLogReader;
use weir_ledger::LedgerError;
use weir_ledger::meters::Meters;
use weir_ledger::meters::weight::NANO;
use weir_ledger::query::LedgerReader;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The provider's customer, or a tenant.
    pub customer: String,
    /// The provider's name of a meter, or ours.
    pub meter: String,
    /// The invoice's period.
    pub period: Period,
}

/// An outbox row of the invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLine {
    /// Its number.
    pub id: i64,
    /// `usage`, or `adjustment`.
    pub kind: String,
    /// The window's start.
    pub window: Timestamp,
    /// The window's end.
    pub window_end: Timestamp,
    /// The customer, if it has one.
    pub customer: Option<String>,
    /// The tenant.
    pub tenant: String,
    /// Our meter.
    pub meter: String,
    /// The provider's meter.
    pub event_name: String,
    /// 0 for the window's sum, above it corrections.
    pub revision: i64,
    /// How much; signed.
    pub value: i64,
    /// `reported`, `pending` or `held`. Only what is reported is billed.
    pub state: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// The time it was billed at.
    pub billed_at: Timestamp,
    /// The identifier of its meter event.
    pub identifier: Option<String>,
    /// When the provider took it.
    pub reported_at: Option<Timestamp>,
    /// Who made an adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// And why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// How a window comes to what is billed of it in the period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowLine {
    /// Its start.
    pub window: Timestamp,
    /// Its end.
    pub window_end: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// Our meter.
    pub meter: String,
    /// Single events that were found.
    pub events: u64,
    /// What they add up to, as an exact decimal.
    pub of_events: String,
    /// Fractions that other hours' events completed here, less those that this hour's events left to others.
    pub carried: String,
    /// What the ledger counted and no event shows any more.
    pub without_events: i64,
    /// Whether that is since events expire; else it needs an explanation.
    pub expired: bool,
    /// What the ledger counted: the sum of the four.
    pub counted: i64,
    /// Rows the provider took for another period.
    pub billed_elsewhere: i64,
    /// Rows that wait or are held.
    pub waiting: i64,
    /// What is not in a row yet.
    pub not_closed: i64,
    /// What is billed of it in the period: `counted` less those three.
    pub billed: i64,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainView {
    /// As it was asked for.
    pub customer: String,
    /// As it was asked for.
    pub meter: String,
    /// The period's start.
    pub from: Timestamp,
    /// The period's end.
    pub to: Timestamp,
    /// What is billed, by customer and provider's meter: the invoice's lines.
    pub invoice: BTreeMap<String, BTreeMap<String, i64>>,
    /// What is billed in all.
    pub billed: i64,
    /// The rows.
    pub rows: Vec<RowLine>,
    /// The windows.
    pub windows: Vec<WindowLine>,
    /// When the oldest batch that is still kept was received.
    pub events_kept_since: Option<Timestamp>,
    /// Whether every unit is found in events, carried or expired.
    pub complete: bool,
    /// Single events, in the order in which they came; left out where they are written elsewhere.
    pub events: Vec<EventLine>,
    /// Events that are not listed, since there are too many.
    pub events_left_out: u64,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Whoever takes the events.
    #[error("writing events: {0}")]
    Write(#[from] std::io::Error),
    /// Nothing like it.
    #[error(
        "the outbox has no row of customer {customer:?} and meter {meter:?} in this period; `weir usage` shows tenants and \
         meters, and `weir stripe status` what is not billed yet"
    )]
    Nothing {
        /// As it was asked for.
        customer: String,
        /// As it was asked for.
        meter: String,
    },
}

/// Explains, from the files of ledger and log, and hands each single event to `take`, in the order of the log.
pub fn explain(
    ledger: &Path,
    log: &Path,
    meters: &Meters,
    question: &Question,
    take: &mut dyn FnMut(EventLine) -> std::io::Result<()>,
) -> Result<ExplainView, ExplainError> {
    let mut ledger = LedgerReader::open(ledger)?;
    let books = books::read(ledger.db(), question)?;
    if books.rows.is_empty() {
        let Question { customer, meter, .. } = question.clone();
        return Err(ExplainError::Nothing { customer, meter });
    }
    let mut log = SqliteLogReader::open(log)?;
    let found = events::find(&mut log, &mut ledger, meters, &books.windows, take)?;
    let windows: Vec<WindowLine> =
        books.windows.iter().zip(&found.sums).map(|(window, sum)| line::line(window, sum, &found)).collect();
    let mut view = ExplainView {
        customer: question.customer.clone(),
        meter: question.meter.clone(),
        from: question.period.from,
        to: question.period.to,
        events_kept_since: found.kept_since,
        complete: windows.iter().all(|window| window.without_events == 0 || window.expired),
        windows,
        ..ExplainView::default()
    };
    for row in books.rows.iter().filter(|row| row.state == "reported") {
        view.billed += row.value;
        let customer = row.customer.clone().unwrap_or_default();
        *view.invoice.entry(customer).or_default().entry(row.event_name.clone()).or_default() += row.value;
    }
    view.rows = books.rows;
    Ok(view)
}

/// Billionths as a decimal, signed.
fn decimal(nano: i128) -> String {
    let (whole, rest) = (nano.unsigned_abs() / u128::from(NANO), nano.unsigned_abs() % u128::from(NANO));
    let sign = if nano < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{rest:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billionths_read_as_decimals() {
        for (nano, text) in [(0, "0"), (1_500_000_000, "1.5"), (-1, "-0.000000001"), (20_000_000_000, "20")] {
            assert_eq!(decimal(nano), text);
        }
    }
}
