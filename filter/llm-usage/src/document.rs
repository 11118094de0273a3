//! Reads one document of an answer while it is scanned, and stages its numbers until it has ended.
use super::accumulator::UsageAccumulator;
use super::counters::{Counters, Field};
use super::kind::{Kind, Mark};
use super::name::Name;
use super::path::{ModalityKind, Node, UsageLocation, Word, child, element};
use super::staged::Staged;
use super::text::TextWeight;
use super::trace::{self, SpanContent, Trace};
use crate::json::{Container, DEPTH_MAX, Scalar, Varying, Visitor, Want, count};

/// Objects among the details whose members have names that are their own anywhere.
const UNNAMED_MEMBERS: [&str; 3] = ["server_tool_use", "cache_creation", "server_side_tool_usage_details"];

/// How deep elements stand in an array that is a member of the document itself.
const ROOT_ARRAY_DEPTH: usize = 2;

/// When a staged document is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    /// As soon as it ends: a body, a sequence of documents.
    AtOnce,
    /// When the frame around it has ended well: a server-sent event, a checked frame.
    WhenFramed,
}

/// The visitor: a path from the root, the staged document, and everything believed so far.
#[derive(Debug)]
pub(crate) struct Document {
    parents: [Node; DEPTH_MAX],
    depth: usize,
    current: Node,
    /// The node of the next value.
    pending: Node,
    name: Name,
    /// The names of the objects around a detail, and how long they were in each of [`Document::parents`].
    prefix: Name,
    prefix_lens: [u8; DEPTH_MAX],
    modality: Name,
    modal: Option<u64>,
    /// The counts of the iteration at hand, if it is one that the message's own counts leave out.
    parts: Option<Box<Counters>>,
    is_left_out: bool,
    belief: Belief,
    pub(crate) staged: Staged,
    pub(crate) accumulator: UsageAccumulator,
    /// Set only for streams in which each document has the shape of the last.
    trace: Option<Box<Trace>>,
}

impl Document {
    pub(crate) fn new(accumulator: UsageAccumulator) -> Self {
        Document {
            // Copied as a whole, where a loop would write each.
            parents: const { [Node::Top; DEPTH_MAX] },
            depth: 0,
            current: Node::Top,
            pending: Node::Root,
            name: Name::EMPTY,
            prefix: Name::EMPTY,
            prefix_lens: [0; DEPTH_MAX],
            modality: Name::EMPTY,
            modal: None,
            parts: None,
            is_left_out: false,
            belief: Belief::AtOnce,
            staged: Staged::default(),
            accumulator,
            trace: None,
        }
    }

    pub(crate) fn set_belief(&mut self, belief: Belief) {
        self.belief = belief;
    }

    /// Ends the body within or between documents. A usage object that had ended counts, even if the rest of its
    /// document never came; so does the text.
    pub(crate) fn finish(&mut self) {
        if self.belief == Belief::AtOnce && self.staged.closed {
            self.commit();
        } else {
            let staged = std::mem::take(&mut self.staged);
            // Half an event is of no use to any client; half an answer may be.
            if !self.accumulator.is_stream {
                self.accumulator.add_text(&staged);
            }
        }
    }

    /// Discards the numbers of a document that turned out not to be JSON; its text counts.
    pub(crate) fn doubt(&mut self) {
        self.staged.closed = false;
    }

    /// The document at hand tells of a failure, whatever stands in it.
    pub(crate) fn fail(&mut self) {
        self.staged.marks.set(Mark::Error);
        self.accumulator.fail();
    }

    /// Believes the staged document.
    pub(crate) fn commit(&mut self) {
        self.accumulator.add(&mut self.staged);
        self.staged.reset();
    }

    /// Believes a document that is like an earlier one, with this text and these counts.
    pub(crate) fn commit_like(&mut self, said: &Staged, text: TextWeight, counts: &[(Field, u64)]) {
        let staged = &mut self.staged;
        (staged.kind, staged.marks, staged.text) = (said.kind, said.marks, text);
        if !said.is_plain() {
            (staged.location, staged.closed, staged.counters) = (said.location, said.closed, said.counters);
            staged.details.clone_from(&said.details);
            for (field, value) in counts {
                staged.counters.set(*field, Some(*value));
            }
        }
        self.commit();
    }

