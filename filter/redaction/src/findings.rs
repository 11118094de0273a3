//! What was replaced in an answer.
use crate::identifiers::Owner;

/// What stands in place of an identifier.
pub(crate) const REPLACEMENT: &[u8] = b"[redacted]";
/// The most owners that are told by name for one answer.
const OWNERS_MAX: usize = 8;

/// What was replaced.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) count: u64,
    pub(crate) owners: Vec<Owner>,
}

impl Findings {
    pub(crate) fn add(&mut self, owner: Owner) {
        self.count = self.count.saturating_add(1);
        if self.owners.len() < OWNERS_MAX && !self.owners.contains(&owner) {
            self.owners.push(owner);
        }
    }
}
