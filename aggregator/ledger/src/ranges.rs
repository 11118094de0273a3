//! The numbers seen from a source, as ranges.
use serde::{Deserialize, Serialize};
use weir_fault::{self as fault, Point};

/// The most ranges of one source. Batches that overtake each other open a gap for a moment; a worker that loses events
/// leaves a permanent one. Weir's workers never reach this limit.
pub(crate) const RANGES_MAX: usize = 4_096;

/// A set of numbers from 1, as sorted, disjoint, non-adjacent inclusive ranges. In JSON `[[1,5],[7,9]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

/// The result of adding a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    /// The number is new.
    New,
    /// The number was there.
    Known,
    /// The number would open more than [`RANGES_MAX`] ranges.
    Full,
    /// It is too far ahead of the source's last number to be one of its own; see [`super::sources::LEAP_MAX`].
    Leap,
}

impl Ranges {
    /// Adds a number.
    pub(crate) fn insert(&mut self, number: u64) -> Insertion {
        // Nearly every number follows the last one.
        if let Some(last) = self.0.last_mut()
            && number == last.1 + 1
        {
            last.1 = number;
            return Insertion::New;
        }
        let after = self.0.partition_point(|range| range.0 <= number);
        if after > 0 && self.0[after - 1].1 >= number {
            return Insertion::Known;
        }
        let joins_before = after > 0 && self.0[after - 1].1 + 1 == number;
        let one_missing = after > 0 && self.0[after - 1].1 + 2 == number;
        let joins_before = joins_before || one_missing && fault::hit(Point::RangesMerged);
        let joins_after = self.0.get(after).is_some_and(|range| range.0 == number + 1);
        match (joins_before, joins_after) {
            (true, true) => {
                self.0[after - 1].1 = self.0[after].1;
                self.0.remove(after);
            }
            (true, false) => self.0[after - 1].1 = number,
            (false, true) => self.0[after].0 = number,
            (false, false) if self.0.len() >= RANGES_MAX => return Insertion::Full,
            (false, false) => self.0.insert(after, (number, number)),
        }
        Insertion::New
    }

    /// The highest number seen, or 0.
    pub(crate) fn highest(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// The count of numbers seen.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.1 - range.0 + 1).sum()
    }

    /// The count of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The numbers from 1 to `last` that are missing, as ranges.
    pub(crate) fn missing(&self, last: u64) -> Vec<(u64, u64)> {
        let mut next = 1;
        let mut missing = Vec::new();
        for &(from, to) in &self.0 {
            if next < from.min(last.saturating_add(1)) {
                missing.push((next, last.min(from - 1)));
            }
            next = to.saturating_add(1);
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Ranges {
        let mut ranges = Ranges::default();
        for number in numbers {
            ranges.insert(*number);
        }
        ranges
    }

    #[test]
    fn numbers_in_any_order_join_into_ranges() {
        assert_eq!(of(&[1, 2, 3]).0, [(1, 3)]);
        assert_eq!(of(&[3, 1, 2]).0, [(1, 3)]);
        assert_eq!(of(&[5, 1, 7, 6]).0, [(1, 1), (5, 7)]);
        assert_eq!(of(&[2, 4, 3, 9, 1]).0, [(1, 4), (9, 9)]);
    }

    #[test]
    fn a_number_seen_twice_is_known() {
        let mut ranges = of(&[1, 2, 3, 7]);
        assert_eq!(ranges.insert(2), Insertion::Known);
        assert_eq!(ranges.insert(7), Insertion::Known);
        assert_eq!(ranges.insert(5), Insertion::New);
        assert_eq!(ranges.count(), 5);
    }

    #[test]
    fn what_is_missing_can_be_said() {
        assert_eq!(of(&[]).missing(3), [(1, 3)]);
        assert_eq!(of(&[1, 2, 5]).missing(7), [(3, 4), (6, 7)]);
        assert_eq!(of(&[2, 9]).missing(4), [(1, 1), (3, 4)]);
        assert_eq!(of(&[1, 2, 3]).missing(3), []);
        assert_eq!(of(&[1, 2, 3]).missing(0), []);
    }

    #[test]
    fn a_source_of_nothing_but_gaps_is_bounded() {
        let mut ranges = Ranges::default();
        for number in 0..RANGES_MAX as u64 {
            assert_eq!(ranges.insert(2 * number + 1), Insertion::New);
        }
        assert_eq!(ranges.insert(1_000_001), Insertion::Full);
        assert_eq!(ranges.insert(2), Insertion::New, "closing a gap is always possible");
    }

    #[test]
    fn the_last_number_there_is_breaks_nothing() {
        let mut ranges = of(&[u64::MAX - 1]);
        assert_eq!(ranges.insert(1), Insertion::New);
        assert_eq!(ranges.highest(), u64::MAX - 1);
    }
}
