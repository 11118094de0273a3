//! The calendar month, or the billing period, that the address of a page names.
use weir_contract::Timestamp;
use weir_dashboard::{Block, Href};
use weir_ledger::periods::{Anchor, Period};

use crate::finance::bill::BillView;
use crate::finance::query::MarginQuery;
use crate::server::error::ApiError;

/// The parameters of an address.
const MONTH: &str = "month";
const AT: &str = "at";

/// A calendar month in UTC: the one that runs, or one that is over.
#[derive(Clone, Debug)]
pub(super) struct Month {
    period: Period,
    is_over: bool,
}

impl Month {
    /// The month of `asked`, such as `2026-10`; the one that runs where nothing is asked.
    pub(super) fn read(asked: &str, now: Timestamp) -> Result<Self, ApiError> {
        let current = Anchor::default().period(now);
        if asked.is_empty() {
            return Ok(Month { period: current, is_over: false });
        }
        let period = first_day(asked).map(|day| Anchor::default().period(day));
        let wrong = || ApiError::Request(format!("`month` is a month that has begun, such as 2026-10, not {asked:?}"));
        let period = period.filter(|period| period.start <= current.start).ok_or_else(wrong)?;
        Ok(Month { is_over: period != current, period })
    }

    /// The same as an address says it; empty for the month that runs.
    pub(super) fn asked(&self) -> String {
        if self.is_over { name(self.period.start) } else { String::new() }
    }

    /// An address of the same month.
    pub(super) fn of(&self, href: Href) -> Href {
        if self.is_over { href.with(MONTH, &self.asked()) } else { href }
    }

    /// A question about this month.
    pub(super) fn query(&self, query: MarginQuery) -> MarginQuery {
        let span = self.is_over.then_some(self.period);
        MarginQuery { from: span.map(|span| span.start), to: span.map(|span| span.end), ..query }
    }

    /// Its first moment, and the one after it or now.
    pub(super) fn span(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        (self.period.start, self.period.end.min(now))
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// As a sentence names it.
    pub(super) fn words(&self) -> String {
        if self.is_over { format!("in {}", self.asked()) } else { "this month".to_owned() }
    }

    /// Links from a page to the same of other months.
    pub(super) fn links(&self, page: &Href) -> Block {
        let month = |at: Timestamp| (name(at), page.clone().with(MONTH, &name(at)), false);
        let mut links = vec![month(before(self.period.start))];
        let here = if self.is_over { name(self.period.start) } else { "This month".to_owned() };
        links.push((here, self.of(page.clone()), true));
        if self.is_over {
            links.push(("This month".to_owned(), page.clone(), false));
        }
        Block::Tabs("Month".to_owned(), links)
    }
}

fn name(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

fn first_day(month: &str) -> Option<Timestamp> {
    if month.len() == 7 { Timestamp::parse(&format!("{month}-01T00:00:00Z")) } else { None }
}

fn before(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(1))
}

/// The moment of a billing period that an address names: a month, a day or a moment that is not ahead. None where it names none.
pub(super) fn moment(asked: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    if asked.is_empty() {
        return Ok(None);
    }
    let at = first_day(asked).or_else(|| Timestamp::parse(&format!("{asked}T00:00:00Z")));
    let at = at.or_else(|| Timestamp::parse(asked)).filter(|at| *at <= now);
    let wrong = || {
        ApiError::Request(format!(
            "`at` is a month, a day or a moment of a billing period that has begun, such as 2026-10, 2026-10-15 or \
             2026-10-15T12:00:00Z, not {asked:?}"
        ))
    };
    at.ok_or_else(wrong).map(Some)
}

/// An address of the same billing period; that of the one that runs says none.
pub(super) fn of_period(href: Href, bill: &BillView) -> Href {
    if bill.closed { href.with(AT, &bill.from.to_string()) } else { href }
}

/// Links from a page to the same of other billing periods.
pub(super) fn periods(bill: &BillView, page: &Href) -> Block {
    let at = |words: &str, at: Timestamp| (words.to_owned(), page.clone().with(AT, &at.to_string()), false);
    let mut links = vec![at("The billing period before", before(bill.from))];
    if bill.closed {
        links.push(at("The one after", bill.to));
        links.push(("The one that runs".to_owned(), page.clone(), false));
    }
    Block::Tabs("Billing periods".to_owned(), links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-21T12:30:00Z").expect("a moment")
    }

    #[test]
    fn a_month_that_has_begun_is_read_and_any_other_text_refused() {
        let month = |asked| Month::read(asked, now()).expect("a month");
        assert_eq!((month("2026-10").asked().as_str(), month("2026-10").words().as_str()), ("2026-10", "in 2026-10"));
        assert_eq!(month("2026-10").span(now()).1.to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!((month("").asked().as_str(), month("2026-11").asked().as_str()), ("", ""), "the one that runs");
        assert_eq!(month("").span(now()).1, now());
        for wrong in ["2026-12", "2026-13", "2026", "10-2026", "2026-10-01", "zzz", "last"] {
            assert!(Month::read(wrong, now()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_of_a_billing_period_is_a_month_a_day_or_a_moment() {
        let read = |asked| moment(asked, now()).map(|at| at.map(|at| at.to_string()));
        assert_eq!(read("2026-10").expect("a month").as_deref(), Some("2026-10-01T00:00:00.000Z"));
        assert_eq!(read("2026-10-15").expect("a day").as_deref(), Some("2026-10-15T00:00:00.000Z"));
        assert_eq!(read("2026-10-15T12:00:00Z").expect("a moment").as_deref(), Some("2026-10-15T12:00:00.000Z"));
        assert_eq!(read("").expect("none"), None);
        assert!(read("2027-01").is_err() && read("yesterday").is_err());
    }
}
