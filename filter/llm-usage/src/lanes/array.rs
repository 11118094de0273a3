//! Sixteen bytes in an array, for machines other than the gateway's.
use super::{Bits, Block, LANES};

/// Sixteen bytes. Where they are an answer, each is 0xFF for yes and 0 for no: it is marked, or not.
#[derive(Clone, Copy, Debug)]
pub struct Lanes(Block);

impl Lanes {
    /// The lanes of a block.
    pub fn load(block: &Block) -> Self {
        Lanes(*block)
    }

    /// The first eight bytes and the last, each from its lowest.
    pub(crate) fn from_halves(head: u64, tail: u64) -> Self {
        Lanes((u128::from(tail) << 64 | u128::from(head)).to_le_bytes())
    }

    /// The same byte in every lane.
    pub(crate) fn splat(byte: u8) -> Self {
        Lanes([byte; LANES])
    }

    /// Marks the bytes that are `byte`.
    pub fn equals(self, byte: u8) -> Self {
        self.marked(|own| own == byte)
    }

    /// Whether all bytes are the same.
    pub fn is_same(self, other: Self) -> bool {
        self.0 == other.0
    }

    /// Marks the bytes below `byte`.
    pub fn is_below(self, byte: u8) -> Self {
        self.marked(|own| own < byte)
    }

    pub(crate) fn is_from(self, byte: u8) -> Self {
        self.marked(|own| own >= byte)
    }

    pub(crate) fn sub(self, other: Self) -> Self {
        self.with(other, u8::wrapping_sub)
    }

    /// The bits of either.
    pub fn or(self, other: Self) -> Self {
        self.with(other, |own, other| own | other)
    }

    pub(crate) fn and_not(self, other: Self) -> Self {
        self.with(other, |own, other| own & !other)
    }

    /// The highest bit of each.
    pub fn bits(self) -> Bits {
        self.0.iter().rev().fold(0, |bits, byte| bits << 1 | Bits::from(byte >> 7))
    }

    pub(crate) fn sum(self) -> u32 {
        self.0.iter().map(|byte| u32::from(*byte)).sum()
    }

    fn marked(self, is: impl Fn(u8) -> bool) -> Self {
        Lanes(self.0.map(|byte| if is(byte) { 0xFF } else { 0 }))
    }

    fn with(mut self, other: Self, of: impl Fn(u8, u8) -> u8) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = of(*own, other));
        self
    }
}
