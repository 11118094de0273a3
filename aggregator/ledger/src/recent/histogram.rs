//! Counts of durations in classes that grow by an eighth.

/// Classes of one power of two.
const PARTS: u64 = 8;
/// The longest duration with a class of its own, in milliseconds: some 70 minutes. Longer ones are counted there.
const MAX_MS: u64 = (1 << 22) - 1;

/// How many durations fell into each class.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// As long as the longest duration asks for.
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    pub(super) fn count(&mut self, ms: u64) {
        let at = class_of(ms);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total += 1;
    }

    pub(super) fn add(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.saturating_add(*other);
        }
        self.total += other.total;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The longest duration, in milliseconds, of the class in which so many percent of all have been reached.
    pub(super) fn quantile(&self, percent: u64) -> Option<u64> {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut reached = 0;
        self.counts.iter().enumerate().find_map(|(at, count)| {
            reached += u64::from(*count);
            (reached >= rank).then(|| last_of(at))
        })
    }
}

/// The class of a duration: below 8 ms each has its own, above that 8 share a power of two.
fn class_of(ms: u64) -> usize {
    let ms = ms.min(MAX_MS);
    let power = u64::from(ms.max(1).ilog2());
    let class = if ms < PARTS { ms } else { (power - 2) * PARTS + (ms >> (power - 3)) - PARTS };
    class as usize
}

/// The longest duration of a class.
fn last_of(class: usize) -> u64 {
    let class = class as u64;
    if class < PARTS {
        return class;
    }
    let (power, part) = (class / PARTS + 2, class % PARTS);
    ((PARTS + part + 1) << (power - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_at_most_an_eighth_above_each_of_its_durations() {
        for ms in (0..5_000).chain([65_535, 65_536, 100_000, MAX_MS]) {
            let last = last_of(class_of(ms));
            assert!(last >= ms && last <= ms + ms / 8, "{ms} ms: {last}");
        }
        assert_eq!(class_of(u64::MAX), class_of(MAX_MS));
    }

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let classes: Vec<usize> = (0..5_000).map(class_of).collect();
        assert!(classes.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn quantiles_count_from_the_fastest() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(50), None);
        (1..=7).for_each(|ms| histogram.count(ms));
        assert_eq!([1, 50, 99].map(|percent| histogram.quantile(percent)), [Some(1), Some(4), Some(7)]);
    }
}
