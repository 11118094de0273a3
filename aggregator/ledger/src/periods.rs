//! Billing periods: their boundaries split windows and end invoices.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, OptionalExtension, params};

use super::LedgerError;

const DAY_MS: u64 = 24 * HOUR_MS;

/// The length of a billing period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// A calendar month. In a month without the anchor's day the period begins on the month's last day.
    #[default]
    Month,
    /// A calendar year.
    Year,
}

impl Interval {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Interval::Day => "day",
            Interval::Week => "week",
            Interval::Month => "month",
            Interval::Year => "year",
        }
    }

    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "day" => Interval::Day,
            "week" => Interval::Week,
            "year" => Interval::Year,
            _ => Interval::Month,
        }
    }
}

/// The start of one billing period, to the second. Periods repeat before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The start of one period.
    pub at: Timestamp,
    /// The length of each period.
    pub interval: Interval,
}

/// Calendar months, for customers whose anchor is unknown.
impl Default for Anchor {
    fn default() -> Self {
        Anchor { at: Timestamp::default(), interval: Interval::Month }
    }
}

/// A billing period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment of the period.
    pub start: Timestamp,
    /// The first moment of the next period.
    pub end: Timestamp,
}

impl Anchor {
    /// The period that contains `time`.
    pub fn period(&self, time: Timestamp) -> Period {
        let mut number = self.guess(time);
        while self.beginning(number) > time && self.beginning(number) > Timestamp::default() {
            number -= 1;
        }
        while self.beginning(number + 1) <= time {
            number += 1;
        }
        Period { start: self.beginning(number), end: self.beginning(number + 1) }
    }

    /// The start of a period in the middle of the hour that starts at `hour`, if there is one.
    pub fn within(&self, hour: Timestamp) -> Option<Timestamp> {
        let last = hour.plus_millis(HOUR_MS - 1);
        Some(self.period(last).start).filter(|start| *start > hour)
    }

    /// The number of a period at or near `time`; the caller adjusts it.
    fn guess(&self, time: Timestamp) -> i64 {
        match self.interval {
            Interval::Day => self.steps(time, DAY_MS),
            Interval::Week => self.steps(time, 7 * DAY_MS),
            Interval::Month | Interval::Year => {
                let (from, to) = (civil(self.at), civil(time));
                let years = i64::from(to.year()) - i64::from(from.year());
                match self.interval {
                    Interval::Year => years,
                    _ => years * 12 + i64::from(to.month()) - i64::from(from.month()),
                }
            }
        }
    }

    /// How many whole steps of `step_ms` there are from the anchor to `time`.
    fn steps(&self, time: Timestamp, step_ms: u64) -> i64 {
        let apart = i128::from(time.as_millis()) - i128::from(self.at.as_millis());
        i64::try_from(apart.div_euclid(i128::from(step_ms))).expect("2^64 milliseconds are fewer than 2^63 days")
    }

