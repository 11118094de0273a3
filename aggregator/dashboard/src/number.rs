//! Numbers and times as people read them. A shortened number ends in `…`; the exact one stands beside it.
use weir_contract::Timestamp;

/// Decimals of an amount that a page shows; of one that begins with zeros alone, those from the first other one on.
const DECIMALS_SHOWN: usize = 4;

/// Digits in groups of three.
pub fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A decimal, grouped, with at most [`DECIMALS_SHOWN`] decimals: further ones are cut off and marked by `…`. A price of a millionth is
/// no zero.
pub(crate) fn short_decimal(exact: &str) -> String {
    let Some((whole, decimals)) = exact.split_once('.') else { return grouped(exact) };
    let zeros = decimals.len() - decimals.trim_start_matches('0').len();
    let is_tiny = zeros >= DECIMALS_SHOWN && whole.trim_start_matches('-') == "0";
    match decimals.char_indices().nth(DECIMALS_SHOWN + if is_tiny { zeros } else { 0 }) {
        Some((end, _)) => format!("{}.{}…", grouped(whole), &decimals[..end]),
        None => format!("{}.{decimals}", grouped(whole)),
    }
}

/// A moment in UTC, to the second.
pub(crate) fn utc(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split('.').next().unwrap_or(&text).trim_end_matches('Z');
    format!("{} UTC", seconds.replacen('T', " ", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, shown) in [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1234567", "-1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn decimals_that_are_cut_off_are_marked() {
        assert_eq!(short_decimal("1234.5"), "1,234.5");
        assert_eq!(short_decimal("0.1234"), "0.1234");
        assert_eq!(short_decimal("-0.12345"), "-0.1234…");
        assert_eq!(short_decimal("12"), "12");
        assert_eq!(short_decimal("12.000012345"), "12.0000…");
    }

    #[test]
    fn an_amount_below_a_ten_thousandth_is_not_shown_as_nothing() {
        assert_eq!(short_decimal("0.00000015"), "0.00000015");
        assert_eq!(short_decimal("-0.0000123456"), "-0.00001234…");
    }

    #[test]
    fn times_are_written_to_the_second() {
        assert_eq!(utc(Timestamp::from_millis(1_234)), "1970-01-01 00:00:01 UTC");
    }
}
