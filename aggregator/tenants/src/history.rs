//! Which tenants changed from version to version, so that a gateway that knows one learns only what differs.
use std::collections::{BTreeSet, VecDeque};

use weir_contract::TenantId;

use super::pages::State;

/// The most versions that are remembered: more edits than happen while a gateway is away for minutes.
pub const VERSIONS_MAX: usize = 64;
/// The most changed tenants that are remembered, over all versions: as many as one difference takes. A gateway further behind
/// fetches everything.
pub const CHANGES_MAX: usize = 1_500;

/// The latest versions.
#[derive(Debug, Default)]
pub struct History {
    steps: VecDeque<Step>,
}

/// From one version to the next.
#[derive(Debug)]
struct Step {
    from: String,
    changed: Vec<TenantId>,
}

impl History {
    /// One state gives way to another.
    pub fn follow(&mut self, old: &State, new: &State) {
        if old.version() == new.version() {
            return;
        }
        match old.changes(new, CHANGES_MAX) {
            Some(changed) => self.steps.push_back(Step { from: old.version().to_owned(), changed }),
            // Whoever knows an older version is as well served with the whole.
            None => self.steps.clear(),
        }
        while self.steps.len() > VERSIONS_MAX || self.changes() > CHANGES_MAX {
            self.steps.pop_front();
        }
    }

    fn changes(&self) -> usize {
        self.steps.iter().map(|step| step.changed.len()).sum()
    }

    /// Who changed since a version; None where that version is not remembered.
    pub fn since(&self, version: &str) -> Option<BTreeSet<&TenantId>> {
        let first = self.steps.iter().rposition(|step| step.from == version)?;
        Some(self.steps.iter().skip(first).flat_map(|step| &step.changed).collect())
    }
}
