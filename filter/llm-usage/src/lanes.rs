//! Processes sixteen bytes at a time.
//!
//! In the gateway's module [`Lanes`] is one vector register, and each operation one instruction or two. The compiler
//! finds these in many plain loops over arrays, but not in all. On other targets it is an array with the same
//! results: `make test` runs the tests over both.
#[cfg_attr(all(target_arch = "wasm32", target_feature = "simd128"), path = "lanes/vector.rs")]
#[cfg_attr(not(all(target_arch = "wasm32", target_feature = "simd128")), path = "lanes/array.rs")]
mod register;

pub use register::Lanes;

/// How many bytes a vector instruction processes.
pub const LANES: usize = 16;

/// A block of [`LANES`] bytes.
pub type Block = [u8; LANES];

/// One bit for each of sixteen bytes, the first in the lowest.
pub type Bits = u16;

/// The index of the first bit that is set.
pub const fn first(bits: Bits) -> usize {
    bits.trailing_zeros() as usize
}

/// The index of the first byte that `find` marks. `find` must look at single bytes only.
#[inline(always)]
pub(crate) fn find(bytes: &[u8], find: impl Fn(Lanes) -> Lanes) -> Option<usize> {
    let mut rest = bytes;
    while let Some((block, tail)) = rest.split_first_chunk() {
        let found = find(Lanes::load(block)).bits();
        if found != 0 {
            return Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(first(found)));
        }
        rest = tail;
    }
    let found = find(load_short(rest)).bits() & first_bits(rest.len());
    (found != 0).then(|| bytes.len().wrapping_sub(rest.len()).wrapping_add(first(found)))
}

/// Whether `is_so` holds for the index of some byte that `mark` marks. `mark` must look at single bytes only, and mark no zero.
#[inline(always)]
pub fn any_at(bytes: &[u8], mark: impl Fn(Lanes) -> Lanes, is_so: impl Fn(usize) -> bool) -> bool {
    let mut rest = bytes;
    loop {
        let (lanes, behind) = match rest.split_first_chunk() {
            Some((block, behind)) => (Lanes::load(block), Some(behind)),
            None => (load_short(rest), None),
        };
        let mut marked = mark(lanes).bits();
        while marked != 0 {
            if is_so(bytes.len().wrapping_sub(rest.len()).wrapping_add(first(marked))) {
                return true;
            }
            marked &= marked.wrapping_sub(1);
        }
        let Some(behind) = behind else { return false };
        rest = behind;
    }
}

/// The rest behind `prefix`, if `bytes` begin with it.
#[inline]
pub(crate) fn strip_prefix<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let (begin, rest) = bytes.split_at_checked(prefix.len())?;
    let ((ones, one), (others, other)) = (begin.as_chunks(), prefix.as_chunks());
    let is_same = ones.iter().zip(others).all(|(one, other)| Lanes::load(one).is_same(Lanes::load(other)))
        && load_short(one).is_same(load_short(other));
    is_same.then_some(rest)
}

/// The bits of the first `count` of sixteen bytes.
const fn first_bits(count: usize) -> Bits {
    ((1_u32 << count) - 1) as Bits
}

/// Loads fewer than sixteen bytes and pads them with zeros.
#[inline]
pub fn load_short(bytes: &[u8]) -> Lanes {
    if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let behind = u64::from_le_bytes(*tail).checked_shr(bits(16_usize.wrapping_sub(bytes.len())));
        return Lanes::from_halves(u64::from_le_bytes(*head), behind.unwrap_or(0));
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (head, tail) = (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)));
        return Lanes::from_halves(head | tail << bits(bytes.len().wrapping_sub(4)), 0);
    }
    Lanes::from_halves(bytes.iter().rev().fold(0, |all, byte| all << u8::BITS | u64::from(*byte)), 0)
}

/// Converts bytes to bits.
const fn bits(bytes: usize) -> u32 {
    bytes as u32 * u8::BITS
}

/// Counts marked bytes, over at most [`COUNTED_MAX`] blocks.
#[derive(Clone, Copy)]
pub(crate) struct Count(Lanes);

/// The most blocks that can be counted: each lane counts in one byte.
pub(crate) const COUNTED_MAX: usize = u8::MAX as usize;

impl Count {
    pub(crate) fn new() -> Self {
        Count(Lanes::splat(0))
    }

    /// Counts the bytes that are marked.
    #[inline(always)]
    pub(crate) fn add(&mut self, marked: Lanes) {
        // A mark is 0xFF, which is -1.
        self.0 = self.0.sub(marked);
    }

    pub(crate) fn get(self) -> u32 {
        self.0.sum()
    }
}

#[cfg(test)]
mod tests;
