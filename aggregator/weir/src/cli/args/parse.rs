//! Reads single arguments; an error names what is expected.
use weir_billing::explain::period::Period;
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::Settlement;
use weir_contract::Timestamp;

pub(super) fn parse_settlement(text: &str) -> Result<Settlement, String> {
    let known = [Settlement::Invoiced, Settlement::Void];
    known.into_iter().find(|known| known.as_str() == text).ok_or_else(|| "expected invoiced or void".to_owned())
}

pub(super) fn parse_hold(text: &str) -> Result<Hold, String> {
    let names = || Hold::ALL.map(Hold::as_str).join(", ");
    Hold::ALL.into_iter().find(|hold| hold.as_str() == text).ok_or_else(|| format!("expected one of {}", names()))
}

/// A moment: RFC 3339 in UTC, or the first one of a month, day or hour.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let first = || Period::parse(text).ok().filter(|_| !text.contains('/')).map(|period| period.from);
    let wrong = "expected a time in UTC such as 2026-11-21T03:00:00Z, or a month, day or hour: 2026-11, 2026-11-21, 2026-11-21T03";
    Timestamp::parse(text).or_else(first).ok_or_else(|| wrong.to_owned())
}

/// A day: `2026-11-28`. Returned as it is written.
pub(super) fn parse_day(text: &str) -> Result<String, String> {
    let is_day = text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some();
    if is_day { Ok(text.to_owned()) } else { Err("expected a day such as 2026-11-28".to_owned()) }
}
