//! Weeks of time zones against a reckoning that goes hour by hour.
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use weir_contract::Timestamp;
use weir_money::weeks::Week;

const HOUR_MS: u64 = 3_600_000;
/// Zones with clock changes on either half of the globe, of half and of whole hours, at midnight, and without any.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Cairo",
    "Pacific/Auckland",
];

/// True if the local day that an hour ends in is a Monday: a day that begins within an hour has all of the hour.
fn ends_in_monday(zone: &TimeZone, hour: u64) -> bool {
    let last = i64::try_from(hour + HOUR_MS - 1).expect("a time of this century");
    let local = jiff::Timestamp::from_millisecond(last).expect("a time").to_zoned(zone.clone());
    local.date().weekday() == Weekday::Monday
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_week_is_from_the_first_hour_of_monday_to_the_first_of_the_next(
        zone in 0..ZONES.len(), seconds in 1_600_000_000_u64..2_000_000_000,
    ) {
        let name = ZONES[zone];
        let zone = TimeZone::get(name).expect("a zone");
        let now = Timestamp::from_secs(seconds);
        let week = Week::current(now, name).expect("a week").period();
        let starts = |hour: u64| ends_in_monday(&zone, hour) && !ends_in_monday(&zone, hour - HOUR_MS);
        // Back to the start, and on to the end: the hour of `now` may be one that two weeks share.
        let from = (week.start.as_millis() - 8 * 24 * HOUR_MS..=week.end.as_millis() + 24 * HOUR_MS).step_by(HOUR_MS as usize);
        let begun: Vec<u64> = from.filter(|hour| starts(*hour)).collect();
        prop_assert!(begun.contains(&week.start.as_millis()), "{name}: {} begins no week", week.start);
        prop_assert!(begun.contains(&week.end.as_millis()), "{name}: {} begins no week", week.end);
        let between = begun.iter().filter(|hour| **hour > week.start.as_millis() && **hour < week.end.as_millis());
        prop_assert_eq!(between.count(), 0, "one week, not two");
        prop_assert!(week.start <= now && now.hour() <= week.end, "{}: {} is not in {:?}", name, now, week);
    }

    #[test]
    fn weeks_follow_each_other_without_a_gap(zone in 0..ZONES.len(), seconds in 1_600_000_000_u64..2_000_000_000, back in 1_i64..120) {
        let week = Week::current(Timestamp::from_secs(seconds), ZONES[zone]).expect("a week");
        prop_assert_eq!(week.earlier(back).period().end, week.earlier(back - 1).period().start);
    }
}