    /// Discards the staged document and its path.
    pub(crate) fn discard(&mut self) {
        self.staged.reset();
        self.depth = 0;
        self.current = Node::Top;
        self.pending = Node::Root;
        self.prefix.truncate(0);
    }

    /// Records the varying spans of the next document, which is fed whole.
    pub(crate) fn start_trace(&mut self) {
        self.trace.get_or_insert_default().start();
    }

    /// The recorded spans in order, and the staged document; None if not all could be recorded.
    pub(crate) fn stop_trace(&mut self) -> Option<(&[trace::VaryingSpan], &Staged)> {
        Some((self.trace.as_mut()?.stop()?, &self.staged))
    }

    fn fail_trace(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.fail();
        }
    }

    fn enter(&mut self) -> bool {
        let Some(slot) = self.parents.get_mut(self.depth) else { return false };
        *slot = self.current;
        self.current = self.pending;
        self.depth = self.depth.saturating_add(1);
        true
    }

    /// Begins an object at `node`; false skips it.
    fn begin_object(&mut self, node: Node) -> bool {
        match node {
            Node::Usage(location) => self.staged.begin(location),
            Node::GeminiUsage => {
                self.staged.marks.set(Mark::Google);
                self.staged.begin(UsageLocation::Root)
            }
            Node::Meta => self.staged.begin(UsageLocation::Meta),
            Node::MetaInfo => self.staged.begin(UsageLocation::Generation),
            Node::Generation => {
                self.staged.marks.set(Mark::HuggingFace);
                self.staged.begin(UsageLocation::Generation)
            }
            Node::InvocationMetrics => {
                self.staged.marks.set(Mark::Bedrock);
                self.staged.begin(UsageLocation::InvocationMetrics)
            }
            Node::VertexMetadata => {
                self.staged.location == Some(UsageLocation::Predictions)
                    || self.staged.begin(UsageLocation::Predictions)
            }
            Node::Billed => {
                self.staged.marks.set(Mark::Cohere);
                true
            }
            Node::XGroq => {
                self.staged.marks.set(Mark::Groq);
                true
            }
            Node::Modality(_) => {
                self.modality = Name::EMPTY;
                self.modal = None;
                true
            }
            Node::Iteration => {
                (self.parts, self.is_left_out) = (None, false);
                true
            }
            Node::Detail => {
                self.begin_members();
                true
            }
            _ => is_object(node),
        }
    }

    /// An object among the details: its members bear its name, except where they are known by their own.
    fn begin_members(&mut self) {
        if let Some(len) = self.prefix_lens.get_mut(self.depth) {
            *len = self.prefix.len();
        }
        if !matches!(self.name.get(), Some(name) if UNNAMED_MEMBERS.contains(&name)) {
            self.prefix.extend(&self.name);
        }
        self.pending = Node::Members;
    }

    fn begin_array(&mut self, node: Node) -> bool {
        match node {
            Node::Root => {
                self.pending = Node::Documents;
                self.depth == 0
            }
            Node::Choices => {
                self.staged.marks.set(Mark::Choices);
                true
            }
            Node::Predictions => {
                self.staged.marks.set(Mark::Predictions);
                self.staged.counters.unset(Field::Prompt);
                self.staged.location == Some(UsageLocation::Predictions)
                    || self.staged.begin(UsageLocation::Predictions)
            }
            Node::Results => {
                self.staged.marks.set(Mark::Listed);
                self.staged.location.is_none_or(|location| location <= UsageLocation::Loose)
            }
            _ => matches!(
                node,
                Node::Candidates | Node::Modalities(_) | Node::Iterations | Node::Output | Node::Text | Node::AllText
            ),
        }
    }

    fn read_count(&mut self, field: Field, scalar: Scalar<'_>) {
        match scalar {
            Scalar::Number(text) => self.set_count(field, text.and_then(count)),
            Scalar::Null if self.current != Node::Root || self.staged.location == Some(UsageLocation::Loose) => {
                self.staged.counters.unset(field);
            }
            Scalar::Null => {}
            _ => self.set_count(field, None),
        }
    }

    /// None stands for a value that is no count.
    fn set_count(&mut self, field: Field, value: Option<u64>) {
        if self.current != Node::Root || self.loose() {
            self.staged.counters.set(field, value);
        }
    }

    fn add_count(&mut self, field: Field, scalar: Scalar<'_>) {
        self.fail_trace();
        if let Scalar::Number(text) = scalar
            && (self.current != Node::Result || self.loose())
        {
            self.staged.counters.add(field, text.and_then(count));
        }
    }

    /// Whether counts at the root itself apply: only if there is no usage object.
    fn loose(&mut self) -> bool {
        self.staged.location == Some(UsageLocation::Loose)
            || (self.staged.location.is_none() && self.staged.begin(UsageLocation::Loose))
    }

    fn read_detail(&mut self, scalar: Scalar<'_>) {
        let (Some(name), Scalar::Number(Some(text))) = (self.name.get(), scalar) else { return };
        let Some(value) = count(text) else { return };
        let known = match name {
            "seconds" => self.staged.marks.has(Mark::Duration),
            "pages_processed" | "search_units" | "classifications" | "billable_character_count" => true,
            _ => false,
        };
        if known {
            self.staged.marks.set(Mark::OtherUnit);
        }
        match name {
            "prompt_cache_miss_tokens" => self.staged.marks.set(Mark::DeepSeek),
            "cost_in_usd_ticks" | "num_sources_used" => self.staged.marks.set(Mark::XAi),
            "prompt_audio_seconds" if value > 0 => self.staged.marks.set(Mark::AudioSeconds),
            _ => {}
        }
        if let Some(name) = self.prefix.joined(&self.name).get() {
            self.staged.details.set(name, value);
        }
    }

    /// Ends an entry of a list by modality, whose two members come in any order.
    fn end_modality(&mut self, of: ModalityKind) {
        let (Some(modality), Some(value)) = (self.modality.get(), self.modal) else { return };
        let name = Name::new(modality.as_bytes(), of.infix());
        if let Some(name) = name.get() {
            self.staged.details.set(name, value);
        }
    }

    fn end_iteration(&mut self) {
        self.fail_trace();
        let Some(parts) = self.parts.take().filter(|_| self.is_left_out) else { return };
        for field in Field::ITERATIONS {
            if let Some(value) = parts.get(field) {
                self.staged.counters.add(field, Some(value));
            }
        }
    }

    fn read_word(&mut self, word: Word, value: &[u8]) {
        match word {
            Word::Id => self.accumulator.response_id.first(value),
            Word::Model => self.accumulator.response_model.first(value),
            Word::Tier => self.accumulator.service_tier.first_but(b"auto", value),
            Word::Kind => match Kind::read(value) {
                Kind::Unknown => {}
                kind => self.staged.kind = kind,
            },
            Word::Status => match value {
                b"failed" => {
                    self.staged.marks.set(Mark::Terminal);
                    self.staged.marks.set(Mark::Failed);
                }
                b"completed" | b"incomplete" | b"cancelled" | b"expired" => self.staged.marks.set(Mark::Terminal),
                b"queued" | b"in_progress" | b"requires_action" | b"cancelling" | b"validating" | b"finalizing" => {
                    self.staged.marks.set(Mark::Underway);
                }
                _ => {}
            },
            Word::Finish => {
                // Alibaba sends "null" until the real reason.
                if !value.is_empty() && value != b"null" {
                    self.staged.marks.set(Mark::Finish);
                }
            }
            Word::UsageType => {
                if value == b"duration" {
                    self.staged.marks.set(Mark::Duration);
                }
            }
            Word::Modality => self.modality = Name::lower(value),
            Word::IterationType => self.is_left_out = value != b"message",
        }
    }
}

