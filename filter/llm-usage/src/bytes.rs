//! Compares and searches runs of bytes, several at a time: in WebAssembly `memcmp` goes byte by byte.
use crate::lanes::LANES;

/// Whether two runs of bytes are equal: eight bytes at a time, since `==` goes byte by byte in WebAssembly. For
/// names, which differ in their first bytes, `==` is faster.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let differing = |any: u64, (a, b): (&[u8; 8], &[u8; 8])| any | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b));
    one.len() == other.len() && one_rest == other_rest && ones.iter().zip(others).fold(0, differing) == 0
}

/// Whether `is_so` holds for some byte. A loop over arrays without a branch, so that the compiler uses vector
/// instructions if `is_so` has no branch either.
pub fn any(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    let Some(first) = bytes.first() else { return false };
    // The last block of a long run overlaps the one before it; a short run is padded with its own bytes.
    let mut last = [*first; LANES];
    match (bytes.last_chunk::<LANES>(), last.get_mut(..bytes.len())) {
        (Some(chunk), _) => last = *chunk,
        (None, Some(front)) => front.copy_from_slice(bytes),
        (None, None) => {}
    }
    let mut lanes = last.map(|byte| u8::from(is_so(byte)));
    for block in bytes.as_chunks::<LANES>().0 {
        for (lane, byte) in lanes.iter_mut().zip(block) {
            *lane |= u8::from(is_so(*byte));
        }
    }
    u128::from_ne_bytes(lanes) != 0
}

/// Whether `name` is `lower` in any case: eight bytes at a time if it is in lower case, as Envoy gives all names.
#[inline]
pub fn is_name(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len() && is_name_of_same_length(name, lower)
}

fn is_name_of_same_length(name: &[u8], lower: &[u8]) -> bool {
    match (name.last_chunk::<8>(), lower.last_chunk::<8>()) {
        // Different names of one length mostly differ at their ends; equal ones are equal everywhere.
        (Some(end), Some(lower_end)) => {
            let differing = u64::from_ne_bytes(*end) ^ u64::from_ne_bytes(*lower_end);
            if differing & 0xDFDF_DFDF_DFDF_DFDF != 0 {
                return false;
            }
            (differing == 0 && is_same(name, lower)) || name.eq_ignore_ascii_case(lower)
        }
        _ => name.eq_ignore_ascii_case(lower),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_compared_as_ascii_is() {
        for lower in ["host", ":path", "x-tenant-id", "idempotency-key", "access-control-request-method"] {
            assert!(
                is_name(lower.as_bytes(), lower.as_bytes())
                    && is_name(lower.to_uppercase().as_bytes(), lower.as_bytes())
            );
            assert!(!is_name(&lower.as_bytes()[1..], lower.as_bytes()));
            for at in 0..lower.len() {
                for byte in 0..=u8::MAX {
                    let mut name = lower.as_bytes().to_vec();
                    name[at] = byte;
                    assert_eq!(
                        is_name(&name, lower.as_bytes()),
                        name.eq_ignore_ascii_case(lower.as_bytes()),
                        "{lower} {at} {byte}"
                    );
                }
            }
        }
    }

    #[test]
    fn any_byte_is_found_at_every_place() {
        for length in 0..40 {
            let bytes = vec![b'a'; length];
            assert!(!any(&bytes, |byte| byte == b'b'));
            for at in 0..length {
                let mut with = bytes.clone();
                with[at] = b'b';
                assert!(any(&with, |byte| byte == b'b'), "{at} of {length}");
            }
        }
    }

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
