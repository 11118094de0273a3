//! How many limits are full or empty, and what is out: for metrics, which cannot name every limit.
use super::Limit;

/// Sums over limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Limits with nothing left.
    pub empty: u64,
    /// Limits with less than half of their capacity left.
    pub low: u64,
    /// All others.
    pub high: u64,
    /// Leases on all of them.
    pub leases: u64,
    /// Units that those may still spend.
    pub units: u64,
}

impl Levels {
    /// Counts a limit, as it was when it was last asked.
    pub fn count(&mut self, limit: &Limit) {
        let left: i64 = (0..limit.tiers.len()).map(|tier| limit.tiers.describe(tier).2).sum();
        match u64::try_from(left).unwrap_or(0) {
            0 => self.empty += 1,
            left if left < limit.size.definition.capacity.div_ceil(2) => self.low += 1,
            _ => self.high += 1,
        }
        self.leases += limit.leases.len() as u64;
        self.units += limit.leases.iter().map(super::Lease::belief).sum::<u64>();
    }
}
