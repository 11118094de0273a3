//! Judges the answers of a guarded vector store.
use std::collections::BTreeMap;

use weir_vector_guard::{Call, Verdict};

use super::Judged;

/// What is remembered of a guarded request.
#[derive(Debug)]
pub(in crate::request) struct Guarded {
    pub(in crate::request) call: Call,
    /// The tenant's own records in the answer.
    pub(in crate::request) results: u64,
    /// Records that were taken out of it, by owner.
    pub(in crate::request) removed: BTreeMap<String, u64>,
    /// The answer could not be checked, and was withheld.
    pub(in crate::request) is_withheld: bool,
}

impl Guarded {
    pub(in crate::request) fn new(call: Call) -> Self {
        Guarded { call, results: 0, removed: BTreeMap::new(), is_withheld: false }
    }

    /// Checks a whole answer.
    pub(super) fn judge(&mut self, status: u16, body: &[u8]) -> Judged {
        let checked = self.call.answer(status, body);
        (self.results, self.removed) = (checked.results, checked.removed);
        match checked.verdict {
            Verdict::Same => Judged::Same,
            Verdict::Changed(body) => Judged::Changed(body),
            Verdict::NotFound(body) => Judged::Replaced(404, body),
            Verdict::Unreadable => {
                self.withhold();
                Judged::Unreadable
            }
        }
    }

    /// The answer cannot be checked.
    pub(super) fn withhold(&mut self) {
        (self.is_withheld, self.results) = (true, 0);
    }
}
