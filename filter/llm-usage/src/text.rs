//! Weighs the text that passes by, to estimate answers whose usage never comes.
use crate::lanes::{Block, COUNTED_MAX, Count, LANES, Lanes, load_short};

/// The parts into which a token is divided: each character weighs a whole number of them.
pub(crate) const UNITS_PER_TOKEN: u64 = 36;

/// What an ASCII letter weighs.
const LETTER_UNITS: u64 = 8;

/// The weight of text, without the text: a sum over its characters, so it does not depend on how the text is cut.
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

    /// Adds so many ASCII letters: what [`TextWeight::add`] adds for them, without a look at them.
    pub fn add_letters(&mut self, count: usize) {
        self.units = self.units.saturating_add((count as u64).saturating_mul(LETTER_UNITS));
    }

    /// Adds another weight.
    pub(crate) fn add_weight(&mut self, other: TextWeight) {
        self.units = self.units.saturating_add(other.units);
    }

    /// Whether there was no text.
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }

    /// The estimated tokens, rounded up.
    pub fn tokens(&self) -> u64 {
        self.units.div_ceil(UNITS_PER_TOKEN)
    }
}

/// Bytes that are weighed before the counts are added up.
const STRETCH_BYTES: usize = COUNTED_MAX * LANES;

/// Weighs a block: counts its bytes side by side, by their weight.
///
/// A character weighs as much as its first byte, and the bytes that continue it nothing. Of ASCII, 8 units are a letter or
/// white space, 16 a digit, and 22 what else can be seen; [`weigh_foreign`] has the others.
fn weigh(stretch: &[u8]) -> u32 {
    let (blocks, rest) = stretch.as_chunks();
    // The zeros behind it belong to no counted kind.
    let short = load_short(rest);
    let [foreign, visible, digits] =
        counted(blocks, short, |bytes| [bytes.is_from(0x80), visible(bytes), digits(bytes)]);
    let ascii = (stretch.len() as u32).saturating_sub(foreign);
    let units = (8 * ascii + 14 * visible).saturating_sub(6 * digits);
    if foreign == 0 { units } else { units.saturating_add(weigh_foreign(blocks, short)) }
}

/// What a stretch weighs that is not ASCII: a character of two bytes 16 units, of three 14 or 27, of four 72.
fn weigh_foreign(blocks: &[Block], short: Lanes) -> u32 {
    let firsts = |bytes: Lanes| [bytes.is_from(0xC0), bytes.is_from(0xE0), bytes.is_from(0xE1), bytes.is_from(0xF0)];
    // Each count includes the following ones.
    let [two, three, wide, four] = counted(blocks, short, firsts);
    (16 * two + (27 - 14) * wide + (72 - 27) * four).saturating_sub((16 - 14) * three)
}

/// How many bytes there are of each kind that `kinds` marks.
#[inline(always)]
fn counted<const N: usize>(blocks: &[Block], short: Lanes, kinds: impl Fn(Lanes) -> [Lanes; N]) -> [u32; N] {
    let mut totals = kinds(short).map(|marked| marked.bits().count_ones());
    if blocks.is_empty() {
        return totals;
    }
    let mut counts = [Count::new(); N];
    for block in blocks {
        for (count, marked) in counts.iter_mut().zip(kinds(Lanes::load(block))) {
            count.add(marked);
        }
    }
    for (total, count) in totals.iter_mut().zip(counts) {
        *total += count.get();
    }
    totals
}

fn digits(bytes: Lanes) -> Lanes {
    bytes.sub(Lanes::splat(b'0')).is_below(10)
}

/// Neither letters nor white space: digits and the other visible characters of ASCII.
fn visible(bytes: Lanes) -> Lanes {
    let letters = bytes.or(Lanes::splat(0x20)).sub(Lanes::splat(b'a')).is_below(26);
    bytes.sub(Lanes::splat(b'!')).is_below(94).and_not(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// What a byte weighs: the rule, without haste.
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
        assert_eq!(weight(&[b'!'; 10_000]), 220_000);
        assert_eq!(weight(&[0xFF; 10_000]), 720_000, "the heaviest blocks do not overflow");
    }

    #[test]
    fn letters_weigh_what_they_weigh_as_text() {
        let letters = "content".repeat(60);
        for count in 0..letters.len() {
            let mut counted = TextWeight::default();
            counted.add_letters(count);
            assert_eq!(counted.units, weight(&letters.as_bytes()[..count]), "{count}");
        }
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

    proptest! {
        #[test]
        fn bytes_weigh_together_what_each_weighs(
            bytes in proptest::collection::vec(any::<u8>(), 0..600), text in "\\PC{0,300}", times in 1_usize..30,
        ) {
            for bytes in [bytes.repeat(times), text.into_bytes()] {
                prop_assert_eq!(weight(&bytes), bytes.iter().map(|byte| u64::from(units(*byte))).sum::<u64>());
            }
        }
    }
}
