//! Judges one exchange: whether usage counts, what the dialect's file reads, and what follows where nothing was read.
//!
//! When usage counts is the project's decision: for inference by known paths, on declared routes, from JSON, SSE, NDJSON
//! and event streams; never for lists, polls and other applications. What is unknown is said: only the provider's own
//! final, consistent numbers are complete.

use crate::bounds;
use crate::dialect::{self, Answer, Reading, TokenCounts};
use crate::exchange::{Declared, Dialect, End, Exchange, Request, Response};
use crate::expected::{Count, Counts, Expected, Status};
use crate::json::Json;
use crate::operation::Operation;
use crate::wire::{self, Document, Documents, Media};

/// Says what a usage event may say about the exchange.
pub fn expected(exchange: &Exchange) -> Expected {
    let (dialect, stored) = match (Operation::of(&exchange.request), exchange.declared, exchange.dialect) {
        (Operation::Inference(dialect), ..) => (dialect, false),
        (Operation::StoredAnswer(dialect), ..) => (dialect, true),
        (Operation::Uncovered, ..) => return Expected::Unspecified("an operation without a rule"),
        (Operation::Other, Declared::Usage, Some(dialect)) if exchange.request.method == "POST" => (dialect, false),
        (Operation::Other, Declared::Usage, _) => {
            return Expected::Unspecified("a declared route without an inference");
        }
        (Operation::Other, Declared::Nothing, _) => return Expected::none(),
    };
    let judgement = Judgement { exchange, dialect };
    match &exchange.response {
        _ if stored => judgement.stored(),
        None => judgement.before_the_head(),
        // An error is a failure before the first word.
        Some(response) if !(200..300).contains(&response.status) => Expected::none(),
        Some(response) => judgement.answered(response),
    }
}

struct Judgement<'a> {
    exchange: &'a Exchange,
    dialect: Dialect,
}

