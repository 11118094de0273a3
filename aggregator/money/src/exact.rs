//! Arithmetic on amounts that prices and shares need: products, fractions, and rounding as invoices round.
use crate::amount::{Currency, PICO, Pico};

/// The largest amount of a product, 10^21 currency units: sums of a hundred thousand such amounts still fit.
const PRODUCT_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000_000;

/// Products and fractions of amounts.
pub trait Exact: Copy {
    /// The price of `quantity` units; at most 10^21 currency units.
    fn of_units(self, quantity: u64) -> Pico;

    /// This amount times `numerator / denominator`, half away from zero; at most 10^21 currency units. A denominator of zero counts
    /// as one.
    fn scaled(self, numerator: i128, denominator: i128) -> Pico;

    /// The whole number of the currency's smallest units (cents), half away from zero.
    fn minor_units(self, currency: Currency) -> i128;

    /// True if the amount is less than nothing.
    fn is_negative(self) -> bool;
}

impl Exact for Pico {
    fn of_units(self, quantity: u64) -> Pico {
        bounded(self.0.saturating_mul(i128::from(quantity)))
    }

    fn scaled(self, numerator: i128, denominator: i128) -> Pico {
        bounded(scale(self.0, numerator, if denominator == 0 { 1 } else { denominator }))
    }

    fn minor_units(self, currency: Currency) -> i128 {
        divide(self.0, PICO / 10_i128.pow(minor_digits(currency)))
    }

    fn is_negative(self) -> bool {
        self.0 < 0
    }
}

fn bounded(pico: i128) -> Pico {
    Pico(pico.clamp(-PRODUCT_MAX, PRODUCT_MAX))
}

/// `value * numerator / denominator`, half away from zero, without an overflow between.
fn scale(value: i128, numerator: i128, denominator: i128) -> i128 {
    if let Some(product) = value.checked_mul(numerator) {
        return divide(product, denominator);
    }
    // Whole multiples first, so that only the remainder is multiplied.
    let (whole, rest) = (value / denominator, value % denominator);
    let rest = rest
        .checked_mul(numerator)
        .map_or_else(|| (rest / denominator).saturating_mul(numerator), |rest| divide(rest, denominator));
    whole.saturating_mul(numerator).saturating_add(rest)
}

/// A quotient, half away from zero.
pub(crate) fn divide(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    let up = rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs();
    if up && rest != 0 { quotient + if (value < 0) == (by < 0) { 1 } else { -1 } } else { quotient }
}

/// The digits of the smallest unit that Stripe charges in a currency.
pub fn minor_digits(currency: Currency) -> u32 {
    const NONE: [&str; 16] = [
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
    ];
    const THREE: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
    match currency.as_str() {
        code if NONE.contains(&code) => 0,
        code if THREE.contains(&code) => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> Pico {
        Pico::parse(text).expect("an amount")
    }

    #[test]
    fn invoices_round_half_away_from_zero_to_the_smallest_unit_of_their_currency() {
        let eur = Currency::parse("eur").expect("a currency");
        let yen = Currency::parse("JPY").expect("a currency");
        assert_eq!(pico("0.005").minor_units(eur), 1);
        assert_eq!(pico("0.004999").minor_units(eur), 0);
        assert_eq!(pico("-0.005").minor_units(eur), -1);
        assert_eq!(pico("12.5").minor_units(yen), 13);
    }

    #[test]
    fn a_fraction_of_a_large_amount_does_not_overflow() {
        assert_eq!(scale(i128::MAX / 4, 2, 4), divide(i128::MAX / 4, 2));
        assert_eq!(pico("10").scaled(1, 3), pico("3.333333333333"));
        assert_eq!(pico("20").scaled(1, 3), pico("6.666666666667"));
        assert_eq!(pico("999999999999999").of_units(u64::MAX), Pico(PRODUCT_MAX));
    }
}
