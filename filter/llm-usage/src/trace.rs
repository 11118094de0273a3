//! Records the spans of a document that may differ in the next one of its shape.
use super::counters::Field;
use crate::json::Varying;

/// The most spans that are recorded. OpenAI's events have six, with log probabilities seven, with usage ten.
const SPANS_MAX: usize = 24;

/// The content of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanContent {
    /// A value of which only text is read.
    Unread(Varying),
    /// A count of the usage object.
    Count(Field),
}

/// A span: how many bytes of the document were left where it began, and where it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VaryingSpan {
    pub(crate) content: SpanContent,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

const NO_SPAN: VaryingSpan = VaryingSpan { content: SpanContent::Unread(Varying::Container), begin: 0, end: 0 };

/// The spans of one document, which is fed whole while recording is on.
#[derive(Debug)]
pub(crate) struct Trace {
    on: bool,
    /// The last span has not ended.
    open: bool,
    spans: [VaryingSpan; SPANS_MAX],
    /// How many there were; more than fit if some could not be recorded.
    count: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { on: false, open: false, spans: [NO_SPAN; SPANS_MAX], count: 0 }
    }
}

impl Trace {
    /// Records the spans of the next document.
    pub(crate) fn start(&mut self) {
        (self.on, self.open, self.count) = (true, false, 0);
    }

    /// Stops recording. Returns the spans in order; None if not all could be recorded.
    pub(crate) fn stop(&mut self) -> Option<&[VaryingSpan]> {
        self.on = false;
        self.spans.get(..self.count)
    }

    /// Gives up: what the document says depends on more than its spans.
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

    /// Ends the last span, recorded or not.
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
