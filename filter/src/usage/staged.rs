//! What one document has said, until it is believed.
use super::counters::{Counters, Details};
use super::kind::{Kind, Marks};
use super::path::Place;
use super::text::TextWeight;

/// What one document said.
#[derive(Clone, Debug, Default)]
pub(super) struct Staged {
    pub(super) kind: Kind,
    pub(super) marks: Marks,
    pub(super) place: Option<Place>,
    /// The usage object at `place` has ended.
    pub(super) closed: bool,
    pub(super) counters: Counters,
    pub(super) details: Details,
    pub(super) text: TextWeight,
    /// Text that a stream has brought before.
    pub(super) whole_text: TextWeight,
}

impl Staged {
    /// A usage object begins at `place`. False if it does not count, because a better place has been seen.
    pub(super) fn begin(&mut self, place: Place) -> bool {
        if self.place > Some(place) {
            return false;
        }
        self.place = Some(place);
        self.closed = false;
        self.counters = Counters::default();
        self.details.clear();
        true
    }

    /// Forgets everything. What nothing was said of is not touched.
    pub(super) fn reset(&mut self) {
        if !self.is_plain() {
            self.counters.clear();
            self.details.clear();
        }
        (self.kind, self.marks, self.place, self.closed) = (Kind::default(), Marks::default(), None, false);
        (self.text, self.whole_text) = (TextWeight::default(), TextWeight::default());
    }

    /// Whether no number was said: all there may be is kind, marks and text.
    pub(super) fn is_plain(&self) -> bool {
        self.place.is_none() && !self.closed && self.counters.is_empty() && self.details.is_empty()
    }

    /// What stood at `place` is replaced by nothing: a later member of the same name says `null`.
    pub(super) fn clear(&mut self, place: Place) {
        if self.place == Some(place) {
            self.place = None;
            self.counters = Counters::default();
            self.details.clear();
        }
    }
}