impl Judgement<'_> {
    fn request(&self) -> &Request {
        &self.exchange.request
    }

    /// A stored answer is billed once, however often it is read. While it is not ready, nothing is billed.
    fn stored(&self) -> Expected {
        let Some(response) = self.exchange.response.as_ref().filter(|response| response.status == 200) else {
            return Expected::none();
        };
        match self.answered(response) {
            Expected::Usage { status: Status::Complete, one_of } => {
                Expected::Usage { status: Status::CompleteOnce, one_of }
            }
            Expected::Usage { status: Status::Counted, .. } => {
                Expected::Unspecified("a stored answer whose total is a guess")
            }
            // Answers that are only read again are never estimated.
            Expected::Usage { .. } => Expected::none(),
            open @ Expected::Unspecified(_) => open,
        }
    }

    /// A client that leaves has had the request forwarded; a provider that fails has said nothing.
    fn before_the_head(&self) -> Expected {
        match self.exchange.end {
            End::ClientLeft => self.left_early(),
            End::Whole | End::UpstreamReset | End::Timeout => Expected::none(),
        }
    }

    fn left_early(&self) -> Expected {
        let input = bounds::input(self.request());
        let status = if is_multipart(self.request()) { Status::NotComplete } else { Status::Estimated };
        Expected::one(status, estimate(input, Count::Between(0, 0)))
    }

    fn answered(&self, response: &Response) -> Expected {
        let (Some(media), Some(body)) = (Media::of(response), wire::decoded(response)) else {
            // An inference whose answer cannot be read: a sound, a plain text, an unknown coding.
            let output = Count::Between(0, bounds::text_weight(&response.body()));
            return Expected::one(Status::NotComplete, estimate(bounds::input(self.request()), output));
        };
        let Documents { list, unfinished, corrupt } = wire::documents(media, &body);
        if corrupt {
            return Expected::Unspecified("a frame with a wrong checksum");
        }
        let whole = self.exchange.end == End::Whole;
        let answer = |documents| Answer { media, documents, host: self.request().host(), whole };
        let judged = self.read(&answer(list.clone()));
        let Some(unfinished) = unfinished else {
            return judged;
        };
        // Readers differ on an event that no blank line ends. It is decided only where it makes no difference.
        let longer = list.into_iter().chain([unfinished]).collect();
        let other = self.read(&answer(longer));
        if same_but_for_bounds(&judged, &other) { other } else { Expected::Unspecified("an event without its end") }
    }

    fn read(&self, answer: &Answer) -> Expected {
        if answer.documents.iter().any(|document| document.value().has_duplicates()) {
            return Expected::Unspecified("a member that stands twice");
        }
        if answer.documents.iter().any(|document| document.value().has_giant()) {
            return Expected::Unspecified("counts whose sum may not fit into 64 bits");
        }
        if let Some(expected) = self.broken(answer) {
            return expected;
        }
        let reading = dialect::read(self.dialect, answer);
        if let Some(why) = reading.open {
            return Expected::Unspecified(why);
        }
        if reading.waiting {
            return Expected::none();
        }
        let finals: Vec<_> = reading.finals.iter().filter(|tally| tally.is_something()).collect();
        if finals.is_empty() {
            return self.without_finals(&reading, answer);
        }
        if finals.iter().all(|tally| tally.is_whole()) {
            let status = if reading.guessed { Status::Counted } else { Status::Complete };
            return Expected::Usage { status, one_of: finals.into_iter().map(exact).collect() };
        }
        let input =
            |tally: &TokenCounts| tally.input.filter(|count| *count > 0).map_or(bounds::input(self.request()), exactly);
        let output = |tally: &TokenCounts| tally.output.map_or(most_output(answer, 0, 0), exactly);
        let one_of = finals.into_iter().map(|tally| estimate(input(tally), output(tally))).collect();
        Expected::Usage { status: Status::Estimated, one_of }
    }

    /// A body that should be one JSON document and is none.
    fn broken(&self, answer: &Answer) -> Option<Expected> {
        let document = answer.documents.first().filter(|_| answer.media == Media::Json)?;
        if document.json.is_some() {
            return None;
        }
        let not_complete =
            |status| Some(Expected::one(status, estimate(bounds::input(self.request()), most_output(answer, 0, 0))));
        if answer.whole {
            return not_complete(Status::NotComplete);
        }
        let finished = Document { json: Json::parse_cut(&document.text), ..document.clone() };
        let reading = dialect::read(self.dialect, &Answer { documents: vec![finished], ..answer.clone() });
        if !reading.finals.is_empty() || reading.open.is_some() || reading.waiting || reading.failed {
            return Some(Expected::Unspecified("a cut document whose numbers came before the cut"));
        }
        let known = self.exchange.end == End::ClientLeft && !is_multipart(self.request());
        not_complete(if known { Status::Estimated } else { Status::NotComplete })
    }

    fn without_finals(&self, reading: &Reading, answer: &Answer) -> Expected {
        let input = match reading.so_far.input {
            Some(known) if known > 0 => match bounds::input(self.request()) {
                Count::Between(_, most) => Count::Between(known, most.max(known)),
                other => other,
            },
            _ => bounds::input(self.request()),
        };
        let known = reading.so_far.output.unwrap_or(0);
        if reading.words {
            let output = if reading.speechless { exactly(0) } else { most_output(answer, known.max(1), known) };
            return Expected::one(Status::Estimated, estimate(input, output));
        }
        match self.exchange.end {
            _ if reading.failed || answer.documents.is_empty() && self.exchange.end != End::ClientLeft => {
                Expected::none()
            }
            End::UpstreamReset | End::Timeout => Expected::none(),
            End::ClientLeft if !is_multipart(self.request()) => {
                Expected::one(Status::Estimated, estimate(input, most_output(answer, 0, known)))
            }
            End::Whole | End::ClientLeft => {
                Expected::one(Status::NotComplete, estimate(input, most_output(answer, 0, known)))
            }
        }
    }
}

fn is_multipart(request: &Request) -> bool {
    request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/"))
}

fn exactly(count: u64) -> Count {
    Count::Exactly(count)
}

/// Bounds of an estimated output: what the provider told so far, and the text that was seen.
fn most_output(answer: &Answer, least: u64, known: u64) -> Count {
    let seen = answer.documents.iter().map(|document| bounds::text_weight(document.text.as_bytes())).sum::<u64>();
    Count::Between(least, seen.max(known).max(least))
}

fn estimate(input_tokens: Count, output_tokens: Count) -> Counts {
    Counts {
        input_tokens,
        output_tokens,
        cache_read_tokens: Count::Any,
        cache_write_tokens: Count::Any,
        reasoning_tokens: Count::Any,
    }
}

fn exact(tally: &TokenCounts) -> Counts {
    Counts {
        input_tokens: exactly(tally.input.unwrap_or(0)),
        output_tokens: exactly(tally.output.unwrap_or(0)),
        cache_read_tokens: exactly(tally.cache_read),
        cache_write_tokens: exactly(tally.cache_write),
        reasoning_tokens: exactly(tally.reasoning),
    }
}

/// Whether two judgements differ in nothing but how much an estimate may be.
fn same_but_for_bounds(one: &Expected, other: &Expected) -> bool {
    match (one, other) {
        (Expected::Usage { status: one, .. }, Expected::Usage { status: other, .. })
            if matches!(one, Status::Estimated | Status::NotComplete) =>
        {
            one == other
        }
        _ => one == other,
    }
}
