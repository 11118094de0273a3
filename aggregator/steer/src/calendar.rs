//! When the periods of budgets begin.
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as Step, ToSpan};
use weir_contract::Timestamp;
use weir_ledger::periods::Anchor;

use crate::file::Span;

/// A period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after it; None for a budget without periods.
    pub end: Option<Timestamp>,
}

impl Period {
    /// Whether a moment lies in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// The period that contains a window's start. `anchor`: of the tenant's billing periods.
pub(crate) fn period(span: Span, zone: &TimeZone, anchor: impl FnOnce() -> Anchor, at: Timestamp) -> Period {
    let step: Step = match span {
        Span::Total => return Period { start: Timestamp::default(), end: None },
        Span::BillingPeriod => {
            let period = anchor().period(at);
            return Period { start: period.start, end: Some(period.end) };
        }
        Span::Day => 1.days(),
        Span::Week => 7.days(),
        Span::Month => 1.months(),
    };
    // The local day of the window's last moment: its start may lie before a midnight that is cut to the same hour.
    let last = at.hour().plus_millis(weir_contract::time::HOUR_MS - 1);
    let today = local(last, zone);
    let first = match span {
        Span::Week => today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).unwrap_or(today),
        Span::Month => today.first_of_month(),
        _ => today,
    };
    let next = first.checked_add(step).unwrap_or(first);
    Period { start: beginning(first, zone), end: Some(beginning(next, zone)) }
}

fn local(at: Timestamp, zone: &TimeZone) -> Date {
    let at = i64::try_from(at.as_millis()).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.unwrap_or_default().to_zoned(zone.clone()).date()
}

/// The hour of UTC in which a day begins.
fn beginning(date: Date, zone: &TimeZone) -> Timestamp {
    let start = date.to_zoned(zone.clone()).ok();
    let millis = start.and_then(|start| u64::try_from(start.timestamp().as_millisecond()).ok());
    Timestamp::from_millis(millis.unwrap_or(0)).hour()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn of(span: Span, zone: &str, time: &str) -> (String, String) {
        let zone = TimeZone::get(zone).expect("a zone");
        let period = period(span, &zone, Anchor::default, at(time));
        (period.start.to_string(), period.end.map_or(String::new(), |end| end.to_string()))
    }

    #[test]
    fn days_weeks_and_months_begin_in_their_zone() {
        let case = |span, zone, time, start: &str, end: &str| {
            assert_eq!(of(span, zone, time), (format!("{start}.000Z"), format!("{end}.000Z")), "{zone} {time}");
        };
        case(Span::Day, "UTC", "2026-11-28T13:00:00Z", "2026-11-28T00:00:00", "2026-11-29T00:00:00");
        case(Span::Day, "Europe/Berlin", "2026-11-27T23:00:00Z", "2026-11-27T23:00:00", "2026-11-28T23:00:00");
        case(Span::Week, "UTC", "2026-11-28T13:00:00Z", "2026-11-23T00:00:00", "2026-11-30T00:00:00");
        case(Span::Month, "America/New_York", "2026-12-01T04:00:00Z", "2026-11-01T04:00:00", "2026-12-01T05:00:00");
        // Midnight in India lies in the middle of an hour of UTC; the day begins with that hour.
        case(Span::Day, "Asia/Kolkata", "2026-11-28T18:00:00Z", "2026-11-28T18:00:00", "2026-11-29T18:00:00");
    }

    #[test]
    fn a_day_on_which_clocks_change_is_an_hour_shorter() {
        let (start, end) = of(Span::Day, "Europe/Berlin", "2026-03-29T10:00:00Z");
        assert_eq!((at(&end).millis_since(at(&start))) / 3_600_000, 23);
    }

    #[test]
    fn a_budget_without_periods_begins_with_time_itself() {
        let period = period(Span::Total, &TimeZone::UTC, Anchor::default, at("2026-11-28T13:00:00Z"));
        assert_eq!(period, Period { start: Timestamp::default(), end: None });
    }

    proptest! {
        #[test]
        fn periods_hold_their_windows_and_follow_each_other(
            secs in 1_000_000_000u64..4_000_000_000, span in 0..3usize, zone in 0..5usize,
        ) {
            let span = [Span::Day, Span::Week, Span::Month][span];
            let zone = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"][zone];
            let zone = TimeZone::get(zone).expect("a zone");
            let window = Timestamp::from_secs(secs).hour();
            let found = period(span, &zone, Anchor::default, window);
            let end = found.end.expect("it ends");
            prop_assert!(found.holds(window));
            prop_assert_eq!(period(span, &zone, Anchor::default, end).start, end);
            let last = Timestamp::from_millis(end.as_millis() - 1).hour();
            prop_assert_eq!(period(span, &zone, Anchor::default, last), found);
        }
    }
}
