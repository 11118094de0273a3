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
    /// Text that the stream has sent before.
    pub(crate) whole_text: TextWeight,
}

impl Staged {
    /// Begins a usage object at `location`. False if it does not count, because one at a better location has been
    /// seen.
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

    /// Forgets everything, and touches only what was set.
    pub(crate) fn reset(&mut self) {
        if !self.is_plain() {
            self.counters.clear();
            self.details.clear();
        }
        (self.kind, self.marks, self.location, self.closed) = (Kind::default(), Marks::default(), None, false);
        (self.text, self.whole_text) = (TextWeight::default(), TextWeight::default());
    }

    /// Whether no number was said: there are only kind, marks and text.
    pub(crate) fn is_plain(&self) -> bool {
        self.location.is_none() && !self.closed && self.counters.is_empty() && self.details.is_empty()
    }

    /// Removes the numbers at `location`: a later member of the same name is `null`.
    pub(crate) fn clear(&mut self, location: UsageLocation) {
        if self.location == Some(location) {
            self.location = None;
            self.counters = Counters::default();
            self.details.clear();
        }
    }
}
