//! Where in a document stood what may differ in the next of its shape.
use super::counters::Field;
use crate::json::Varying;

/// The most such places that are noted. OpenAI's events have six, with log probabilities seven, with usage ten.
const SPANS_MAX: usize = 24;

/// What stands in such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanContent {
    /// Nothing that is read but text.
    Unread(Varying),
    /// A count of the usage object.
    Count(Field),
}

/// One place, by how many bytes were left of the document where it began, and where it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VaryingSpan {
    pub(crate) content: SpanContent,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

const NO_SPAN: VaryingSpan = VaryingSpan { content: SpanContent::Unread(Varying::Container), begin: 0, end: 0 };

/// The places of one document, which is fed whole while this is on.
#[derive(Debug)]
pub(crate) struct Trace {
    on: bool,
    /// The last place noted has not ended.
    open: bool,
    spans: [VaryingSpan; SPANS_MAX],
    /// How many there were; more than fit where some could not be noted.
    count: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { on: false, open: false, spans: [NO_SPAN; SPANS_MAX], count: 0 }
    }
}

impl Trace {
    /// Notes the places of the document that is fed next.
    pub(crate) fn start(&mut self) {
        (self.on, self.open, self.count) = (true, false, 0);
    }

    /// Notes no more. The places, in order; None where not all could be noted.
    pub(crate) fn stop(&mut self) -> Option<&[VaryingSpan]> {
        self.on = false;
        self.spans.get(..self.count)
    }

    /// The document has no shape: what it says depends on more than its places.
    pub(crate) fn fail(&mut self) {
        (self.on, self.count) = (false, usize::MAX);
    }

    pub(crate) fn begin(&mut self, content: SpanContent, left: usize) {
        if !self.on {
            return;
        }
        match self.spans.get_mut(self.count) {
            Some(span) => {
                *span = VaryingSpan { content, begin: left, end: left };
                self.count = self.count.saturating_add(1);
                self.open = true;
            }
            None => self.fail(),
        }
    }

    /// What began last ends, whether that was noted or not.
    pub(crate) fn end(&mut self, left: usize) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let last = self.count.checked_sub(1).and_then(|last| self.spans.get_mut(last));
        if let Some(span) = last {
            span.end = left;
        }
    }
}
