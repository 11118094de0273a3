//! Writes events as JSON: the same bytes as `serde_json`, in a third of the time.
//!
//! A gateway writes one event per request. `serde_json` checks every byte of every name and text for escapes. Here
//! field names are known to need none, texts are checked sixteen bytes at a time, and the rare text that needs an
//! escape is left to `serde_json`. Only what events consist of can be written: no floats, no sequences.
use serde::ser::{Error as _, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::Error;

/// Appends `value` as JSON.
///
/// # Errors
/// For a value that events never contain.
pub(crate) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Writer { out })
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

/// An object that is being written.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Members<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Members { out, first: true }
    }

    fn part(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// How many bytes are checked side by side: as many as a vector instruction takes.
const LANES: usize = 16;

/// Whether some byte of a block needs an escape.
fn has_special(block: &[u8; LANES]) -> bool {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    u128::from_ne_bytes(block.map(|byte| u8::from(special(byte)))) != 0
}

/// Whether some byte of a text needs an escape. The last block of a long text overlaps the one before it; a short
/// text is padded.
fn needs_escape(text: &[u8]) -> bool {
    let (blocks, _) = text.as_chunks::<LANES>();
    let rest = match text.last_chunk::<LANES>() {
        Some(last) => has_special(last),
        None => {
            let mut block = [b' '; LANES];
            if let Some(front) = block.get_mut(..text.len()) {
                front.copy_from_slice(text);
            }
            has_special(&block)
        }
    };
    blocks.iter().fold(rest, |any, block| any | has_special(block))
}

/// Appends `lead`, then a text as a JSON string.
pub(crate) fn write_text_after(lead: &str, text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    out.reserve(lead.len() + text.len() + 2);
    out.extend_from_slice(lead.as_bytes());
    write_text(text, out)
}

/// Appends `lead`, then a number.
pub(crate) fn write_number_after(lead: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(lead.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    if needs_escape(text.as_bytes()) {
        return serde_json::to_writer(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

fn unknown() -> Error {
    Error::custom("no event holds such a value")
}

/// The error for values that events never contain.
macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $answer:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$answer, Error> {
            Err(unknown())
        })*
    };
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Members<'o>;
    type SerializeStruct = Members<'o>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        write_number_after("", value, self.out);
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        write_text(text, self.out)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        write_text(variant, self.out)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'o>, Error> {
        Ok(Members::begin(self.out))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'o>, Error> {
        Ok(Members::begin(self.out))
    }

    refused! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Impossible<(), Error>;
        serialize_tuple(usize) -> Impossible<(), Error>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<(), Error>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Error>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Error>;
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(unknown())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.part();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.part();
        key.serialize(Writer { out: self.out })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Writer { out: self.out })
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, Decision, Outcome, Usage, UsageData, UsageStatus};
    use crate::text::Text;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn written(value: &impl Serialize) -> String {
        let mut out = Vec::new();
        write(value, &mut out).expect("an event");
        String::from_utf8(out).expect("UTF-8")
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_writes(
            texts in proptest::collection::vec(".{0,40}", 12), known: [bool; 9], numbers: [u64; 8], status: u16,
            details in proptest::collection::btree_map(".{0,20}", any::<u64>(), 0..4), class in 0..Class::ALL.len(),
        ) {
            let text = |at: usize| Text::from(&*texts[at]);
            let some = |at: usize| known[at].then(|| text(at));
            let data = UsageData {
                request_id: text(9), response_id: some(0), credential_id: some(1), idempotency_key_hash: some(2), plan: text(10),
                class: Class::ALL[class], route: some(3), feature: some(4), user: some(5), provider: some(6), request_model: some(7),
                stream: known[0], status, outcome: Outcome::UpstreamReset, decision: Decision::Observed, config_version: text(11),
                usage: Usage { status: UsageStatus::Estimated, input_tokens: known[8].then_some(numbers[0]), details, ..Usage::default() },
                duration_ms: numbers[1], time_to_first_token_ms: known[7].then_some(numbers[2]), request_bytes: numbers[3],
                ..UsageData::default()
            };
            prop_assert_eq!(written(&data), serde_json::to_string(&data).expect("json"));
        }
    }

    #[test]
    fn what_needs_an_escape_is_found_at_every_place() {
        for byte in 0..=0x7F_u8 {
            for place in 0..40 {
                let mut text = [b'a'; 40];
                text[place] = byte;
                let text = std::str::from_utf8(&text).expect("ASCII");
                assert_eq!(written(&text), serde_json::to_string(&text).expect("json"));
            }
        }
    }

    #[test]
    fn an_empty_object_and_an_unknown_value() {
        assert_eq!(written(&BTreeMap::<String, u64>::new()), "{}");
        assert!(write(&1.5_f64, &mut Vec::new()).is_err() && write(&[1_u64], &mut Vec::new()).is_err());
    }
}
