//! `weir explain`: breaks an invoice's line down into outbox rows, their windows and the single events.
//!
//! A period's invoice is the sum of the rows that the provider took with a time in that period. Each window of such a
//! row is broken down so that it adds up to the unit:
//!
//! ```text
//! billed here = events + no longer kept (or unexplained) + carried fractions
//!               - billed in other periods - waiting (pending, held, settled by hand) - not closed yet
//! ```
//!
//! Events and readings come from the event log and are judged as the ledger judged them: repeats, conflicts and
//! excluded events do not count. Where the log is pruned, the ledger's sums stand in for the events, and the answer
//! says so.
mod books;
mod events;
mod line;
pub mod period;
mod readings;
mod search;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::Place;

use period::Period;
pub use search::EventLine;
use weir_event_log::LogError;
use weir_event_log::place::LogPlace;
use weir_ledger::LedgerError;
use weir_ledger::meters::Meters;
use weir_ledger::meters::weight::NANO;
use weir_ledger::query::LedgerReader;

/// A question about an invoice's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The provider's name of the customer, or a tenant's id.
    pub customer: String,
    /// The provider's name of the meter, or weir's.
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
    /// Weir's name of the meter.
    pub meter: String,
    /// The provider's name of the meter.
    pub event_name: String,
    /// 0 for the window's sum; corrections count up from 1.
    pub revision: i64,
    /// The amount; signed.
    pub value: i64,
    /// `reported`, `pending` or `held`. Only `reported` rows are billed.
    pub state: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// The time that decides which period the row is billed in.
    pub billed_at: Timestamp,
    /// The identifier of its meter event.
    pub identifier: Option<String>,
    /// When the provider took it.
    pub reported_at: Option<Timestamp>,
    /// Who made an adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The reason of the adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// How a window adds up to the amount billed of it in the period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowLine {
    /// Its start.
    pub window: Timestamp,
    /// Its end.
    pub window_end: Timestamp,
    /// The tenant.
    pub tenant: String,
    /// Weir's name of the meter.
    pub meter: String,
    /// The number of single events found.
    pub events: u64,
    /// The sum of those events, as an exact decimal.
    pub of_events: String,
    /// Units completed here by fractions from other hours, less the fractions that this hour left to others. An exact
    /// decimal.
    pub carried: String,
    /// Units that the ledger counted and that no remaining event explains.
    pub without_events: i64,
    /// True if those units belong to expired events; otherwise they need an explanation.
    pub expired: bool,
    /// Units that the ledger counted for the window: `of_events + carried + without_events`.
    pub counted: i64,
    /// Units of rows that the provider took for another period.
    pub billed_elsewhere: i64,
    /// Units of rows that are pending or held.
    pub waiting: i64,
    /// Units that are not in a row yet.
    pub not_closed: i64,
    /// Units billed of the window in the period: `counted` less the three above.
    pub billed: i64,
}

/// The answer of `weir explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The customer, as asked for.
    pub customer: String,
    /// The meter, as asked for.
    pub meter: String,
    /// The period's start.
    pub from: Timestamp,
    /// The period's end.
    pub to: Timestamp,
    /// Units billed, by customer and provider's meter: the invoice's lines.
    pub invoice: BTreeMap<String, BTreeMap<String, i64>>,
    /// Units billed in total.
    pub billed: i64,
    /// The rows.
    pub rows: Vec<RowLine>,
    /// The windows.
    pub windows: Vec<WindowLine>,
    /// When the oldest batch still in the log was received.
    pub events_kept_since: Option<Timestamp>,
    /// True if events, carried fractions or expiry explain every unit.
    pub complete: bool,
    /// Single events, in the order of the log. Empty where the caller writes them elsewhere.
    pub events: Vec<EventLine>,
    /// Events beyond the most that one answer lists.
    pub events_left_out: u64,
}

/// Why an invoice's line cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The event log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The receiver of the events cannot write them.
    #[error("writing events: {0}")]
    Write(#[from] std::io::Error),
    /// The outbox has no such row.
    #[error(
        "the outbox has no row of customer {customer:?} and meter {meter:?} in this period; `weir usage` shows tenants and \
         meters, and `weir stripe status` what is not billed yet"
    )]
    Nothing {
        /// The customer, as asked for.
        customer: String,
        /// The meter, as asked for.
        meter: String,
    },
}

/// Explains a line from the files of ledger and log. Hands each single event to `take`, in the order of the log.
pub fn explain(
    ledger: &Place,
    log: &LogPlace,
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
    let mut log = log.reader()?;
    let found = events::find(log.as_mut(), &mut ledger, meters, &books.windows, take)?;
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

/// Writes billionths as a signed decimal.
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
