//! Sixteen bytes in a vector register. None of these needs `unsafe`: the register is loaded by way of a number.
use core::arch::wasm32::{
    i16x8_extadd_pairwise_u8x16, i32x4_extadd_pairwise_u16x8, i32x4_extract_lane, u8x16_bitmask, u8x16_eq, u8x16_ge,
    u8x16_lt, u8x16_splat, u8x16_sub, u64x2, v128, v128_andnot, v128_any_true, v128_or, v128_xor,
};

use super::{Bits, Block};

/// Sixteen bytes. Where they are an answer, each is 0xFF for yes and 0 for no: it is marked, or not.
#[derive(Clone, Copy, Debug)]
pub struct Lanes(v128);

impl Lanes {
    /// The lanes of a block.
    #[inline(always)]
    pub fn load(block: &Block) -> Self {
        let bytes = u128::from_le_bytes(*block);
        Lanes::from_halves(bytes as u64, (bytes >> 64) as u64)
    }

    /// The first eight bytes and the last, each from its lowest.
    #[inline(always)]
    pub(crate) fn from_halves(head: u64, tail: u64) -> Self {
        Lanes(u64x2(head, tail))
    }

    /// The same byte in every lane.
    #[inline(always)]
    pub(crate) fn splat(byte: u8) -> Self {
        Lanes(u8x16_splat(byte))
    }

    /// Marks the bytes that are `byte`.
    #[inline(always)]
    pub fn equals(self, byte: u8) -> Self {
        Lanes(u8x16_eq(self.0, u8x16_splat(byte)))
    }

    /// Whether all bytes are the same.
    #[inline(always)]
    pub fn is_same(self, other: Self) -> bool {
        !v128_any_true(v128_xor(self.0, other.0))
    }

    /// Marks the bytes below `byte`.
    #[inline(always)]
    pub fn is_below(self, byte: u8) -> Self {
        Lanes(u8x16_lt(self.0, u8x16_splat(byte)))
    }

    #[inline(always)]
    pub(crate) fn is_from(self, byte: u8) -> Self {
        Lanes(u8x16_ge(self.0, u8x16_splat(byte)))
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        Lanes(u8x16_sub(self.0, other.0))
    }

    /// The bits of either.
    #[inline(always)]
    pub fn or(self, other: Self) -> Self {
        Lanes(v128_or(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn and_not(self, other: Self) -> Self {
        Lanes(v128_andnot(self.0, other.0))
    }

    /// The highest bit of each.
    #[inline(always)]
    pub fn bits(self) -> Bits {
        u8x16_bitmask(self.0)
    }

    #[inline(always)]
    pub(crate) fn sum(self) -> u32 {
        let fours = i32x4_extadd_pairwise_u16x8(i16x8_extadd_pairwise_u8x16(self.0));
        let sum = i32x4_extract_lane::<0>(fours)
            + i32x4_extract_lane::<1>(fours)
            + i32x4_extract_lane::<2>(fours)
            + i32x4_extract_lane::<3>(fours);
        sum.cast_unsigned()
    }
}
