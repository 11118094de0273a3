//! Names of details, put together piece by piece without an allocation.

/// The longest name of such a count, in bytes; longer names are dropped.
pub(crate) const DETAIL_NAME_MAX_BYTES: usize = 48;

/// A detail's name in the making: lower case and underscores, whatever the provider's fashion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    bytes: [u8; DETAIL_NAME_MAX_BYTES],
    len: usize,
}

impl Name {
    pub(crate) const EMPTY: Name = Name { bytes: [0; DETAIL_NAME_MAX_BYTES], len: 0 };

    /// `audio_tokens` or `audioTokens` as `audio_tokens`; with an infix, `_input_` say, as `audio_input_tokens`. Empty
    /// for a name of other characters, or one that is too long.
    pub(crate) fn new(key: &[u8], infix: &str) -> Self {
        let mut name = Name::EMPTY;
        let (stem, tail) = match key.strip_suffix(b"_tokens") {
            Some(stem) if !infix.is_empty() => (stem, &b"tokens"[..]),
            _ if infix.is_empty() => (key, &[][..]),
            _ => (key, &b"tokens"[..]),
        };
        let parts = [stem, infix.as_bytes(), tail];
        let whole = parts.iter().flat_map(|part| part.iter()).try_for_each(|byte| name.push(*byte));
        if whole.is_none() { Name::EMPTY } else { name }
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.len).unwrap_or(u8::MAX)
    }

    /// Cuts it to that length.
    pub(crate) fn truncate(&mut self, len: u8) {
        self.len = self.len.min(usize::from(len));
    }

    /// Puts another name and an underscore behind it. One that is too long then leaves no room for any other.
    pub(crate) fn extend(&mut self, other: &Name) {
        let mut joined = self.joined(other);
        if joined.len == 0 || joined.push_raw(b'_').is_none() {
            self.len = DETAIL_NAME_MAX_BYTES;
        } else {
            *self = joined;
        }
    }

    /// It and another name behind it; empty where that is too long.
    pub(crate) fn joined(&self, other: &Name) -> Name {
        let mut name = *self;
        let more = other.bytes.get(..other.len).unwrap_or_default();
        let whole = more.iter().try_for_each(|byte| name.push_raw(*byte));
        if whole.is_none() || more.is_empty() { Name::EMPTY } else { name }
    }

    /// `AUDIO` as `audio`.
    pub(crate) fn lower(word: &[u8]) -> Self {
        let mut name = Name::EMPTY;
        let whole = word.iter().try_for_each(|byte| name.push(byte.to_ascii_lowercase()));
        if whole.is_none() { Name::EMPTY } else { name }
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        match byte {
            b'A'..=b'Z' if self.len > 0 => {
                self.push_raw(b'_')?;
                self.push_raw(byte.to_ascii_lowercase())
            }
            b'A'..=b'Z' => self.push_raw(byte.to_ascii_lowercase()),
            b'a'..=b'z' | b'0'..=b'9' | b'_' => self.push_raw(byte),
            _ => None,
        }
    }

    fn push_raw(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len = self.len.saturating_add(1);
        Some(())
    }

    /// The name; None when it is empty.
    pub(crate) fn get(&self) -> Option<&str> {
        let name = std::str::from_utf8(self.bytes.get(..self.len)?).ok()?;
        Some(name).filter(|name| !name.is_empty())
    }
}
