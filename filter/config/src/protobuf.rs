//! Reads a configuration that Envoy hands over as a `google.protobuf.Struct`.
//!
//! Envoy's documentation promises JSON; Envoy 1.40 was observed to hand over the message's own bytes, the wire format
//! of `Struct`, `Value` and `ListValue` in `google/protobuf/struct.proto`:
//!
//! ```text
//! Struct { map<string, Value> fields = 1 }   ListValue { repeated Value values = 1 }
//! Value  { null = 1 · number (double) = 2 · string = 3 · bool = 4 · Struct = 5 · ListValue = 6 }
//! ```
use serde_json::{Map, Number, Value};

/// The deepest nesting of values; serde_json accepts twice as much.
const DEPTH_MAX: usize = 64;

/// Reads a `Struct`; None if the bytes are not one.
pub(crate) fn read_struct(bytes: &[u8]) -> Option<Value> {
    read_fields(bytes, DEPTH_MAX).map(Value::Object)
}

enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

fn read_fields(mut bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(entry), rest) = field(bytes)? else { return None };
        let (1, Field::Bytes(key), value) = field(entry)? else { return None };
        let (2, Field::Bytes(value), []) = field(value)? else { return None };
        fields.insert(std::str::from_utf8(key).ok()?.to_owned(), read_value(value, depth)?);
        bytes = rest;
    }
    Some(fields)
}

fn read_value(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let (number, found, []) = field(bytes)? else { return None };
    Some(match (number, found) {
        (1, Field::Varint(_)) => Value::Null,
        (2, Field::Fixed(bits)) => Value::Number(number_of(f64::from_bits(bits))?),
        (3, Field::Bytes(text)) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
        (4, Field::Varint(truth)) => Value::Bool(truth != 0),
        (5, Field::Bytes(fields)) => Value::Object(read_fields(fields, depth)?),
        (6, Field::Bytes(values)) => Value::Array(read_list(values, depth)?),
        _ => return None,
    })
}

fn read_list(mut bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(value), rest) = field(bytes)? else { return None };
        values.push(read_value(value, depth)?);
        bytes = rest;
    }
    Some(values)
}

/// A `Struct` has only doubles. A whole double becomes the integer that the YAML had.
fn number_of(double: f64) -> Option<Number> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if double.fract() == 0.0 && double.abs() <= EXACT_MAX {
        return Some(Number::from(double as i64));
    }
    Number::from_f64(double)
}

/// Splits off one field: its number, its value and the bytes that follow.
fn field(bytes: &[u8]) -> Option<(u64, Field<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let (found, rest) = match tag & 7 {
        0 => varint(rest).map(|(value, rest)| (Field::Varint(value), rest))?,
        1 => rest.split_first_chunk().map(|(bits, rest)| (Field::Fixed(u64::from_le_bytes(*bits)), rest))?,
        2 => {
            let (length, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Field::Bytes(value), rest)
        }
        _ => return None,
    };
    Some((tag >> 3, found, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0_u64, bytes);
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        rest = tail;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        put_varint(out, bytes.len() as u64);
        out.extend(bytes);
    }

    fn put_varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn encode(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match value {
            Value::Null => out.extend([1 << 3, 0]),
            Value::Number(number) => {
                out.push(2 << 3 | 1);
                out.extend(number.as_f64().expect("a double").to_bits().to_le_bytes());
            }
            Value::String(text) => put(&mut out, 3, text.as_bytes()),
            Value::Bool(truth) => out.extend([4 << 3, u8::from(*truth)]),
            Value::Object(_) => put(&mut out, 5, &encode_struct(value)),
            Value::Array(values) => {
                let mut list = Vec::new();
                values.iter().for_each(|value| put(&mut list, 1, &encode(value)));
                put(&mut out, 6, &list);
            }
        }
        out
    }

    fn encode_struct(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in value.as_object().into_iter().flatten() {
            let mut entry = Vec::new();
            put(&mut entry, 1, key.as_bytes());
            put(&mut entry, 2, &encode(value));
            put(&mut out, 1, &entry);
        }
        out
    }

    #[test]
    fn a_struct_is_read_and_whole_numbers_stay_whole() {
        let value = json!({"version": 1, "mode": "enforce", "deep": {"list": [true, null, -2.5, {"a": "x"}]}});
        assert_eq!(read_struct(&encode_struct(&value)), Some(value));
    }

    #[test]
    fn what_is_no_struct_is_told() {
        let bytes = encode_struct(&json!({"version": 1, "gateway": "gw-1"}));
        for at in 1..bytes.len() {
            assert_ne!(read_struct(&bytes[..at]), read_struct(&bytes), "cut at {at}");
        }
        assert_eq!(read_struct(b"\n{\"version\": 1}"), None, "JSON after an empty line");
        let deep = (0..200).fold(json!(1), |value, _| json!([value]));
        assert_eq!(read_struct(&encode_struct(&json!({"deep": deep}))), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_struct(&bytes).is_none_or(|value| value.is_object()));
        }
    }
}
