//! Calendar weeks in a time zone.
use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use weir_contract::Timestamp;
use weir_ledger::periods::Period;

/// A week from Monday to Sunday, with its moments cut to full hours: the ledger's windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Week {
    monday: Date,
    zone: TimeZone,
}

/// Why a week cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeekError {
    /// It is neither a week nor a day.
    #[error("{0:?} is no week; write 2026-W47, or one of its days: 2026-11-18")]
    Week(String),
    /// The zone is not known.
    #[error("{0:?} is no time zone; write one such as Europe/Berlin, or UTC")]
    Zone(String),
}

impl Week {
    /// The week that contains `now`.
    pub fn current(now: Timestamp, zone: &str) -> Result<Self, WeekError> {
        let zone = time_zone(zone)?;
        let at = i64::try_from(now.as_millis()).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        Ok(Week { monday: monday(at.unwrap_or_default().to_zoned(zone.clone()).date()), zone })
    }

    /// Reads `2026-W47`, or a day of the week.
    pub fn parse(text: &str, zone: &str) -> Result<Self, WeekError> {
        let zone = time_zone(zone)?;
        let of_week = || {
            let (year, week) = text.split_once("-W")?;
            ISOWeekDate::new(year.parse().ok()?, week.parse().ok()?, Weekday::Monday).ok().map(ISOWeekDate::date)
        };
        let date = of_week().or_else(|| text.parse::<Date>().ok().map(monday));
        date.map(|monday| Week { monday, zone }).ok_or_else(|| WeekError::Week(text.to_owned()))
    }

    /// The week this many weeks earlier.
    pub fn earlier(&self, weeks: i64) -> Self {
        let back: Span = (weeks * 7).days();
        Week { monday: self.monday.checked_sub(back).unwrap_or(self.monday), zone: self.zone.clone() }
    }

    /// Its first and its last day.
    pub fn days(&self) -> (String, String) {
        let sunday = self.monday.checked_add(6.days()).unwrap_or(self.monday);
        (self.monday.to_string(), sunday.to_string())
    }

    /// Its first moment, and that of the next. A zone whose days begin in the middle of an hour is cut to the hour.
    pub fn period(&self) -> Period {
        let next = self.monday.checked_add(7.days()).unwrap_or(self.monday);
        Period { start: self.at(self.monday), end: self.at(next) }
    }

    fn at(&self, date: Date) -> Timestamp {
        let start = date.to_zoned(self.zone.clone()).ok();
        let millis = start.and_then(|start| u64::try_from(start.timestamp().as_millisecond()).ok());
        Timestamp::from_millis(millis.unwrap_or(0)).hour()
    }
}

fn time_zone(name: &str) -> Result<TimeZone, WeekError> {
    TimeZone::get(name).map_err(|_| WeekError::Zone(name.to_owned()))
}

fn monday(date: Date) -> Date {
    let back: Span = i64::from(date.weekday().to_monday_zero_offset()).days();
    date.checked_sub(back).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(week: &str, zone: &str) -> (String, String) {
        let period = Week::parse(week, zone).expect("a week").period();
        (period.start.to_string(), period.end.to_string())
    }

    #[test]
    fn weeks_begin_on_monday_of_their_zone() {
        let utc = ("2026-11-16T00:00:00.000Z".to_owned(), "2026-11-23T00:00:00.000Z".to_owned());
        assert_eq!(period("2026-W47", "UTC"), utc);
        assert_eq!(period("2026-11-18", "UTC"), utc);
        assert_eq!(period("2026-11-22", "UTC"), utc);
    }

    #[test]
    fn the_week_of_a_clock_change_has_an_hour_more_or_less() {
        let hours = |week| {
            let period = Week::parse(week, "Europe/Berlin").expect("a week").period();
            period.end.millis_since(period.start) / 3_600_000
        };
        assert_eq!((hours("2026-03-25"), hours("2026-10-21"), hours("2026-07-01")), (167, 169, 168));
    }

    #[test]
    fn years_begin_in_the_middle_of_a_week_and_weeks_before_follow() {
        let week = Week::parse("2027-W01", "UTC").expect("a week");
        assert_eq!(week.period().start.to_string(), "2027-01-04T00:00:00.000Z");
        assert_eq!(week.earlier(1), Week::parse("2026-W53", "UTC").expect("a week"));
    }

    #[test]
    fn a_day_that_begins_within_an_hour_is_cut_to_it() {
        assert_eq!(period("2026-11-18", "Asia/Kolkata").0, "2026-11-15T18:00:00.000Z");
    }

    #[test]
    fn what_is_no_week_or_zone_is_refused_with_an_example() {
        assert!(Week::parse("2026-W54", "UTC").expect_err("no week").to_string().contains("2026-W47"));
        assert!(Week::parse("2026-W47", "Mars/Olympus").expect_err("no zone").to_string().contains("Europe/Berlin"));
    }
}
