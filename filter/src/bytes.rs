//! Comparing long runs of bytes.

/// Whether two runs of bytes are one: eight bytes at a time, where `==` goes byte by byte in WebAssembly. For names, which
/// differ in their first bytes, `==` is faster.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let differing = |any: u64, (a, b): (&[u8; 8], &[u8; 8])| any | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b));
    one.len() == other.len() && one_rest == other_rest && ones.iter().zip(others).fold(0, differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn bytes_are_the_same_only_if_every_one_is() {
        let all: Vec<u8> = (0..52).collect();
        for length in 0..=all.len() {
            let (one, rest) = all.split_at(length);
            let mut other = one.to_vec();
            assert!(is_same(one, &other));
            assert!(rest.is_empty() || !is_same(one, &all));
            for at in 0..length {
                other[at] ^= 0x80;
                assert!(!is_same(one, &other), "{at} of {length}");
                other[at] ^= 0x80;
            }
        }
    }
}
