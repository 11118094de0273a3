//! The part of DER (X.690) that public keys need: reads and writes `SubjectPublicKeyInfo` (RFC 5280, RFC 8410) and
//! reads `RSAPublicKey` (RFC 8017, A.1.1).

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1, rsaEncryption, and its NULL parameter.
const RSA: &[u8] = &[OBJECT_ID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// 1.2.840.10045.2.1, ecPublicKey, on 1.2.840.10045.3.1.7, P-256.
const P256: &[u8] =
    &[OBJECT_ID, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, OBJECT_ID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// 1.3.101.112, Ed25519.
const ED25519: &[u8] = &[OBJECT_ID, 3, 0x2b, 0x65, 0x70];

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Modulus and exponent, big-endian, no leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
    /// The uncompressed point, 65 bytes (SEC 1, 2.3.3).
    P256(Vec<u8>),
    /// The 32 bytes of RFC 8032.
    Ed25519(Vec<u8>),
}

/// Reads a `SubjectPublicKeyInfo`; None if it is malformed or of an unsupported kind of key.
pub fn read_spki(der: &[u8]) -> Option<Numbers> {
    let (info, rest) = element(SEQUENCE, der)?;
    let (algorithm, tail) = element(SEQUENCE, info)?;
    let (bits, end) = element(BIT_STRING, tail)?;
    let key = bits.strip_prefix(&[0])?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    match algorithm {
        RSA => read_rsa(key),
        P256 => Some(Numbers::P256(key.to_vec())),
        ED25519 => Some(Numbers::Ed25519(key.to_vec())),
        _ => None,
    }
}

/// Reads an `RSAPublicKey`; None if it is malformed.
pub(crate) fn read_rsa(der: &[u8]) -> Option<Numbers> {
    let (numbers, rest) = element(SEQUENCE, der)?;
    let (modulus, tail) = element(INTEGER, numbers)?;
    let (exponent, end) = element(INTEGER, tail)?;
    (rest.is_empty() && end.is_empty()).then(|| Numbers::Rsa(unsigned(modulus), unsigned(exponent)))
}

/// Writes the `SubjectPublicKeyInfo` of a key.
pub fn spki(numbers: &Numbers) -> Vec<u8> {
    let (algorithm, key) = match numbers {
        Numbers::Rsa(modulus, exponent) => {
            (RSA, write(SEQUENCE, &[write_unsigned(modulus), write_unsigned(exponent)].concat()))
        }
        Numbers::P256(point) => (P256, point.clone()),
        Numbers::Ed25519(bytes) => (ED25519, bytes.clone()),
    };
    let bits = write(BIT_STRING, &[&[0], key.as_slice()].concat());
    write(SEQUENCE, &[write(SEQUENCE, algorithm), bits].concat())
}

/// The big-endian number without its leading zeros.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

fn write_unsigned(number: &[u8]) -> Vec<u8> {
    // DER integers are signed: a leading zero keeps a number with its first bit set positive.
    let sign: &[u8] = if number.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    write(INTEGER, &[sign, number].concat())
}

fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let digits = unsigned(&length);
    let mut der = vec![tag];
    match digits.as_slice() {
        [] => der.push(0),
        [short @ 0..=0x7f] => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            der.extend(long);
        }
    }
    der.extend(content);
    der
}

/// Splits off the first element: its content and the bytes that follow. None unless it has this tag.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Two length bytes reach 64 KB; no public key is larger.
        0x81..=0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_kind_of_key_is_read_back_as_it_was_written() {
        let keys = [
            Numbers::Rsa(vec![0x80; 256], vec![1, 0, 1]),
            Numbers::Rsa(vec![0x7f; 256], vec![3]),
            Numbers::P256(vec![4; 65]),
            Numbers::Ed25519(vec![7; 32]),
        ];
        for key in keys {
            assert_eq!(read_spki(&spki(&key)), Some(key));
        }
    }

    #[test]
    fn what_is_cut_or_has_a_tail_is_no_key() {
        let der = spki(&Numbers::P256(vec![4; 65]));
        for length in 0..der.len() {
            assert_eq!(read_spki(&der[..length]), None, "{length}");
        }
        assert_eq!(read_spki(&[der, vec![0]].concat()), None);
    }
}
