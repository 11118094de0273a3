//! The events that a seed covered.
use std::collections::BTreeMap;
use std::fmt;

use crate::seeds::Outcome;

/// The events that a seed covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::billing) struct Summary {
    pub(in crate::billing) transitions: BTreeMap<(String, String), u64>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Outcome for Summary {
    fn add(&mut self, other: &Summary) {
        other.transitions.iter().for_each(|(step, n)| *self.transitions.entry(step.clone()).or_default() += n);
        other.counts.iter().for_each(|(what, n)| *self.counts.entry(what).or_default() += n);
    }
}

impl Summary {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Returns true if the transition occurred.
    pub(in crate::billing) fn has(&self, step: &(&str, &str)) -> bool {
        self.transitions.contains_key(&(step.0.to_owned(), step.1.to_owned()))
    }

    /// The transitions that occurred least.
    pub(in crate::billing) fn rarest(&self, steps: &[(&str, &str)]) -> String {
        let count =
            |step: &(&str, &str)| self.transitions.get(&(step.0.to_owned(), step.1.to_owned())).copied().unwrap_or(0);
        let mut counts: Vec<(u64, String)> =
            steps.iter().map(|step| (count(step), format!("{} {:?} -> {:?}", count(step), step.0, step.1))).collect();
        counts.sort();
        counts.into_iter().take(3).map(|(_, words)| words).collect::<Vec<_>>().join(", ")
    }

    pub(in crate::billing) fn reached_everything(&self) -> bool {
        let kinds = [
            "kill",
            "power loss",
            "replaced",
            "remapped",
            "adjusted",
            "outage",
            "duplicate",
            "replay",
            "split hour",
            "looked",
            "restored",
            "stranger before the work",
            "stranger after the work",
            "409 after the work",
            "settled by hand",
        ];
        kinds.iter().all(|kind| self.counts.get(kind).is_some_and(|count| *count > 0))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |(what, count): (&&str, &u64)| format!("{count} {what}");
        write!(f, "{}", self.counts.iter().map(words).collect::<Vec<_>>().join(", "))
    }
}
