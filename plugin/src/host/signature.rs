//! The messages of Envoy's `verify_signature`, in protobuf: the question is `{1: hash, 2: key, 3: signature, 4: text}`, all
//! of them bytes; the answer `{1: bool, 2: error}`, where a field that is not there means false.
use weir_filter::identity::key::check::Signed;

/// Wire type 2: a length, and as many bytes.
const BYTES: u8 = 2;

/// Encodes the question.
pub(super) fn question(signed: &Signed<'_>) -> Vec<u8> {
    let fields = [signed.hash.as_bytes(), signed.spki, &signed.signature, signed.text];
    let mut message = Vec::with_capacity(fields.iter().map(|field| field.len() + 6).sum());
    for (number, field) in (1_u8..).zip(fields) {
        message.push(number << 3 | BYTES);
        let mut length = field.len();
        while length >= 0x80 {
            message.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(field);
    }
    message
}

/// Reads the answer: field 1 comes first, and only if it is true.
pub(super) fn says_yes(answer: &[u8]) -> bool {
    answer.starts_with(&[1 << 3, 1])
}
