//! Numbers that look random and repeat with their seed: Steele, Lea and Flood's SplitMix64, for tests and tools.
//!
//! Recorded seeds stand for recorded failures, so the sequence of a seed never changes.
#![forbid(unsafe_code)]

/// The step of the state: 2^64 divided by the golden ratio, rounded to an odd number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sequence of a seed.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number from 0 up to, and without, `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    /// An index into `length` items; 0 if there are none.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// True `percent` times of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `seeds`, of which up to four places are cut, replaced, or filled from another one: what a fuzzer tries first. Seeds are not
    /// empty.
    ///
    /// # Panics
    /// If there are no seeds.
    pub fn spliced(&mut self, seeds: &[&str]) -> Vec<u8> {
        let mut input = seeds[self.index(seeds.len())].as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let other = seeds[self.index(seeds.len())].as_bytes();
            let (from, start) = (self.index(input.len()), self.index(other.len()));
            let end = (start + self.index(16)).min(other.len());
            match self.below(3) {
                0 => drop(input.splice(from..(from + 3).min(input.len()), [])),
                1 => drop(input.splice(from..from, other[start..end].iter().copied())),
                _ => input[from] = b"{}[]\",:\\\n "[self.index(10)],
            }
        }
        input
    }

    /// `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next_u64().to_le_bytes()).take(length.div_ceil(8));
        words.flatten().take(length).collect()
    }
}

/// The `number`th number of a seed's sequence, counted from 1, without those before it.
#[must_use]
pub fn nth(seed: u64, number: u64) -> u64 {
    mix(seed.wrapping_add(number.wrapping_mul(STEP)))
}

/// Spreads every bit of the state over the whole result; reversible, so no two states meet.
#[must_use]
pub fn mix(state: u64) -> u64 {
    let mut bits = state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' reference implementation for the seed 1234567.
    #[test]
    fn the_sequence_is_that_of_the_reference() {
        let mut random = SplitMix64::new(1_234_567);
        let numbers: [u64; 3] = std::array::from_fn(|_| random.next_u64());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_number_of_a_sequence_can_be_had_without_those_before_it() {
        let mut random = SplitMix64::new(7);
        (1..100).for_each(|number| assert_eq!(nth(7, number), random.next_u64()));
    }

    #[test]
    fn no_bound_is_reached() {
        let mut random = SplitMix64::new(1);
        assert!((1..1_000).all(|bound| random.below(bound) < bound));
        assert_eq!((random.below(0), random.index(0), random.bytes(13).len()), (0, 0, 13));
    }
}
