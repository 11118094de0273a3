//! Points in time as the contract writes them.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds in an hour: the length of a usage window.
pub const HOUR_MS: u64 = 3_600_000;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
///
/// In JSON an RFC 3339 date-time in UTC with three decimals: `2026-11-21T03:14:15.926Z`. More decimals are read and cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

#[cfg(feature = "schema")]
crate::text_schema!(Timestamp, "a time in UTC (RFC 3339)", "2026-11-21T03:14:15Z", "Z$");

/// The last moment RFC 3339 can write: 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch; beyond the year 9999 it is that year's last millisecond.
    pub const fn from_millis(millis: u64) -> Self {
        if millis > LAST_MS { Timestamp(LAST_MS) } else { Timestamp(millis) }
    }

    /// From whole seconds since the epoch, as JWT and Stripe write time.
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The start of its UTC hour: the usage window it belongs to.
    pub const fn hour(self) -> Self {
        Timestamp(self.0 - self.0 % HOUR_MS)
    }

    /// This time plus `millis`, at most the end of the year 9999.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`; 0 when the clock went backwards.
    pub const fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an RFC 3339 date-time in UTC (`…Z`).
    pub fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok().map(Self::from_millis)
    }

    /// As [`Timestamp::parse`] reads it.
    pub(crate) fn text(self) -> [u8; 24] {
        let (days, of_day) = (self.0 / 86_400_000, (self.0 % 86_400_000) as u32);
        let (year, month, day) = civil(days as u32);
        let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
        let ([a, b], [c, d]) = (two(year / 100), two(year % 100));
        let ([e, f], [g, h]) = (two(month), two(day));
        let ([i, j], [k, l], [m, n]) = (two(seconds / 3_600), two(seconds / 60 % 60), two(seconds % 60));
        let ([o, p], q) = (two(millis / 10), digit(millis));
        [a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p, q, b'Z']
    }

    fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

/// The last digit of a number.
const fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

/// The last two digits of a number.
const fn two(value: u32) -> [u8; 2] {
    [digit(value / 10), digit(value)]
}

/// Year, month and day of a day since 1970-01-01, by Howard Hinnant's `civil_from_days`: years that begin in March end with
/// the leap day.
const fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let in_next_year = month >= 10;
    let year = era * 400 + year + in_next_year as u32;
    (year, if in_next_year { month - 9 } else { month + 3 }, day)
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(self.system()))
    }
}

/// Every event is written with one, so this avoids `Display`, which takes ten times as long.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::text::Text::deserialize(deserializer)?;
        Timestamp::parse(&text)
            .ok_or_else(|| de::Error::custom("expected an RFC 3339 time in UTC, such as 2026-11-21T03:14:15.926Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_MS, Timestamp};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_time_is_written_with_milliseconds_and_read_back() {
        let time = Timestamp::from_millis(1_795_230_855_926);
        assert_eq!(time.to_string(), "2026-11-21T03:14:15.926Z");
        assert_eq!(Timestamp::parse("2026-11-21T03:14:15.926Z"), Some(time));
        assert_eq!(Timestamp::parse("2026-11-21T03:14:15.926535Z"), Some(time), "more decimals are cut");
    }

    #[test]
    fn every_day_is_written_as_it_is_shown() {
        for day in 0..=LAST_MS / 86_400_000 {
            let time = Timestamp::from_millis(day * 86_400_000 + day * 7_919 % 86_400_000);
            assert_eq!(std::str::from_utf8(&time.text()), Ok(&*time.to_string()));
        }
        assert_eq!(serde_json::to_string(&Timestamp::from_millis(LAST_MS)).unwrap(), "\"9999-12-31T23:59:59.999Z\"");
    }

    #[test]
    fn a_window_starts_at_the_utc_hour() {
        let hour = Timestamp::parse("2026-11-21T03:59:59.999Z").map(Timestamp::hour);
        assert_eq!(hour, Timestamp::parse("2026-11-21T03:00:00Z"));
    }

    #[test]
    fn what_is_no_time_in_utc_is_refused() {
        for text in
            ["", "yesterday", "2026-11-21", "2026-11-21T03:14:15+02:00", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_gone_mad_stays_writable() {
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
