//! JSON numbers as decimals: `2.5e-06` is 0.0000025, to the digit.
use weir_ledger::amount::{PICO, Pico};

use super::super::decimal::{PER_MILLION_DECIMALS, PER_UNIT_DECIMALS, PerMillion, PerUnit};

/// A price, and whether it is the number itself or a rounded one.
pub(super) type Price<T> = (T, bool);

/// The price of a million tokens, from the number for one token.
pub(super) fn per_token(text: &str) -> Option<Price<PerMillion>> {
    let (amount, exact) = scaled(text, 6, PER_MILLION_DECIMALS)?;
    Some((PerMillion::of(amount)?, exact))
}

/// The price of a million tokens, from the number for a million.
pub(super) fn per_million(text: &str) -> Option<Price<PerMillion>> {
    let (amount, exact) = scaled(text, 0, PER_MILLION_DECIMALS)?;
    Some((PerMillion::of(amount)?, exact))
}

/// The price of a unit.
pub(super) fn per_unit(text: &str) -> Option<Price<PerUnit>> {
    let (amount, exact) = scaled(text, 0, PER_UNIT_DECIMALS)?;
    Some((PerUnit::of(amount)?, exact))
}

/// The number times ten to the power of `shift`, rounded half to even to `decimals`, and whether nothing was rounded. None if
/// it is no number that is 0 or more, or far out of range.
fn scaled(text: &str, shift: i32, decimals: usize) -> Option<(Pico, bool)> {
    let text = text.trim().trim_matches('"');
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i128 = digits.parse().ok()?;
    let decimals = i32::try_from(decimals).ok()?;
    // The number is `value` times ten to this power, counted in the last decimal that is kept.
    let power = exponent + shift + decimals - i32::try_from(fraction.len()).ok()?;
    let unit = PICO / 10_i128.pow(decimals.unsigned_abs());
    if value == 0 {
        return Some((Pico::ZERO, true));
    }
    if power >= 0 {
        let counted = value.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?;
        return Some((Pico(counted.checked_mul(unit)?), true));
    }
    let Some(divisor) = 10_i128.checked_pow(power.unsigned_abs()) else { return Some((Pico::ZERO, false)) };
    let (counted, rest) = (value / divisor, value % divisor);
    let up = (rest * 2).cmp(&divisor).then(if counted % 2 == 1 {
        std::cmp::Ordering::Greater
    } else {
        std::cmp::Ordering::Less
    });
    Some((Pico((counted + i128::from(up.is_gt())) * unit), rest == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_digit() {
        let cases = [
            ("2.5e-06", "2.5", true),
            ("0.0000025", "2.5", true),
            ("1e-07", "0.1", true),
            ("0.0", "0", true),
            ("\"0.00000125\"", "1.25", true),
            ("8.33333e-10", "0.000833", false),
            ("5e-13", "0", false),
            ("15e-13", "0.000002", false),
        ];
        for (text, million, exact) in cases {
            let (price, is_exact) = per_token(text).expect(text);
            assert_eq!((price.to_string().as_str(), is_exact), (million, exact), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for text in ["-1", "null", "\"\"", "true", "{}", "1e400", "1e9"] {
            assert!(per_token(text).is_none(), "{text}");
        }
    }
}
