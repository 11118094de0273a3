//! What happened in a seed.
use std::collections::BTreeMap;
use std::fmt;

use crate::seeds::Outcome;

/// What the seeds of `make test` must meet, each at least once.
const ALL: [&str; 26] = [
    "acknowledged",
    "passed on",
    "refused for now",
    "take-overs",
    "hand-overs",
    "kills",
    "machines lost",
    "pauses",
    "partitions",
    "nodes apart",
    "slow exchanges",
    "lost requests",
    "lost answers",
    "late arrivals",
    "repeated batches",
    "dead entries",
    "commits without an answer",
    "lost transactions",
    "memory short",
    "lost ends",
    "restarts of PostgreSQL",
    "restarts of the log",
    "rows made",
    "reported",
    "repeated bodies",
    "late bodies",
];

/// What happened, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary(BTreeMap<&'static str, u64>);

impl Summary {
    pub(super) fn met(&mut self, what: &'static str) {
        self.add_to(what, 1);
    }

    pub(super) fn add_to(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// What never happened.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|what| !self.0.contains_key(what)).collect()
    }
}

impl Outcome for Summary {
    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| self.add_to(what, *count));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(what, count)| format!("{what} {count}")).collect();
        f.write_str(&parts.join(", "))
    }
}
