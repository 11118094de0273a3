//! Amounts of readings: decimals, never floating-point numbers.
use std::fmt;

use serde::{Serialize, Serializer};

/// Millionths in one unit.
pub(crate) const MICRO: u64 = 1_000_000;

/// The most digits before the point: the same bound as for events, [`crate::validate::VALUE_MAX`].
const WHOLE_MAX_DIGITS: usize = 9;

/// An amount from 0 to 999999999.999999, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    /// Reads a decimal with at most six places; None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || whole.len() > WHOLE_MAX_DIGITS || !digits(decimals) || decimals.len() > 6 {
            return None;
        }
        let micro = format!("{decimals:0<6}").parse::<u64>().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(MICRO)?.checked_add(micro).map(Amount)
    }

    /// The amount in millionths.
    pub(crate) fn micro(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / MICRO, self.0 % MICRO);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{rest:06}").trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_written_short() {
        let pairs = [
            ("0", 0),
            ("0.000001", 1),
            ("12.5", 12_500_000),
            ("007.10", 7_100_000),
            ("999999999.999999", 999_999_999_999_999),
        ];
        for (text, micro) in pairs {
            assert_eq!(Amount::parse(text).map(Amount::micro), Some(micro), "{text}");
        }
        assert_eq!(Amount::parse("007.10").expect("an amount").to_string(), "7.1");
        assert_eq!(Amount::parse("10.000").expect("an amount").to_string(), "10");
    }

    #[test]
    fn what_is_no_decimal_negative_too_fine_or_too_large_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000001",
            "1000000000",
            "1 ",
            "NaN",
            "9".repeat(30).as_str(),
        ] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }
}
