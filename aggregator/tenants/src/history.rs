//! Tracks which tenants changed between versions, so that a gateway with a known version fetches only the difference.
use std::collections::{BTreeSet, VecDeque};

use weir_contract::TenantId;

/// The most versions kept: more edits than happen while a gateway is away for minutes.
pub(crate) const VERSIONS_MAX: usize = 512;
/// The most changed tenants kept, over all versions: as many as one difference may carry. A gateway that is further
/// behind fetches everything.
pub(crate) const CHANGES_MAX: usize = 1_500;

/// The latest versions.
#[derive(Debug, Default)]
pub(crate) struct History {
    steps: VecDeque<Step>,
}

/// The change from one version to the next.
#[derive(Debug)]
struct Step {
    from: String,
    changed: Vec<TenantId>,
}

impl History {
    /// Records the change from the version `from`, in which these tenants were different. None stands for a change that
    /// is too large to keep: gateways with older versions fetch everything.
    pub(crate) fn follow(&mut self, from: String, changed: Option<Vec<TenantId>>) {
        match changed {
            Some(changed) => self.steps.push_back(Step { from, changed }),
            None => self.steps.clear(),
        }
        while self.steps.len() > VERSIONS_MAX || self.changes() > CHANGES_MAX {
            self.steps.pop_front();
        }
    }

    fn changes(&self) -> usize {
        self.steps.iter().map(|step| step.changed.len()).sum()
    }

    /// The tenants that changed since a version; None if that version is not kept.
    pub(crate) fn since(&self, version: &str) -> Option<BTreeSet<&TenantId>> {
        let first = self.steps.iter().rposition(|step| step.from == version)?;
        Some(self.steps.iter().skip(first).flat_map(|step| &step.changed).collect())
    }
}