/// Nodes at which only an object is expected.
const fn is_object(node: Node) -> bool {
    !matches!(
        node,
        Node::Top
            | Node::Documents
            | Node::Choices
            | Node::Candidates
            | Node::Predictions
            | Node::Results
            | Node::Modalities(_)
            | Node::Iterations
            | Node::Count(_)
            | Node::Sum(_)
            | Node::Part(_)
            | Node::Modal
            | Node::Word(_)
            | Node::Sign(_)
            | Node::ChoiceIndex
            | Node::Flag(_)
            | Node::Done
            | Node::WholeText
    )
}

impl Visitor for Document {
    fn key(&mut self, key: &[u8]) -> Want {
        let (node, want) = child(self.current, key, &mut self.name);
        self.pending = node;
        want
    }

    fn element(&mut self) -> Want {
        let (node, want) = element(self.current);
        if node == Node::Choice {
            self.staged.marks.set(Mark::SomeChoice);
            if self.depth == ROOT_ARRAY_DEPTH {
                self.staged.marks.set(Mark::SomeRootChoice);
            }
        }
        self.pending = node;
        want
    }

    fn begin(&mut self, container: Container) -> bool {
        match self.pending {
            Node::Sign(mark) => self.staged.marks.set(mark),
            Node::Count(field) => self.set_count(field, None),
            _ => {}
        }
        let wanted = match container {
            Container::Object => self.begin_object(self.pending),
            Container::Array => self.begin_array(self.pending),
        };
        wanted && self.enter()
    }

