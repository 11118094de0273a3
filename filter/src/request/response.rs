//! Phase 3: the answer: its status, bytes and usage, and how it ended.
use weir_contract::{Outcome, Timestamp};
use weir_llm_translate::{Dialect, cut_event, error_answer};
use weir_llm_usage::bytes;
use weir_llm_usage::strip::{BUFFERED_MAX_BYTES, IncludeUsageStripper};
use weir_llm_usage::{BodyEnd, Ending, Provider, Reader, Reading, ResponseHead};
use weir_sealed_ids::Answer;

use crate::head::{self, Pair};
use crate::metering::{self, Metering};

/// What the gateway itself says of a request's end, where it was asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndFacts<'a> {
    /// Envoy's `response.code_details`.
    pub details: Option<&'a [u8]>,
    /// The attempts that the upstream role has listed ([`crate::routing::told::ATTEMPTS`]).
    pub attempts: Option<&'a [u8]>,
    /// The upstream gave no answer, and the gateway made one that it has not shown.
    pub unanswered: bool,
}

/// What was seen of the answer.
#[derive(Debug, Default)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) first_byte: Option<Timestamp>,
    expected: Option<u64>,
    ended: bool,
    /// It is a stream of events that can be read.
    is_stream: bool,
    /// The answer is gRPC: its status is the one behind the body.
    grpc: Option<GrpcStatus>,
    reader: Option<Box<Reader>>,
    /// The first bytes of an answer from an undeclared upstream.
    sniffed: Sniffed,
    /// The beginning of a refusal of a request that was asked for its usage; None where it is not looked at.
    refusal: Option<Vec<u8>>,
    /// Weir asked for a stream's usage: what comes of it is taken out again.
    stripper: Option<Box<IncludeUsageStripper>>,
    /// Seals the ids in it. The reader sees them as the provider has written them: what an answer is billed by never depends on a
    /// key.
    sealed: Option<Box<Answer>>,
    /// The dialect of the client in which an error ends a stream that breaks off; None where nobody says one.
    told_cuts: Option<Dialect>,
    /// Such an error was said.
    cut: bool,
    /// What the client gets in the place of an error that no SDK reads: one of the gateway's own, or a page of HTML.
    error: Instead,
}

/// What goes on in the place of a body.
#[derive(Debug, Default, PartialEq, Eq)]
enum Instead {
    /// Nothing: the body goes on.
    #[default]
    Itself,
    /// These bytes, with its next chunk.
    Bytes(Vec<u8>),
    /// Nothing any more.
    Nothing,
}

/// How an answer is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAs {
    pub(super) metering: Metering,
    /// Who answers, where the configuration says so.
    pub(super) provider: Option<Provider>,
    /// `input_tokens` includes cached tokens, whatever the shape says.
    pub(super) input_includes_cache: bool,
}

/// What the first bytes of an undeclared answer show.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sniffed {
    /// Weir does not look at them.
    #[default]
    Off,
    /// The first bytes so far, at most [`metering::SNIFFED_MAX_BYTES`], which do not show a provider yet.
    First(Vec<u8>),
    /// They show a provider.
    Provider,
}

/// The most bytes of a refusal that are looked at.
const REFUSAL_MAX_BYTES: usize = 4096;

/// The member that some providers refuse.
const STREAM_OPTIONS: &[u8] = b"stream_options";

/// How a gRPC call ended, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrpcStatus {
    Awaited,
    Code(u8),
}

impl GrpcStatus {
    /// Unknown codes, and texts that are not numbers, are UNKNOWN (2), as gRPC's own clients read them.
    fn read(value: &[u8]) -> Self {
        GrpcStatus::Code(std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(2))
    }

    /// By the HTTP status that `google.rpc.Code` gives each code.
    fn outcome(self) -> Outcome {
        match self {
            GrpcStatus::Code(0) => Outcome::Ok,
            GrpcStatus::Code(1) => Outcome::ClientClosed,
            GrpcStatus::Code(4) => Outcome::Timeout,
            GrpcStatus::Code(3 | 5..=11 | 16) => Outcome::ClientError,
            // Without its status a call has failed.
            GrpcStatus::Awaited | GrpcStatus::Code(_) => Outcome::UpstreamError,
        }
    }
}

/// Whether a content type begins with `lower`, in any case.
fn begins(kind: &[u8], lower: &[u8]) -> bool {
    kind.get(..lower.len()).is_some_and(|start| bytes::is_name(start, lower))
}

