//! Exact amounts of money. Nothing is ever rounded: a price per million tokens has at most six decimals, so an amount has
//! at most twelve.
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Trillionths in one unit of a currency.
pub const PICO: i128 = 1_000_000_000_000;
/// The most decimals of an amount.
pub const DECIMALS_MAX: usize = 12;
/// The most digits before the point of an amount that people write: far beyond any amount of money, and every sum of such amounts fits.
const WHOLE_MAX_DIGITS: usize = 15;
/// The most digits before the point of a sum: every amount that [`Display`](fmt::Display) writes reads back, however large a slip in a
/// price made it.
const SUM_MAX_DIGITS: usize = 26;

/// An amount of money, in trillionths of a currency's unit. Its currency stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pico(pub i128);

impl Pico {
    /// Nothing.
    pub const ZERO: Pico = Pico(0);

    /// Reads a decimal such as `12.5` or `-0.000001` that a person wrote; None if it is malformed, too long or has more than
    /// [`DECIMALS_MAX`] decimals.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, WHOLE_MAX_DIGITS)
    }

    /// Returns true if people may write the amount: it has few enough digits before the point.
    pub fn is_writable(self) -> bool {
        self.0.unsigned_abs() < 10_u128.pow(WHOLE_MAX_DIGITS as u32) * PICO.unsigned_abs()
    }

    fn read(text: &str, whole_max_digits: usize) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let fits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !fits(whole) || whole.len() > whole_max_digits || !fits(decimals) || decimals.len() > DECIMALS_MAX {
            return None;
        }
        let pico = format!("{decimals:0<12}").parse::<i128>().ok()?;
        let amount = whole.parse::<i128>().ok()?.checked_mul(PICO)?.checked_add(pico)?;
        Some(Pico(if negative { -amount } else { amount }))
    }

    /// `count` times this amount; None if that leaves the range of an amount.
    pub fn times(self, count: u64) -> Option<Self> {
        self.0.checked_mul(i128::from(count)).map(Pico)
    }

    /// The amount as whole units, rounded down, and trillionths from 0 to [`PICO`]: the columns of a database.
    pub fn columns(self) -> (i64, i64) {
        // Sums stay far below the range of whole units; one beyond it would be a bug that must not become another sum.
        let units = i64::try_from(self.0.div_euclid(PICO)).unwrap_or(i64::MAX);
        (units, self.0.rem_euclid(PICO) as i64)
    }

    /// The amount of two columns, or of sums of such columns.
    pub(crate) fn of_columns(units: i64, pico: i64) -> Self {
        Pico(i128::from(units) * PICO + i128::from(pico))
    }
}

impl fmt::Display for Pico {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, rest) = (magnitude / PICO.unsigned_abs(), magnitude % PICO.unsigned_abs());
        if rest == 0 {
            return f.pad(&format!("{sign}{whole}"));
        }
        f.pad(format!("{sign}{whole}.{rest:012}").trim_end_matches('0'))
    }
}

impl Add for Pico {
    type Output = Pico;

    fn add(self, other: Pico) -> Pico {
        Pico(self.0 + other.0)
    }
}

impl Sub for Pico {
    type Output = Pico;

    fn sub(self, other: Pico) -> Pico {
        Pico(self.0 - other.0)
    }
}

impl Neg for Pico {
    type Output = Pico;

    fn neg(self) -> Pico {
        Pico(-self.0)
    }
}

impl AddAssign for Pico {
    fn add_assign(&mut self, other: Pico) {
        self.0 += other.0;
    }
}

impl SubAssign for Pico {
    fn sub_assign(&mut self, other: Pico) {
        self.0 -= other.0;
    }
}

impl Sum for Pico {
    fn sum<I: Iterator<Item = Pico>>(amounts: I) -> Pico {
        amounts.fold(Pico::ZERO, Add::add)
    }
}

impl Serialize for Pico {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads sums as well as amounts that people write; checks of the latter ask [`Pico::is_writable`].
impl<'de> Deserialize<'de> for Pico {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = weir_contract::Text::deserialize(deserializer)?;
        Pico::read(&text, SUM_MAX_DIGITS).ok_or_else(|| {
            de::Error::custom(format_args!(
                "{:?} is not a decimal with at most {DECIMALS_MAX} decimals, such as 12.5",
                &*text
            ))
        })
    }
}

/// A currency: three letters (ISO 4217), kept in upper case. Amounts of two currencies are never added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// US dollars, in which most providers charge.
    pub const USD: Currency = Currency(*b"USD");

    /// Reads a code in either case; None if it is not three letters.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphabetic).then(|| Currency(code.map(|b| b.to_ascii_uppercase())))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = weir_contract::Text::deserialize(deserializer)?;
        Currency::parse(&text).ok_or_else(|| {
            de::Error::custom(format_args!("{:?} is not a currency: write three letters, such as USD or EUR", &*text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> Pico {
        Pico::parse(text).expect("an amount")
    }

    #[test]
    fn amounts_are_exact_and_written_short() {
        for text in ["0", "1", "-1", "12.5", "-0.000000000001", "999999999999999.999999999999"] {
            assert_eq!(pico(text).to_string(), text);
        }
        assert_eq!(pico("007.10").to_string(), "7.1");
        assert_eq!(pico("0.1") + pico("0.2"), pico("0.3"));
        assert_eq!(pico("0.0000025").times(1_000_000), Some(pico("2.5")));
    }

    #[test]
    fn columns_hold_every_amount() {
        for text in ["0", "0.000000000001", "-0.000000000001", "-3.25", "123456.789"] {
            let (units, rest) = pico(text).columns();
            assert!((0..PICO as i64).contains(&rest), "{text}");
            assert_eq!(Pico::of_columns(units, rest), pico(text));
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "+1", "--1", "1e3", "1,5", "0.0000000000001", "1000000000000000", " 1"] {
            assert_eq!(Pico::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_sum_reads_back_and_people_write_fifteen_digits_at_most() {
        for sum in [Pico(i128::MAX / 2), -Pico(i128::MAX / 2), pico("999999999999999.5")] {
            let json = serde_json::to_string(&sum).expect("JSON");
            assert_eq!(serde_json::from_str::<Pico>(&json).expect(&json), sum);
        }
        assert!(pico("-999999999999999.999999999999").is_writable());
        assert!(!Pico(1_000_000_000_000_000 * PICO).is_writable());
        assert!(serde_json::from_str::<Pico>("\"99999999999999999999999999999999999999\"").is_err(), "beyond any sum");
    }

    #[test]
    fn currencies_are_three_letters() {
        assert_eq!(Currency::parse("eur").map(|c| c.to_string()).as_deref(), Some("EUR"));
        for text in ["", "EU", "EURO", "E1R", "€"] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
    }
}