    fn end(&mut self) {
        let ended = self.current;
        self.depth = self.depth.saturating_sub(1);
        self.current = self.parents.get(self.depth).copied().unwrap_or(Node::Top);
        match ended {
            Node::Usage(_) | Node::GeminiUsage => self.staged.closed = true,
            Node::Modality(of) => self.end_modality(of),
            Node::Iteration => self.end_iteration(),
            Node::Members => self.prefix.truncate(self.prefix_lens.get(self.depth).copied().unwrap_or(0)),
            Node::Root if self.current == Node::Documents => {
                self.accumulator.set_stream();
                self.commit();
            }
            Node::Documents => self.accumulator.array_ended(),
            _ => {}
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        match (self.pending, scalar) {
            (Node::Count(field), scalar) => self.read_count(field, scalar),
            (Node::Sum(field), scalar) => self.add_count(field, scalar),
            (Node::Part(field), Scalar::Number(Some(text))) => {
                self.parts.get_or_insert_default().set(field, count(text));
            }
            (Node::Detail, scalar) => self.read_detail(scalar),
            (Node::Word(word), Scalar::String(Some(value))) => self.read_word(word, value),
            (Node::Sign(_), Scalar::Null) => {}
            (Node::Sign(mark), _) => self.staged.marks.set(mark),
            (Node::Flag(mark), Scalar::Bool(true)) => self.staged.marks.set(mark),
            (Node::Modal, Scalar::Number(Some(text))) => self.modal = count(text),
            (Node::ChoiceIndex, Scalar::Number(Some(text))) if count(text) != Some(0) => {
                self.staged.marks.set(Mark::SecondChoice);
            }
            (Node::Done, Scalar::Bool(done)) => {
                self.staged.marks.set(Mark::Ollama);
                self.staged.marks.set(if done { Mark::Done } else { Mark::NotDone });
            }
            (Node::Usage(location), _) => self.staged.clear(location),
            (Node::GeminiUsage, _) => self.staged.clear(UsageLocation::Root),
            _ => {}
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        match self.pending {
            Node::WholeText => self.staged.whole_text.add(piece),
            _ => self.staged.text.add(piece),
        }
    }

    fn begin_varying(&mut self, varying: Varying, left: usize) {
        let Some(trace) = &mut self.trace else { return };
        match (varying, self.pending) {
            (Varying::Text, Node::WholeText) => trace.fail(),
            // Whether a count at the root applies depends on other members.
            (Varying::Read, Node::Count(field)) if self.current != Node::Root => {
                trace.begin(SpanContent::Count(field), left);
            }
            (Varying::Read, _) => {}
            (varying, _) => trace.begin(SpanContent::Unread(varying), left),
        }
    }

    fn end_varying(&mut self, left: usize) {
        if let Some(trace) = &mut self.trace {
            trace.end(left);
        }
    }

    fn end_document(&mut self) {
        self.current = Node::Top;
        self.pending = Node::Root;
        self.depth = 0;
        self.prefix.truncate(0);
        if self.belief == Belief::AtOnce {
            self.commit();
        }
    }
}
