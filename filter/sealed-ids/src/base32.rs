//! Base 32 in lower case (RFC 4648, section 6, without padding): its letters and digits are part of the alphabet of
//! every provider's ids, paths and names of files.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The digit of `value`, of which the lowest five bits count.
pub(crate) fn digit(value: u8) -> char {
    char::from(ALPHABET.get(usize::from(value & 31)).copied().unwrap_or(b'a'))
}

/// The value of a digit.
pub(crate) fn value(digit: u8) -> Option<u8> {
    match digit {
        b'a'..=b'z' => Some(digit.wrapping_sub(b'a')),
        b'2'..=b'7' => Some(digit.wrapping_sub(b'2').wrapping_add(26)),
        _ => None,
    }
}

/// Appends `bytes`.
pub(crate) fn encode(bytes: &[u8], out: &mut String) {
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count = count.saturating_add(8);
        while count >= 5 {
            count = count.saturating_sub(5);
            out.push(digit((bits >> count) as u8));
        }
        bits &= 0xff;
    }
    if count > 0 {
        out.push(digit((bits << 5_u32.saturating_sub(count)) as u8));
    }
}

/// The bytes of a text; None if it is not the one text that stands for them.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len().saturating_mul(5) / 8);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in text {
        bits = (bits << 5) | u32::from(value(*digit)?);
        count = count.saturating_add(5);
        if count >= 8 {
            count = count.saturating_sub(8);
            bytes.push((bits >> count) as u8);
        }
        bits &= 0xff;
    }
    let rest = bits & (1_u32 << count).wrapping_sub(1);
    (count < 5 && rest == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn encoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode(bytes, &mut text);
        text
    }

    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (bytes, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn every_length_comes_back_and_has_one_spelling() {
        for length in 0..64_u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(73) ^ 0xA5).collect();
            let text = encoded(&bytes);
            assert_eq!(decode(text.as_bytes()), Some(bytes));
            assert_eq!(decode(text.to_uppercase().as_bytes()).is_some(), text.is_empty());
            let longer = format!("{text}a");
            assert_ne!(decode(longer.as_bytes()), decode(text.as_bytes()), "{longer}");
        }
        assert_eq!((decode(b"mz"), decode(b"m"), decode(b"m1")), (None, None, None));
    }
}
