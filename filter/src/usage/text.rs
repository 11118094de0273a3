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
        let units: u64 = piece.chunks(STRETCH_BYTES).map(|stretch| u64::from(weigh(stretch))).sum();
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

/// How many bytes are weighed side by side: as many as a vector instruction takes.
const LANES: usize = 16;

/// Bytes that are weighed before the lanes are added up: eleven times the heaviest of ASCII fits a byte.
const STRETCH_BYTES: usize = 11 * LANES;

/// What a stretch weighs. Plain loops over arrays without a branch: so the compiler uses vector instructions, which are
/// ten times as fast as a byte at a time. Of what is not ASCII there is too much to tell apart for that.
fn weigh(stretch: &[u8]) -> u32 {
    let (mut lanes, mut seen) = ([0_u8; LANES], [0_u8; LANES]);
    let blocks = stretch.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for ((lane, seen), byte) in lanes.iter_mut().zip(&mut seen).zip(block) {
            *lane = lane.wrapping_add(ascii_units(*byte));
            *seen |= byte;
        }
    }
    if seen.iter().fold(0, |all, byte| all | byte) >= 0x80 {
        return by_table(stretch);
    }
    lanes.iter().map(|lane| u32::from(*lane)).sum::<u32>().saturating_add(by_table(rest))
}

fn by_table(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| u32::from(UNITS.get(usize::from(*byte)).copied().unwrap_or(0))).sum()
}

/// [`units`] of ASCII.
const fn ascii_units(byte: u8) -> u8 {
    let is_digit = (byte.wrapping_sub(b'0') < 10) as u8;
    let is_letter = ((byte | 0x20).wrapping_sub(b'a') < 26) as u8;
    let is_visible = (byte.wrapping_sub(b'!') < 94) as u8;
    8_u8.wrapping_add(14 * (is_visible & !is_letter)).wrapping_sub(6 * is_digit)
}

/// [`units`] of every byte.
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds it would not compile")]
static UNITS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = units(byte as u8);
        byte += 1;
    }
    table
};

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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn weight(bytes: &[u8]) -> u64 {
        let mut weight = TextWeight::default();
        weight.add(bytes);
        weight.units
    }

    #[test]
    fn a_block_weighs_what_its_bytes_weigh() {
        for byte in 0..=u8::MAX {
            for place in 0..LANES {
                let mut block = [b'a'; LANES];
                block[place] = byte;
                let expected = u64::from(units(byte)) + 15 * u64::from(units(b'a'));
                assert_eq!(weight(&block), expected, "{byte:#04x} at {place}");
            }
        }
        assert_eq!(weight(&[b'!'; 1000]), 22_000);
        assert_eq!(weight(&[0xFF; 1000]), 72_000, "the heaviest blocks do not overflow");
    }

    #[test]
    fn text_weighs_the_same_however_it_is_cut() {
        let text = "Größe: 12 345,67 €; ключ «да» 漢字かな 🦀🦀 {\"a\": [1, 2]} and a good deal of plain English text."
            .as_bytes();
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(weight(head) + weight(tail), weight(text), "cut at {cut}");
        }
    }
}
