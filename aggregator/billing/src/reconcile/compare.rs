//! Finds the causes why the two sums of one hour, customer and meter differ. Pure.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::outbox::Hold;
use crate::subsets;

/// Summaries usually show an event within minutes. A missing row that was accepted less than this long ago, in
/// milliseconds, counts as lag.
pub(crate) const LAG_MS: u64 = 60 * 60 * 1000;
/// The most uncertain rows of one hour for which every combination is tried.
const OPEN_MAX: usize = 12;

/// Why an hour differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The window is over and has no row yet; the next report makes one.
    NotClosed,
    /// The row waits for an attempt.
    Pending,
    /// The row is under way, or its answer was lost.
    InFlight,
    /// The row was accepted recently, and summaries lag.
    Lag,
    /// The row is held for a person.
    Held,
    /// The provider accepted the row and later reported an error in it.
    RefusedLater,
    /// No row of the outbox explains the difference.
    Unexplained,
    /// The provider did not answer.
    NotCompared,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 8] = [
        Cause::NotClosed,
        Cause::Pending,
        Cause::InFlight,
        Cause::Lag,
        Cause::Held,
        Cause::RefusedLater,
        Cause::Unexplained,
        Cause::NotCompared,
    ];

    /// The cause as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::NotClosed => "not_closed",
            Cause::Pending => "pending",
            Cause::InFlight => "in_flight",
            Cause::Lag => "lag",
            Cause::Held => "held",
            Cause::RefusedLater => "refused_later",
            Cause::Unexplained => "unexplained",
            Cause::NotCompared => "not_compared",
        }
    }

    /// Returns true if the difference will not resolve itself.
    pub fn needs_a_person(self) -> bool {
        matches!(self, Cause::Held | Cause::RefusedLater | Cause::Unexplained | Cause::NotCompared)
    }
}

/// The part of a difference that one cause explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseAmount {
    /// The cause.
    pub why: Cause,
    /// Details: the reason of a hold, the code of an error, the provider's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The number of rows concerned.
    pub rows: u64,
    /// The provider's surplus over the outbox by this cause; negative if the provider has less.
    pub value: i64,
}

/// The state of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Held,
    Reported { at: Timestamp },
}

/// The fields of an outbox row that matter for the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) tenant: String,
    pub(crate) value: i64,
    pub(crate) state: State,
    /// The reason of the hold.
    pub(crate) reason: Option<String>,
    /// True if a call is under way, or one ended with an unknown outcome.
    pub(crate) in_doubt: bool,
    /// The error that the provider later found in the row.
    pub(crate) refused_later: Option<String>,
}

/// A time in which the provider found more errors than it lists. Any row accepted in it may be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) code: String,
}

/// Whether the provider has a row, as far as the outbox knows.
enum Known {
    There,
    Absent(Cause, Option<String>),
    Open(Cause, Option<String>),
}

/// The causes by which `theirs` differs from the sum of `rows`; empty if both agree.
pub(crate) fn causes(rows: &[Row], theirs: i64, suspects: &[Suspect], now: Timestamp) -> Vec<CauseAmount> {
    let ours: i64 = rows.iter().map(|row| row.value).sum();
    let mut rest = theirs - ours;
    let (mut causes, mut open) = (Vec::new(), Vec::new());
    for row in rows {
        match known(row, suspects, now) {
            Known::There => {}
            Known::Absent(why, detail) => {
                rest += row.value;
                add(&mut causes, why, detail, row.value);
            }
            Known::Open(why, detail) => open.push((why, detail, row.value)),
        }
    }
    if rest == 0 {
        return causes;
    }
    match missing(&open, -rest) {
        Some(chosen) => chosen.into_iter().for_each(|(why, detail, value)| add(&mut causes, why, detail, value)),
        None => causes.push(CauseAmount { why: Cause::Unexplained, detail: None, rows: 0, value: rest }),
    }
    causes
}

fn known(row: &Row, suspects: &[Suspect], now: Timestamp) -> Known {
    if let Some(code) = &row.refused_later {
        return Known::Absent(Cause::RefusedLater, Some(code.clone()));
    }
    match row.state {
        State::Pending if row.in_doubt => Known::Open(Cause::InFlight, None),
        State::Pending => Known::Absent(Cause::Pending, None),
        State::Held => {
            let doubtful = [Hold::Unsure, Hold::Restored, Hold::TakenElsewhere].map(Hold::as_str);
            let open = row.in_doubt || row.reason.as_deref().is_some_and(|reason| doubtful.contains(&reason));
            let known = if open { Known::Open } else { Known::Absent };
            known(Cause::Held, row.reason.clone())
        }
        State::Reported { at } => {
            if now.millis_since(at) < LAG_MS {
                return Known::Open(Cause::Lag, None);
            }
            match suspects.iter().find(|suspect| suspect.from <= at && at <= suspect.to) {
                Some(suspect) => Known::Open(Cause::RefusedLater, Some(suspect.code.clone())),
                None => Known::There,
            }
        }
    }
}

type Open = (Cause, Option<String>, i64);

