//! Writes JSON. Commas come by themselves: a value that follows another gets one.
use weir_llm_usage::json::tree::{Id, Tree};

/// A text that grows.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Writer { out: Vec::with_capacity(bytes) }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// Appends JSON as it is written: a value, or the beginning of one.
    pub(crate) fn raw(&mut self, json: impl AsRef<[u8]>) -> &mut Self {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':' | b' ' | b'\n')) {
            self.out.push(b',');
        }
        self.glue(json)
    }

    /// Appends bytes that continue what stands there.
    pub(crate) fn glue(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.out.extend_from_slice(bytes.as_ref());
        self
    }

    /// Opens an object or a list.
    pub(crate) fn open(&mut self, bracket: &str) -> &mut Self {
        self.raw(bracket)
    }

    /// Closes an object or a list.
    pub(crate) fn close(&mut self, bracket: &str) -> &mut Self {
        self.glue(bracket)
    }

    /// The name of the member whose value comes next.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.string(name).glue(":")
    }

    /// A member with JSON as its value.
    pub(crate) fn member(&mut self, name: &str, json: impl AsRef<[u8]>) -> &mut Self {
        self.name(name).raw(json)
    }

    /// A string.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.raw("\"").escaped(text).glue("\"")
    }

    /// A member with a string as its value.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name).string(text)
    }

    /// A member with a count as its value.
    pub(crate) fn count(&mut self, name: &str, count: u64) -> &mut Self {
        self.member(name, count.to_string())
    }

    /// A member with the value of the same or another name in a tree, if it is there.
    pub(crate) fn copy(&mut self, name: &str, tree: &Tree<'_>, value: Option<Id>) -> &mut Self {
        if let Some(value) = value {
            self.member(name, tree.raw(value));
        }
        self
    }

    /// The inside of a string. Runs of bytes that need no escape go over in one piece.
    pub(crate) fn escaped(&mut self, text: &str) -> &mut Self {
        let bytes = text.as_bytes();
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            self.glue(bytes.get(from..at).unwrap_or_default());
            match *byte {
                b'"' | b'\\' => self.glue([b'\\', *byte]),
                b'\n' => self.glue("\\n"),
                b'\r' => self.glue("\\r"),
                b'\t' => self.glue("\\t"),
                other => self.glue("\\u00").glue([hex(other >> 4), hex(other & 0xF)]),
            };
            from = at.saturating_add(1);
        }
        self.glue(bytes.get(from..).unwrap_or_default())
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0'.saturating_add(digit) } else { b'a'.saturating_add(digit.saturating_sub(10)) }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn values_side_by_side_get_commas() {
        let mut writer = Writer::default();
        writer.open("{").text("a", "x").name("b").open("[").raw("1").string("y").open("{").close("}").close("]");
        writer.count("c", 7).close("}");
        assert_eq!(writer.as_bytes(), br#"{"a":"x","b":[1,"y",{}],"c":7}"#);
    }

    #[test]
    fn every_character_comes_back_from_a_string() {
        let text: String = (0..0x80u8).map(char::from).chain("é😀".chars()).collect();
        let mut writer = Writer::default();
        writer.string(&text);
        assert_eq!(serde_json::from_slice::<String>(writer.as_bytes()).unwrap(), text);
    }
}