    /// The start of period `number`, counted from the anchor. Always computed from the anchor itself, so that an anchor
    /// on the 31st is not lost in short months.
    fn beginning(&self, number: i64) -> Timestamp {
        let span: Span = match self.interval {
            Interval::Day => number.days(),
            Interval::Week => (number * 7).days(),
            Interval::Month => number.months(),
            Interval::Year => number.years(),
        };
        let moved = civil(self.at).checked_add(span).ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
        let millis = moved.map_or(0, |at| at.timestamp().as_millisecond());
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

fn civil(time: Timestamp) -> DateTime {
    let time = i64::try_from(time.as_millis()).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    let time = time.unwrap_or_default();
    time.to_zoned(TimeZone::UTC).datetime()
}

/// The tenant's anchor: from the tenants file, else from the provider, else calendar months.
pub fn anchor_of(db: &Connection, tenant: &str) -> Result<Anchor, LedgerError> {
    let sql = "SELECT at, interval FROM anchor WHERE tenant = ?1 ORDER BY source = 'provider' LIMIT 1";
    let found = db.prepare_cached(sql)?.query_row([tenant], |row| read(row, 0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// Anchors that differ from the default, of one tenant or of all. Those that have left keep what the tenants file said of them last.
pub(crate) fn anchors(db: &Connection, tenant: Option<&str>) -> Result<HashMap<String, Anchor>, LedgerError> {
    let chosen = if tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT tenant, anchor_at AS at, anchor_interval AS interval, 1 AS first FROM tenant_plan AS noted
           WHERE plan IS NULL AND anchor_at IS NOT NULL AND {chosen}
             AND since = (SELECT max(since) FROM tenant_plan WHERE tenant = noted.tenant)
         UNION ALL SELECT tenant, at, interval, CASE WHEN source = 'tenants' THEN 2 ELSE 0 END FROM anchor
           WHERE {chosen} ORDER BY first"
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([tenant], |row| Ok((row.get(0)?, read(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(row: &weir_database::Row<'_>, first: usize) -> Result<Anchor, weir_database::Error> {
    let at: u64 = row.get(first)?;
    let interval: String = row.get(first + 1)?;
    Ok(Anchor { at: Timestamp::from_secs(at), interval: Interval::parse(&interval) })
}

/// Replaces the anchors of the tenants file. Hours that already have usage keep their windows. Returns true if an
/// anchor changed.
pub fn note_tenants_anchors(db: &Connection, anchors: &HashMap<String, Anchor>) -> Result<bool, LedgerError> {
    let mut select = db.prepare_cached("SELECT tenant, at, interval FROM anchor WHERE source = 'tenants'")?;
    let known = select.query_map([], |row| Ok((row.get(0)?, read(row, 1)?)))?;
    let known: HashMap<String, Anchor> = known.collect::<Result<_, _>>()?;
    if known == *anchors {
        return Ok(false);
    }
    for tenant in known.keys().filter(|tenant| !anchors.contains_key(*tenant)).collect::<BTreeSet<_>>() {
        db.prepare_cached("DELETE FROM anchor WHERE tenant = ?1 AND source = 'tenants'")?.execute([tenant])?;
    }
    for (tenant, anchor) in anchors.iter().collect::<BTreeMap<_, _>>() {
        if known.get(tenant) == Some(anchor) {
            continue;
        }
        write(db, tenant, "tenants", anchor)?;
    }
    Ok(true)
}

/// Notes the anchors of subscriptions, as the provider has them. A tenants file that names one goes first. Whether something
/// changed.
pub fn note_provider_anchors(db: &mut Connection, anchors: &[(String, Anchor)]) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    let mut changed = false;
    for (tenant, anchor) in anchors {
        let sql = "SELECT at, interval FROM anchor WHERE tenant = ?1 AND source = 'provider'";
        let known = tx.prepare_cached(sql)?.query_row([tenant], |row| read(row, 0)).optional()?;
        if known != Some(*anchor) {
            write(&tx, tenant, "provider", anchor)?;
            changed = true;
        }
    }
    tx.commit()?;
    Ok(changed)
}

fn write(db: &Connection, tenant: &str, source: &str, anchor: &Anchor) -> Result<(), LedgerError> {
    let sql = "INSERT INTO anchor(tenant, source, at, interval) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (tenant, source) DO UPDATE SET at = excluded.at, interval = excluded.interval";
    db.prepare_cached(sql)?.execute(params![tenant, source, anchor.at.as_secs(), anchor.interval.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn a_month_without_the_day_begins_on_its_last_one_and_the_next_has_it_again() {
        let anchor = Anchor { at: time("2026-01-31T10:37:22Z"), interval: Interval::Month };
        let february = anchor.period(time("2026-03-01T00:00:00Z"));
        assert_eq!(february, Period { start: time("2026-02-28T10:37:22Z"), end: time("2026-03-31T10:37:22Z") });
        assert_eq!(anchor.within(time("2026-02-28T10:00:00Z")), Some(time("2026-02-28T10:37:22Z")));
        assert_eq!(anchor.within(time("2026-02-28T11:00:00Z")), None);
        assert_eq!(anchor.within(time("2026-03-30T10:00:00Z")), None);
    }

    #[test]
    fn without_an_anchor_periods_are_calendar_months() {
        let period = Anchor::default().period(time("2026-11-21T03:14:15Z"));
        assert_eq!(period, Period { start: time("2026-11-01T00:00:00Z"), end: time("2026-12-01T00:00:00Z") });
        assert_eq!(Anchor::default().within(time("2026-11-01T00:00:00Z")), None, "at the full hour nothing is cut");
    }

    fn any_anchor() -> impl Strategy<Value = Anchor> {
        let interval =
            prop_oneof![Just(Interval::Day), Just(Interval::Week), Just(Interval::Month), Just(Interval::Year)];
        (0u64..4_000_000_000, interval).prop_map(|(at, interval)| Anchor { at: Timestamp::from_secs(at), interval })
    }

    proptest! {
        #[test]
        fn periods_hold_their_time_and_follow_each_other(anchor in any_anchor(), at in 1_000_000_000u64..4_000_000_000) {
            let at = Timestamp::from_secs(at);
            let period = anchor.period(at);
            prop_assert!(period.start <= at && at < period.end);
            prop_assert_eq!(anchor.period(period.end).start, period.end);
            prop_assert_eq!(anchor.period(Timestamp::from_millis(period.end.as_millis() - 1)), period);
            prop_assert_eq!(anchor.period(anchor.at).start, anchor.at);
        }

        #[test]
        fn an_hour_is_cut_exactly_where_a_period_begins_in_it(anchor in any_anchor(), at in 1_000_000_000u64..4_000_000_000) {
            let begins = anchor.period(Timestamp::from_secs(at)).start;
            let cut = anchor.within(begins.hour());
            prop_assert_eq!(cut, Some(begins).filter(|begins| *begins != begins.hour()));
            for second in [0, 1_799, 3_599] {
                let inside = begins.hour().plus_millis(second * 1_000);
                let side = cut.map_or(begins.hour(), |cut| if inside >= cut { cut } else { begins.hour() });
                prop_assert_eq!(anchor.period(inside), anchor.period(side), "a window lies in one period");
            }
        }
    }
}
