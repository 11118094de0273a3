//! The events that a seed covered.
use std::collections::BTreeMap;
use std::fmt;

use crate::seeds::Outcome;

/// The events that a seed covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) kills: u64,
    pub(super) power_losses: u64,
    pub(super) faults: u64,
    pub(super) clock_jumps: u64,
    pub(super) pruned: u64,
    pub(super) conflicts: u64,
    pub(super) rebuilt: u64,
    pub(super) repriced: u64,
    pub(super) operations: u64,
    /// The disk's faults and crashes, with their number.
    pub(super) met: BTreeMap<&'static str, u64>,
}

impl Outcome for Summary {
    fn add(&mut self, other: &Summary) {
        let pairs = [
            (&mut self.sent, other.sent),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.kills, other.kills),
            (&mut self.power_losses, other.power_losses),
            (&mut self.faults, other.faults),
            (&mut self.clock_jumps, other.clock_jumps),
            (&mut self.pruned, other.pruned),
            (&mut self.conflicts, other.conflicts),
            (&mut self.rebuilt, other.rebuilt),
            (&mut self.repriced, other.repriced),
            (&mut self.operations, other.operations),
        ];
        pairs.into_iter().for_each(|(to, from)| *to += from);
        for (what, count) in &other.met {
            *self.met.entry(what).or_default() += count;
        }
    }
}

impl Summary {
    /// Returns true if every kind of fault occurred at least once.
    pub(crate) fn reached_everything(&self) -> bool {
        let all = [self.acknowledged, self.refused, self.unknown, self.kills, self.power_losses, self.faults];
        all.iter()
            .chain(&[self.clock_jumps, self.pruned, self.conflicts, self.rebuilt, self.repriced])
            .all(|count| *count > 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} acknowledged, {} refused, {} unanswered, {} conflicts; {} kills, {} power losses, {} disk faults, \
             {} clock jumps, {} records pruned, {} rebuilt, {} times priced again, {} disk operations",
            self.sent,
            self.acknowledged,
            self.refused,
            self.unknown,
            self.conflicts,
            self.kills,
            self.power_losses,
            self.faults,
            self.clock_jumps,
            self.pruned,
            self.rebuilt,
            self.repriced,
            self.operations
        )?;
        let met: Vec<String> = self.met.iter().map(|(what, count)| format!("{what} {count}")).collect();
        write!(f, "; met: {}", met.join(", "))
    }
}
