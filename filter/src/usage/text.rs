//! How much text went by, for the estimate of answers whose usage never comes.

/// The parts into which a token is divided: a character weighs a whole number of them.
pub(super) const UNITS_PER_TOKEN: u64 = 36;

/// The weight of text, without the text: a sum over its characters, so that it does not matter how it is cut.
///
/// A token is about four and a half ASCII letters or spaces, two and a quarter digits, one and two thirds of other ASCII
/// characters; two and a quarter letters of the scripts that UTF-8 writes in two bytes (Cyrillic, Greek, Arabic, Hebrew),
/// two and a half of those of India and Thailand, or one and a third of what else it writes in three (Chinese, Japanese,
/// Korean); an emoji is two tokens. See [`super::estimate`] for where that comes from and how good it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextWeight {
    units: u64,
}

impl TextWeight {
    /// Adds a piece of UTF-8, cut anywhere.
    pub fn add(&mut self, piece: &[u8]) {
        let units = piece.iter().map(|byte| u64::from(units(*byte))).fold(0u64, u64::saturating_add);
        self.units = self.units.saturating_add(units);
    }

    /// Adds what another one weighs.
    pub fn add_weight(&mut self, other: TextWeight) {
        self.units = self.units.saturating_add(other.units);
    }

    /// Whether there was any text.
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }

    /// The tokens it is likely to be, rounded up.
    pub fn tokens(&self) -> u64 {
        self.units.div_ceil(UNITS_PER_TOKEN)
    }
}

/// A character weighs as much as its first byte; the bytes that continue it weigh nothing.
const fn units(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 16,
        b'!'..=b'/' | b':'..=b'@' | b'['..=b'`' | b'{'..=b'~' => 22,
        0x00..=0x7F => 8,
        0x80..=0xBF => 0,
        0xC0..=0xDF => 16,
        0xE0 => 14,
        0xE1..=0xEF => 27,
        0xF0..=0xFF => 72,
    }
}