/// The smallest subset of `open` whose values add up to `sum`.
fn missing(open: &[Open], sum: i64) -> Option<Vec<Open>> {
    if open.len() > OPEN_MAX {
        let all: i64 = open.iter().map(|(_, _, value)| value).sum();
        return (all == sum).then(|| open.to_vec());
    }
    let amounts: Vec<i64> = open.iter().map(|(_, _, value)| *value).collect();
    let fewest = subsets::making(&amounts, sum).min_by_key(|choice| choice.count_ones())?;
    let chosen = open.iter().enumerate().filter(|(number, _)| subsets::is_chosen(fewest, *number));
    Some(chosen.map(|(_, row)| row.clone()).collect())
}

fn add(causes: &mut Vec<CauseAmount>, why: Cause, detail: Option<String>, missing: i64) {
    match causes.iter_mut().find(|cause| cause.why == why && cause.detail == detail) {
        Some(cause) => {
            cause.rows += 1;
            cause.value -= missing;
        }
        None => causes.push(CauseAmount { why, detail, rows: 1, value: -missing }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn row(state: State, value: i64) -> Row {
        Row { tenant: "acme".to_owned(), value, state, reason: None, in_doubt: false, refused_later: None }
    }

    fn old(value: i64) -> Row {
        row(State::Reported { at: Timestamp::from_secs(1) }, value)
    }

    fn young(value: i64) -> Row {
        row(State::Reported { at: NOW }, value)
    }

    fn held(value: i64, reason: &str) -> Row {
        Row { reason: Some(reason.to_owned()), ..row(State::Held, value) }
    }

    fn why(rows: &[Row], theirs: i64) -> Vec<(Cause, i64)> {
        causes(rows, theirs, &[], NOW).iter().map(|cause| (cause.why, cause.value)).collect()
    }

    #[test]
    fn sums_that_agree_have_no_cause() {
        assert_eq!(why(&[], 0), []);
        assert_eq!(why(&[old(7), old(-2)], 5), []);
        assert_eq!(why(&[old(7), young(3)], 10), [], "young, and there already");
    }

    #[test]
    fn what_waits_is_missing_there() {
        assert_eq!(why(&[old(7), row(State::Pending, 3)], 7), [(Cause::Pending, -3)]);
        assert_eq!(why(&[old(7), held(3, "invoiced")], 7), [(Cause::Held, -3)]);
        assert_eq!(
            why(&[old(7), row(State::Pending, 3), held(2, "refused")], 7),
            [(Cause::Pending, -3), (Cause::Held, -2)]
        );
    }

    #[test]
    fn what_may_be_there_is_no_difference_where_it_is() {
        let doubtful = Row { in_doubt: true, ..row(State::Pending, 3) };
        assert_eq!(why(&[old(7), doubtful.clone()], 10), []);
        assert_eq!(why(&[old(7), doubtful], 7), [(Cause::InFlight, -3)]);
        assert_eq!(why(&[held(4, "unsure")], 4), []);
        assert_eq!(why(&[held(4, "unsure")], 0), [(Cause::Held, -4)]);
    }

    #[test]
    fn the_fewest_young_rows_explain_what_is_missing() {
        assert_eq!(why(&[young(1), young(2), young(3)], 3), [(Cause::Lag, -3)]);
        assert_eq!(causes(&[young(1), young(2), young(3)], 3, &[], NOW)[0].rows, 1);
    }

    #[test]
    fn what_nothing_explains_is_said_to_the_unit() {
        assert_eq!(why(&[old(7)], 9), [(Cause::Unexplained, 2)]);
        assert_eq!(why(&[], 9), [(Cause::Unexplained, 9)]);
        assert_eq!(why(&[old(7), young(3)], 8), [(Cause::Unexplained, -2)]);
    }

    #[test]
    fn a_pending_row_whose_amount_is_there_already_is_not_passed_over() {
        assert_eq!(why(&[row(State::Pending, 3)], 3), [(Cause::Pending, -3), (Cause::Unexplained, 3)]);
    }

    #[test]
    fn an_error_report_explains_what_was_taken_and_is_not_there() {
        let wrong = Row { refused_later: Some("archived_meter".to_owned()), ..old(5) };
        assert_eq!(why(&[old(7), wrong], 7), [(Cause::RefusedLater, -5)]);
        let suspect = Suspect { from: Timestamp::from_secs(0), to: Timestamp::from_secs(2), code: "c".to_owned() };
        let suspects = [suspect];
        assert_eq!(causes(&[old(7), old(5)], 7, &suspects, NOW)[0].why, Cause::RefusedLater);
        assert_eq!(causes(&[old(7), old(5)], 6, &suspects, NOW)[0].why, Cause::Unexplained);
    }

    proptest! {
        /// For any rows and any sum of the provider, the causes add up to the difference.
        #[test]
        fn causes_always_add_up(
            values in prop::collection::vec((-50i64..50, 0u8..6), 0..16), theirs in -200i64..200,
        ) {
            let rows: Vec<Row> = values.iter().map(|(value, kind)| match kind {
                0 => old(*value),
                1 => young(*value),
                2 => row(State::Pending, *value),
                3 => Row { in_doubt: true, ..row(State::Pending, *value) },
                4 => held(*value, "refused"),
                _ => held(*value, "unsure"),
            }).collect();
            let ours: i64 = rows.iter().map(|row| row.value).sum();
            let causes = causes(&rows, theirs, &[], NOW);
            let total: i64 = causes.iter().map(|cause| cause.value).sum();
            // Without causes the sums agree.
            prop_assert_eq!(total, theirs - ours);
        }
    }
}
