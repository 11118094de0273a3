//! Counts, as JSON writes them.

/// Powers of ten beyond this exceed `u64` unless the digits before them are zero.
const EXPONENT_MAX: u32 = 400;

/// How many digits never exceed `u64`.
const DIGITS_MAX: usize = 19;

/// The whole number that a JSON number denotes, exactly.
///
/// `12`, `12.0`, `1.2e1` and `120e-1` are all 12. None for anything that is no count: a sign, a nonzero fraction,
/// more than `u64` holds, or text that is no JSON number.
pub fn count(text: &[u8]) -> Option<u64> {
    if let Some(plain) = plain(text) {
        return Some(plain);
    }
    let (mantissa, exponent) = split_exponent(text)?;
    let (whole, fraction) = split_fraction(mantissa)?;
    if whole.len() > 1 && whole.first() == Some(&b'0') {
        return None;
    }
    shifted(whole, fraction, exponent)
}

/// The usual case: digits and nothing else.
fn plain(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    if text.len() > DIGITS_MAX {
        return text.iter().try_fold(0u64, push_digit);
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })
}

fn push_digit(value: u64, byte: &u8) -> Option<u64> {
    let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
    value.checked_mul(10)?.checked_add(u64::from(digit))
}

/// Splits at `e` or `E`; the exponent as a signed number of places.
fn split_exponent(text: &[u8]) -> Option<(&[u8], i32)> {
    let Some(at) = text.iter().position(|byte| matches!(byte, b'e' | b'E')) else { return Some((text, 0)) };
    let (mantissa, rest) = text.split_at_checked(at)?;
    let (_, written) = rest.split_first()?;
    let (digits, negative) = match written.split_first()? {
        (b'-', digits) => (digits, true),
        (b'+', digits) => (digits, false),
        _ => (written, false),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let places = digits.iter().try_fold(0u64, push_digit).unwrap_or(u64::MAX).min(u64::from(EXPONENT_MAX));
    let places = i32::try_from(places).ok()?;
    Some((mantissa, if negative { places.saturating_neg() } else { places }))
}

/// Splits at the point. Both sides hold digits only: the left at least one, and the right too if there is a point.
fn split_fraction(mantissa: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        None => (mantissa, &[][..]),
        Some(at) => {
            let (whole, rest) = mantissa.split_at_checked(at)?;
            let (_, fraction) = rest.split_first()?;
            if fraction.is_empty() {
                return None;
            }
            (whole, fraction)
        }
    };
    let digits = !whole.is_empty() && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    digits.then_some((whole, fraction))
}

/// `whole.fraction × 10^exponent`, if that is a whole number.
fn shifted(whole: &[u8], fraction: &[u8], exponent: i32) -> Option<u64> {
    let places = i64::try_from(whole.len()).ok()?.saturating_add(i64::from(exponent));
    let mut value = 0u64;
    let mut position = 0i64;
    for byte in whole.iter().chain(fraction) {
        if position < places {
            value = push_digit(value, byte)?;
        } else if *byte != b'0' {
            return None;
        }
        position = position.saturating_add(1);
    }
    while position < places && value != 0 {
        value = value.checked_mul(10)?;
        position = position.saturating_add(1);
    }
    Some(value)
}

/// Whether a number may hold that byte.
pub(super) const fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

#[cfg(test)]
mod tests {
    use super::count;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_way_to_write_a_count_is_read_exactly() {
        for (text, value) in [
            ("0", 0),
            ("12", 12),
            ("12.0", 12),
            ("12.000", 12),
            ("1.2e1", 12),
            ("1.2E+1", 12),
            ("120e-1", 12),
            ("0.012e3", 12),
            ("0e99999999999999999999", 0),
            ("18446744073709551615", u64::MAX),
            ("1.8446744073709551615e19", u64::MAX),
        ] {
            assert_eq!(count(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_count_is_never_a_number() {
        for text in [
            "",
            "-1",
            "-0",
            "+1",
            "1.5",
            "12e-1",
            "0.1",
            "18446744073709551616",
            "1e20",
            "1e999999999999",
            "01",
            "00",
            "1.",
            ".5",
            "1e",
            "1e+",
            "e5",
            "1.e1",
            "0x10",
            "1_000",
            "NaN",
            "1 ",
            "--1",
            "1e5e5",
            "1.2.3",
        ] {
            assert_eq!(count(text.as_bytes()), None, "{text}");
        }
    }
}
