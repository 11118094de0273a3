//! What one document has said, until it is believed.
use super::counters::{Counters, Details};
use super::kind::{Kind, Marks};
use super::path::UsageLocation;
use super::text::TextWeight;

/// What one document said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staged {
    pub(crate) kind: Kind,
    pub(crate) marks: Marks,
    pub(crate) location: Option<UsageLocation>,
    /// The usage object at `location` has ended.
    pub(crate) closed: bool,
    pub(crate) counters: Counters,
    pub(crate) details: Details,
    pub(crate) text: TextWeight,
    /// Text that a stream has brought before.
    pub(crate) whole_text: TextWeight,
}

impl Staged {
    /// A usage object begins at `location`. False if it does not count, because a better place has been seen.
    pub(crate) fn begin(&mut self, location: UsageLocation) -> bool {
        if self.location > Some(location) {
            return false;
        }
        self.location = Some(location);
        self.closed = false;
        self.counters = Counters::default();
        self.details.clear();
        true
    }

    /// Forgets everything. What nothing was said of is not touched.
    pub(crate) fn reset(&mut self) {
        if !self.is_plain() {
            self.counters.clear();
            self.details.clear();
        }
        (self.kind, self.marks, self.location, self.closed) = (Kind::default(), Marks::default(), None, false);
        (self.text, self.whole_text) = (TextWeight::default(), TextWeight::default());
    }

    /// Whether no number was said: all there may be is kind, marks and text.
    pub(crate) fn is_plain(&self) -> bool {
        self.location.is_none() && !self.closed && self.counters.is_empty() && self.details.is_empty()
    }

    /// What stood at `location` is replaced by nothing: a later member of the same name says `null`.
    pub(crate) fn clear(&mut self, location: UsageLocation) {
        if self.location == Some(location) {
            self.location = None;
            self.counters = Counters::default();
            self.details.clear();
        }
    }
}