impl Response {
    /// Reads the answer's head.
    pub(super) fn head(&mut self, pairs: &[Pair<'_>], ends: bool, read_as: ReadAs) {
        let find = |name: &str| pairs.iter().find(|(found, _)| head::is(found, name)).map(|(_, value)| *value);
        let status = find(":status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0);
        self.status = status;
        self.expected = find("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        self.ended = ends;
        let is_grpc = find("content-type").is_some_and(|kind| begins(kind, b"application/grpc"));
        self.grpc = is_grpc.then(|| find("grpc-status").map_or(GrpcStatus::Awaited, GrpcStatus::read));
        let head = ResponseHead::from_headers(status, pairs.iter().copied());
        let encoded = head.content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"));
        self.is_stream = is_event_stream(head.content_type) && !encoded;
        let asked = self.stripper.is_some();
        if asked && !self.is_stream {
            self.stripper = None;
        }
        self.refusal = (asked && matches!(status, 400 | 422) && !encoded).then(Vec::new);
        // A gateway that could not show the head tells the status alone.
        let is_readable = || pairs.len() == 1 || metering::is_readable(head.content_type);
        if read_as.metering == Metering::Off || !(200..300).contains(&status) || !is_readable() {
            return;
        }
        match read_as.metering {
            Metering::Inference | Metering::Kept => {
                let mut reader = Box::new(Reader::new(&head, read_as.provider));
                if read_as.input_includes_cache {
                    reader.include_cache();
                }
                self.reader = Some(reader);
            }
            Metering::Undeclared if !encoded => self.sniffed = Sniffed::First(Vec::new()),
            Metering::Undeclared | Metering::Off => {}
        }
    }

    /// Weir has asked for the usage of this stream.
    pub(super) fn strip(&mut self) {
        self.stripper = Some(Box::default());
    }

    /// The ids in this answer are sealed.
    pub(super) fn seal(&mut self, answer: Box<Answer>) {
        self.sealed = Some(answer);
    }

    /// Has the client told, in its dialect, where a stream ends before its answer does.
    pub(super) fn tell_cuts(&mut self, client: Dialect) {
        if self.is_stream && self.reader.is_some() {
            self.told_cuts = Some(client);
        }
    }

    /// Puts an error in the client's dialect in the place of one in no dialect. Returns its length in bytes.
    pub(super) fn tell_error(&mut self, pairs: &[Pair<'_>], client: Dialect) -> Option<usize> {
        let kind = pairs.iter().find(|(name, _)| head::is(name, "content-type")).map_or(&b""[..], |(_, kind)| kind);
        if self.status < 400 || memchr::memmem::find(kind, b"json").is_some() {
            return None;
        }
        let body = error_answer(client, self.status);
        let length = body.len();
        self.error = Instead::Bytes(body);
        Some(length)
    }

    /// Whether the client was told that the stream broke off.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether the body may come to have another length.
    pub(super) fn is_changed(&self) -> bool {
        self.stripper.is_some() || self.sealed.is_some() || self.told_cuts.is_some()
    }

    /// Some: what the client gets instead of the chunk.
    pub(super) fn body(&mut self, chunk: &[u8], ends: bool, now: impl FnOnce() -> Timestamp) -> Option<Vec<u8>> {
        if self.first_byte.is_none() && !chunk.is_empty() {
            self.first_byte = Some(now());
        }
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        self.ended |= ends;
        self.look_at(chunk);
        match std::mem::replace(&mut self.error, Instead::Nothing) {
            Instead::Itself => self.error = Instead::Itself,
            Instead::Bytes(body) => return Some(body),
            Instead::Nothing => return Some(Vec::new()),
        }
        let stays = self.reader.as_mut().is_some_and(|reader| reader.feed(chunk));
        let mut passed = self.strip_chunk(chunk, ends, stays);
        if ends && let Some(error) = self.cut_error() {
            let mut bytes = passed.unwrap_or_else(|| chunk.to_vec());
            bytes.extend_from_slice(&error);
            passed = Some(bytes);
        }
        let Some(answer) = &mut self.sealed else { return passed };
        let sealed = answer.feed(passed.as_deref().unwrap_or(chunk), ends);
        (!bytes::is_same(&sealed, chunk)).then_some(sealed)
    }

    /// The error that ends a stream which lacks its end.
    fn cut_error(&mut self) -> Option<Vec<u8>> {
        let client = self.told_cuts.take()?;
        self.cut = self.reader.as_ref().is_some_and(|reader| reader.is_unfinished_stream());
        self.cut.then(|| cut_event(client))
    }

    /// Takes weir's own addition out of a chunk. `stays`: the reader has seen that it is not there.
    fn strip_chunk(&mut self, chunk: &[u8], ends: bool, stays: bool) -> Option<Vec<u8>> {
        self.stripper.as_ref()?;
        // Kong never says that a body of known length ends.
        let ends = ends || self.is_whole();
        let stripper = self.stripper.as_mut()?;
        if stays && stripper.is_between_events() && chunk.len() <= BUFFERED_MAX_BYTES {
            return None;
        }
        let mut passed = Vec::with_capacity(chunk.len());
        stripper.feed(chunk, &mut passed);
        if ends {
            stripper.finish(&mut passed);
        }
        (!bytes::is_same(&passed, chunk)).then_some(passed)
    }

    /// Whether the trailers of this answer say how it ended.
    pub(super) fn ends_in_trailers(&self) -> bool {
        self.grpc.is_some()
    }

    /// The body has ended, and trailers come behind it.
    pub(super) fn trailers(&mut self, pairs: &[Pair<'_>]) {
        self.ended = true;
        if self.grpc.is_some()
            && let Some((_, value)) = pairs.iter().find(|(name, _)| head::is(name, "grpc-status"))
        {
            self.grpc = Some(GrpcStatus::read(value));
        }
    }

    /// Whether the whole answer went by. Kong may never say so for a body of known length.
    pub(super) fn is_whole(&self) -> bool {
        self.ended || self.expected == Some(self.bytes)
    }

    pub(super) fn needs_details(&self) -> bool {
        !self.is_whole() || self.status == 504
    }

    pub(super) fn outcome(&self, facts: &EndFacts<'_>) -> Outcome {
        let details = facts.details.unwrap_or_default();
        if facts.unanswered {
            return Outcome::UpstreamError;
        }
        let says = |needle: &[u8]| memchr::memmem::find(details, needle).is_some();
        if says(b"timeout") || (self.status == 504 && !self.is_whole()) {
            return Outcome::Timeout;
        }
        if !self.is_whole() {
            return if says(b"upstream_reset") { Outcome::UpstreamReset } else { Outcome::ClientClosed };
        }
        match (self.status, self.grpc) {
            (200, Some(grpc)) => grpc.outcome(),
            _ => self.outcome_by_status(),
        }
    }

    fn outcome_by_status(&self) -> Outcome {
        match self.status {
            0..=399 => Outcome::Ok,
            400..=499 => Outcome::ClientError,
            _ => Outcome::UpstreamError,
        }
    }

    /// What the answer said of its usage; None where there was no answer.
    pub(super) fn finish(&mut self) -> Option<Reading> {
        let end = if self.is_whole() { BodyEnd::Whole } else { BodyEnd::Cut };
        match self.reader.take() {
            Some(mut reader) => Some(reader.finish(end)),
            None => (self.status != 0).then(|| Reading::unread(self.status)),
        }
    }

    /// How the exchange ended, as far as an estimate depends on it.
    pub(super) fn ending(&self, facts: &EndFacts<'_>) -> Ending {
        match self.outcome(facts) {
            Outcome::Timeout | Outcome::UpstreamReset => Ending::Broken,
            Outcome::ClientClosed => Ending::Left,
            Outcome::Ok | Outcome::ClientError | Outcome::UpstreamError => Ending::Whole,
        }
    }

    /// Whether the answer is a provider's, although nobody has declared one here.
    pub(super) fn is_undeclared_provider(&self) -> bool {
        self.sniffed == Sniffed::Provider
    }

    /// Whether the upstream has refused the request for the usage that it was asked for.
    pub(super) fn refuses_stream_options(&self) -> bool {
        self.refusal.as_ref().is_some_and(|body| memchr::memmem::find(body, STREAM_OPTIONS).is_some())
    }

    /// Looks at the first bytes of answers that are not read.
    fn look_at(&mut self, chunk: &[u8]) {
        if let Some(refusal) = &mut self.refusal {
            let room = REFUSAL_MAX_BYTES.saturating_sub(refusal.len());
            refusal.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        }
        if let Sniffed::First(first) = &mut self.sniffed {
            let room = metering::SNIFFED_MAX_BYTES.saturating_sub(first.len());
            first.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
            if metering::is_provider_like(first) {
                self.sniffed = Sniffed::Provider;
            } else if first.len() >= metering::SNIFFED_MAX_BYTES {
                self.sniffed = Sniffed::Off;
            }
        }
    }
}

/// `text/event-stream`, in whatever case.
fn is_event_stream(content_type: Option<&[u8]>) -> bool {
    let essence = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}
