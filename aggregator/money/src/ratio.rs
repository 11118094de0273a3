//! Ratios, in hundredths of a percent.
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::exact::divide;

/// A ratio in hundredths of a percent. In JSON a decimal: `"64.25"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub i64);

impl Percent {
    /// One hundred percent.
    pub const ALL: Percent = Percent(10_000);

    /// `part / whole`; None if the whole is not positive.
    pub fn of(part: i128, whole: i128) -> Option<Self> {
        if whole <= 0 {
            return None;
        }
        let hundredths = match part.checked_mul(i128::from(Self::ALL.0)) {
            Some(product) => divide(product, whole),
            None => divide(part, (whole / i128::from(Self::ALL.0)).max(1)),
        };
        let limits = i128::from(i64::MIN)..=i128::from(i64::MAX);
        Some(Percent(i64::try_from(hundredths.clamp(*limits.start(), *limits.end())).unwrap_or(i64::MAX)))
    }

    /// Returns true if `part / whole` is below this ratio, to the last digit: the ratio that is shown is rounded.
    pub(crate) fn is_above(self, part: i128, whole: i128) -> bool {
        let sides = (part.checked_mul(i128::from(Self::ALL.0)), whole.checked_mul(i128::from(self.0)));
        match sides {
            (Some(part), Some(whole)) => part < whole,
            _ => Percent::of(part, whole).is_some_and(|ratio| ratio < self),
        }
    }

    /// Whole percent.
    pub const fn whole(percent: i64) -> Self {
        Percent(percent * 100)
    }

    /// Reads a decimal with at most two places, from 0 to 10000.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('%').trim_end();
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 5) || !digits(decimals, 2) {
            return None;
        }
        let hundredths = whole.parse::<i64>().ok()? * 100 + format!("{decimals:0<2}").parse::<i64>().ok()?;
        (hundredths <= 1_000_000).then_some(Percent(hundredths))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, hundredths) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (sign, rest) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
        let parts = rest
            .split_once('.')
            .and_then(|(whole, rest)| Some((whole.parse::<i64>().ok()?, rest.parse::<i64>().ok()?)));
        let (whole, hundredths) = parts.ok_or_else(|| de::Error::custom(format_args!("{text:?} is no percentage")))?;
        Ok(Percent(sign * (whole.saturating_mul(100).saturating_add(hundredths))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_to_hundredths_of_a_percent() {
        assert_eq!(Percent::of(1, 3).map(|p| p.to_string()).as_deref(), Some("33.33"));
        assert_eq!(Percent::of(-1, 3).map(|p| p.to_string()).as_deref(), Some("-33.33"));
        assert_eq!(Percent::of(1, 0), None);
        assert_eq!(Percent::of(i128::MAX, i128::MAX / 2), Some(Percent(20_000)));
        assert_eq!(Percent::parse("12.5"), Some(Percent(1_250)));
        assert_eq!(Percent::parse("100 %"), Some(Percent::ALL));
        assert_eq!(Percent::parse("-1"), None);
    }

    #[test]
    fn a_ratio_is_read_back_as_it_is_written() {
        for ratio in [Percent(0), Percent(-5), Percent(123_456), Percent(-10_001)] {
            let json = serde_json::to_string(&ratio).expect("JSON");
            assert_eq!(serde_json::from_str::<Percent>(&json).expect("a ratio"), ratio);
        }
    }
}
