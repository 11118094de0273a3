//! Reads single arguments; an error names what is expected.
use weir_billing::explain::period::Period;
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::Settlement;
use weir_contract::Timestamp;
use weir_contract::scopes::{Scopes, ScopesError};

pub(super) fn parse_settlement(text: &str) -> Result<Settlement, String> {
    let known = [Settlement::Invoiced, Settlement::Void];
    known.into_iter().find(|known| known.as_str() == text).ok_or_else(|| "expected invoiced or void".to_owned())
}

pub(super) fn parse_hold(text: &str) -> Result<Hold, String> {
    let names = || Hold::ALL.map(Hold::as_str).join(", ");
    Hold::ALL.into_iter().find(|hold| hold.as_str() == text).ok_or_else(|| format!("expected one of {}", names()))
}

/// The length of `2026-11-21T03:00`.
const MINUTE_LEN: usize = 16;

/// A moment: RFC 3339 in UTC, or the first one of a month, day, hour or minute.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let minute = || Timestamp::parse(&format!("{text}:00Z")).filter(|_| text.len() == MINUTE_LEN);
    let first = || Period::parse(text).ok().filter(|_| !text.contains('/')).map(|period| period.from);
    let wrong = "expected a time in UTC such as 2026-11-21T03:00:00Z, or a month, day, hour or minute: 2026-11, 2026-11-21, \
                 2026-11-21T03, 2026-11-21T03:15";
    Timestamp::parse(text).or_else(minute).or_else(first).ok_or_else(|| wrong.to_owned())
}

/// The number of something.
pub(super) fn parse_number(text: &str) -> Result<i64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number from 1 on".to_owned())
}

/// Scopes of a key, with commas between them.
pub(super) fn parse_scopes(text: &str) -> Result<Scopes, ScopesError> {
    Scopes::new(text.split(',').map(str::trim))
}

/// A day: `2026-11-28`. Returned as it is written.
pub(super) fn parse_day(text: &str) -> Result<String, String> {
    let is_day = text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some();
    if is_day { Ok(text.to_owned()) } else { Err("expected a day such as 2026-11-28".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_short_as_it_is_meant() {
        for (short, long) in [
            ("2026-11", "2026-11-01T00:00:00.000Z"),
            ("2026-11-28T17", "2026-11-28T17:00:00.000Z"),
            ("2026-11-28T17:57", "2026-11-28T17:57:00.000Z"),
            ("2026-11-28T17:57:30Z", "2026-11-28T17:57:30.000Z"),
        ] {
            assert_eq!(parse_time(short).expect(short), parse_time(long).expect(long));
        }
        for wrong in ["2026-11-28T17:5", "2026-11-28T25:57", "17:57", "2026-11/2026-12"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
