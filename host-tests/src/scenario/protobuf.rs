//! Encodes JSON as `google.protobuf.Struct`. Grammar: `google/protobuf/struct.proto`.

use serde_json::{Map, Value};

/// Wire type of a 64-bit number.
const FIXED64: u8 = 1;
/// Wire type of anything with a length.
const DELIMITED: u8 = 2;

/// # Panics
/// When `value` is no object.
pub(super) fn encode_struct(value: &Value) -> Vec<u8> {
    fields(value.as_object().expect("a Struct is written as an object"))
}

fn fields(object: &Map<String, Value>) -> Vec<u8> {
    let entry = |(key, value): (&String, &Value)| [delimited(1, key.as_bytes()), delimited(2, &encode(value))].concat();
    object.iter().map(entry).flat_map(|entry| delimited(1, &entry)).collect()
}

fn encode(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![tag(1, 0), 0],
        Value::Number(number) => {
            let bits = number.as_f64().expect("JSON numbers are doubles in a Struct").to_le_bytes();
            [[tag(2, FIXED64)].as_slice(), &bits].concat()
        }
        Value::String(text) => delimited(3, text.as_bytes()),
        Value::Bool(truth) => vec![tag(4, 0), u8::from(*truth)],
        Value::Object(object) => delimited(5, &fields(object)),
        Value::Array(values) => {
            delimited(6, &values.iter().flat_map(|value| delimited(1, &encode(value))).collect::<Vec<u8>>())
        }
    }
}

fn tag(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn delimited(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag(field, DELIMITED)];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::encode_struct;

    #[test]
    fn a_struct_has_the_bytes_that_protoc_gives_it() {
        let bytes = encode_struct(&serde_json::json!({"a": 1, "b": [true, "x"]}));
        let a = b"\x0a\x0e\x0a\x01a\x12\x09\x11\0\0\0\0\0\0\xf0\x3f";
        let b = b"\x0a\x10\x0a\x01b\x12\x0b\x32\x09\x0a\x02\x20\x01\x0a\x03\x1a\x01x";
        assert_eq!(bytes, [a.as_slice(), b].concat());
    }
}
