//! Accumulates what all documents of an answer say, and judges how final the numbers are.
use super::counters::{BesidePrompt, Counters, Details, Field};
use super::head::ResponseHead;
use super::kind::{Kind, Mark, Marks};
use super::path::UsageLocation;
use super::provider::Provider;
use super::reading::{BodyEnd, Readability, Reading};
use super::staged::Staged;
use super::text::TextWeight;
use weir_contract::{Usage, UsageStatus};

/// How far the numbers so far can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Finality {
    /// There are none.
    #[default]
    Nothing,
    /// They open a stream (`message_start`): the input, but not the output.
    Opening,
    /// They may still grow. `Underway(true)`: the stream has no end mark of its own.
    Underway(bool),
    /// Final if this document is the only one.
    FinalIfAlone,
    /// The provider's own final numbers.
    Final,
}

/// A short text taken from an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirstText(Option<Box<str>>);

impl FirstText {
    /// Keeps the first that is not empty, so that a repeated document changes nothing.
    pub(crate) fn first(&mut self, text: &[u8]) {
        if self.0.is_none()
            && !text.is_empty()
            && let Ok(text) = std::str::from_utf8(text)
        {
            self.0 = Some(text.into());
        }
    }

    /// Keeps the first that is neither empty nor `echo`, which only repeats the request.
    pub(crate) fn first_but(&mut self, echo: &[u8], text: &[u8]) {
        if text != echo && self.0.as_deref().is_some_and(|kept| kept.as_bytes() == echo) {
            self.0 = None;
        }
        self.first(text);
    }

    fn take(&mut self) -> Option<String> {
        self.0.take().map(String::from)
    }
}

/// Everything that has been believed so far.
#[derive(Debug, Default)]
pub(crate) struct UsageAccumulator {
    pub(crate) response_id: FirstText,
    pub(crate) response_model: FirstText,
    pub(crate) service_tier: FirstText,
    /// Whether the answer comes in several documents.
    pub(crate) is_stream: bool,
    /// The answer is in Bedrock's frames, in which every usage object is final.
    pub(crate) is_framed: bool,
    /// The counts in the head, if it has any.
    head: Option<Box<Counters>>,
    hint: Option<Provider>,
    provider: Option<Provider>,
    counters: Counters,
    details: Details,
    text: TextWeight,
    finality: Finality,
    documents: u32,
    /// A document said why the model stopped.
    stopped: bool,
    /// A document said that nothing more will come.
    ended: bool,
    failed: bool,
    several_choices: bool,
    /// A message of Anthropic's shape has said what it used.
    provider_of_message: bool,
    /// What the answer lists are no model's words: vectors, an order of documents.
    listed: bool,
    /// The last document said that the work is not done yet.
    underway: bool,
    background: bool,
    audio_seconds: bool,
    includes_cache: bool,
}

/// Marks that an accumulator notes for themselves.
const NOTED: Marks = Marks::of(&[
    Mark::Finish,
    Mark::Done,
    Mark::Terminal,
    Mark::Error,
    Mark::Failed,
    Mark::Underway,
    Mark::Listed,
    Mark::Background,
    Mark::AudioSeconds,
    Mark::SecondChoice,
]);

/// How a snapshot of usage relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    /// It is a whole one, and replaces them.
    Replace,
    /// It leaves out what has not changed: Anthropic's `message_delta`.
    MemberByMember,
    /// It is measured by another, and beats all: Bedrock's `amazon-bedrock-invocationMetrics`.
    Conclude,
}

impl UsageAccumulator {
    pub(crate) fn new(hint: Option<Provider>, head: &ResponseHead<'_>) -> Self {
        UsageAccumulator { hint, head: head.counters(), provider: head.provider(), ..UsageAccumulator::default() }
    }

    /// `input_tokens` includes cached tokens, whatever the shape says.
    pub(crate) fn include_cache(&mut self) {
        self.includes_cache = true;
    }

    /// The answer is a sequence of documents.
    pub(crate) fn set_stream(&mut self) {
        self.is_stream = true;
    }

    /// The answer comes in AWS frames.
    pub(crate) fn set_framed(&mut self) {
        self.is_stream = true;
        self.is_framed = true;
    }

    /// Adds a document that has ended and is believed.
    pub(crate) fn add(&mut self, staged: &mut Staged) {
        self.documents = self.documents.saturating_add(1);
        if self.is_framed {
            // Only now, because other binary formats begin with a zero byte too.
            self.provider = Some(Provider::Bedrock);
        }
        if self.documents > 1 {
            self.is_stream = true;
            if self.finality == Finality::FinalIfAlone {
                self.finality = Finality::Underway(true);
            }
        }
        self.note(staged);
        self.add_text(staged);
        if let Some(finality) = self.judge(staged) {
            self.merge(staged);
            self.finality = self.worse_only_if_open(finality);
        }
        if staged.kind == Kind::MessageStop {
            self.stream_ended();
        }
    }

    fn merge(&mut self, staged: &mut Staged) {
        match merge_of(staged) {
            Merge::Replace => {
                self.counters.replace(&staged.counters);
                self.details = std::mem::take(&mut staged.details);
            }
            Merge::MemberByMember => {
                self.counters.update(&staged.counters);
                self.details.update(&mut staged.details);
            }
            // A message's own final numbers say more, and the same.
            Merge::Conclude if self.finality == Finality::Final && self.provider_of_message => {}
            Merge::Conclude => {
                self.counters.conclude(&staged.counters);
                self.details.update(&mut staged.details);
            }
        }
    }

    /// The transport reported an error in place of a document.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    /// `[DONE]`, `message_stop`: no more numbers will come, so the last ones are final.
    pub(crate) fn stream_ended(&mut self) {
        self.ended = true;
        if matches!(self.finality, Finality::Underway(_)) {
            self.finality = Finality::Final;
        }
    }

    /// Nothing has said so far that the answer is complete or has failed.
    pub(crate) fn is_unfinished(&self) -> bool {
        !(self.ended || self.stopped || self.failed)
    }

    /// The only document has ended.
    pub(crate) fn document_ended(&mut self) {
        self.ended |= !self.is_stream && self.documents > 0;
    }

    /// The array at the root has ended, and with it the stream of its elements.
    pub(crate) fn array_ended(&mut self) {
        if self.documents > 0 {
            self.stream_ended();
        }
    }

    /// Adds the text of a document that never ended.
    pub(crate) fn add_text(&mut self, staged: &Staged) {
        // An error's words are no model's.
        if staged.kind == Kind::Error || staged.marks.has(Mark::Error) {
            return;
        }
        if staged.kind.brings_text() {
            self.text.add_weight(staged.text);
        }
        if !self.is_stream {
            self.text.add_weight(staged.whole_text);
        }
    }

    fn note(&mut self, staged: &Staged) {
        self.underway = false;
        // Most chunks of a stream have none of these.
        if staged.marks.has_any(NOTED) {
            self.note_marks(staged.marks);
        }
        match staged.kind {
            Kind::ResponseEnd | Kind::CohereEnd | Kind::CohereStreamEnd => self.ended = true,
            Kind::Error => self.failed = true,
            Kind::List => self.listed = true,
            Kind::Job => self.background = true,
            Kind::MessageDelta => self.provider_of_message |= staged.location.is_some(),
            _ => {}
        }
        if self.provider.is_none_or(|known| !known.is_specific())
            && let Some(seen) = provider_of(staged)
        {
            self.provider = Some(seen);
        }
    }

    /// Notes those of [`NOTED`].
    fn note_marks(&mut self, marks: Marks) {
        self.stopped |= marks.has(Mark::Finish) || marks.has(Mark::Done);
        self.ended |= marks.has(Mark::Done) || marks.has(Mark::Terminal);
        self.failed |= marks.has(Mark::Error) || marks.has(Mark::Failed);
        self.underway = marks.has(Mark::Underway) && !marks.has(Mark::Terminal);
        self.listed |= marks.has(Mark::Listed);
        self.background |= marks.has(Mark::Background);
        self.audio_seconds |= marks.has(Mark::AudioSeconds);
        self.several_choices |= marks.has(Mark::SecondChoice);
    }

    /// How final the staged numbers are; None if they are not numbers of this answer.
    fn judge(&self, staged: &Staged) -> Option<Finality> {
        let location = staged.location.filter(|_| staged.kind != Kind::JobStep)?;
        if staged.counters.is_zero() && !staged.marks.has(Mark::OtherUnit) {
            return None;
        }
        let alone = if self.is_stream { Finality::Underway(true) } else { Finality::FinalIfAlone };
        match (location, staged.kind) {
            (UsageLocation::Message, Kind::MessageStart) => Some(Finality::Opening),
            (UsageLocation::Response, Kind::ResponseEnd) => Some(Finality::Final),
            (UsageLocation::Response, Kind::ResponsePart | Kind::ResponseRepeat) => Some(Finality::Opening),
            (UsageLocation::Delta, Kind::CohereEnd) => Some(Finality::Final),
            (UsageLocation::Message | UsageLocation::Response | UsageLocation::Delta, _) => None,
            (UsageLocation::Predictions, _) => staged.marks.has(Mark::Predictions).then_some(Finality::Final),
            (UsageLocation::InvocationMetrics | UsageLocation::Meta, _) => Some(Finality::Final),
            (UsageLocation::Generation, _) if staged.marks.has(Mark::HuggingFace) => Some(Finality::Final),
            (UsageLocation::Loose, _) if staged.marks.has(Mark::Done) => Some(Finality::Final),
            (UsageLocation::Loose, _) if staged.marks.has(Mark::NotDone) => Some(Finality::Underway(false)),
            (UsageLocation::Loose, _) => Some(alone),
            (UsageLocation::Root | UsageLocation::Choice | UsageLocation::XGroq | UsageLocation::Generation, kind) => {
                Some(self.judge_by_kind(kind, staged.marks, alone))
            }
        }
    }

    fn judge_by_kind(&self, kind: Kind, marks: Marks, alone: Finality) -> Finality {
        match kind {
            Kind::Message | Kind::EventEnd => Finality::Final,
            Kind::MessageStart | Kind::ResponsePart | Kind::ResponseRepeat => Finality::Opening,
            Kind::Response | Kind::Job if marks.has(Mark::Underway) => Finality::Underway(false),
            Kind::Job if marks.has(Mark::Terminal) => Finality::Final,
            Kind::MessageDelta => self.final_if_stopped(),
            Kind::ChatChunk => self.judge_chunk(marks),
            _ if self.is_stream && marks.has(Mark::Choices) => self.judge_chunk(marks),
            _ if self.is_framed => Finality::Final,
            _ if self.is_stream && self.stopped => Finality::Final,
            _ if self.is_stream && marks.has(Mark::Google) => Finality::Underway(false),
            _ => alone,
        }
    }

    /// A chunk without choices is sent last, for its usage alone.
    fn judge_chunk(&self, marks: Marks) -> Finality {
        if marks.has(Mark::Choices) && !marks.has(Mark::SomeChoice) {
            Finality::Final
        } else if self.several_choices {
            Finality::Underway(false)
        } else {
            self.final_if_stopped()
        }
    }

    fn final_if_stopped(&self) -> Finality {
        if self.stopped { Finality::Final } else { Finality::Underway(false) }
    }

    /// Final numbers stay final, even if a later document repeats them.
    fn worse_only_if_open(&self, finality: Finality) -> Finality {
        if self.finality == Finality::Final { Finality::Final } else { finality }
    }

    /// The result, once the answer has ended.
    pub(crate) fn finish(&mut self, end: BodyEnd, readability: Readability) -> Reading {
        // What an error broke off is not final because nothing more came.
        let whole = end == BodyEnd::Whole && !self.failed;
        if whole && (self.stopped && matches!(self.finality, Finality::Underway(_))) || whole && self.open_ended() {
            self.finality = Finality::Final;
        }
        self.add_head();
        let is_final = matches!(self.finality, Finality::Final | Finality::FinalIfAlone) && self.counters.is_readable();
        let usage = self.usage(is_final);
        let is_output_final = is_final && usage.output_tokens.is_some();
        let voyage = self.response_model.0.as_deref().is_some_and(|model| model.starts_with("voyage-"));
        let shape = if voyage { Some(Provider::Voyage) } else { self.provider };
        Reading {
            usage,
            provider: self.hint.or(shape),
            response_id: self.response_id.take(),
            response_model: self.response_model.take(),
            service_tier: self.service_tier.take(),
            text: self.text,
            is_stream: self.is_stream,
            is_finished: self.ended || self.stopped,
            has_failed: self.failed,
            is_underway: self.underway && !self.is_stream,
            is_kept: self.background,
            is_output_final,
            total_tokens: self.counters.get(Field::Total),
            documents: self.documents,
            readability,
        }
    }

    /// The head's counts apply where the body has none. A stream's head is sent before its numbers are known.
    fn add_head(&mut self) {
        if self.is_stream && self.finality == Finality::Nothing {
            return;
        }
        let Some(head) = self.head.take() else { return };
        if self.finality == Finality::Nothing {
            self.finality = Finality::Final;
        }
        let body = std::mem::replace(&mut self.counters, *head);
        self.counters.update(&body);
    }

    fn open_ended(&self) -> bool {
        self.finality == Finality::Underway(true)
    }

    fn usage(&mut self, is_final: bool) -> Usage {
        if self.includes_cache {
            self.counters.include_cache();
        }
        let counters = &self.counters;
        let (mut input, mut output) = counters.input_and_output(&self.beside_prompt());
        if input.is_none() && output.is_none() && self.text.is_empty() && self.listed {
            // Embeddings and rerankings have no output: a bare total is input.
            input = counters.get(Field::Total);
        }
        // Nobody asks for nothing, and words are no nothing: these zeros stand for numbers that are not known.
        let unknown = input.unwrap_or(0) == 0 && output.is_some() || output == Some(0) && !self.text.is_empty();
        input = input.filter(|input| *input > 0);
        output = output.filter(|output| *output > 0 || self.text.is_empty());
        let (cache_read, cache_write) = (counters.cache_read(), counters.cache_write());
        let reasoning = counters.reasoning();
        for (name, field) in [
            ("billed_input_tokens", Field::BilledInput),
            ("billed_output_tokens", Field::BilledOutput),
            ("guardrails_tokens", Field::Guard),
        ] {
            if let Some(value) = counters.get(field) {
                self.details.set(name, value);
            }
        }
        let seen = input.is_some() || output.is_some() || !self.details.is_empty();
        Usage {
            status: match (is_final && !unknown && self.split_is_known(input, output), seen) {
                (true, _) => UsageStatus::Complete,
                (false, true) => UsageStatus::Estimated,
                (false, false) => UsageStatus::None,
            },
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: cache_read,
            cache_write_tokens: cache_write,
            reasoning_tokens: reasoning,
            details: std::mem::take(&mut self.details).into_map(),
            estimate: None,
        }
    }

    fn beside_prompt(&self) -> BesidePrompt {
        let media = ["audio_input_tokens", "image_input_tokens", "video_input_tokens"];
        let media = media.map(|name| self.details.get(name).unwrap_or(0));
        BesidePrompt { media, audio_seconds: self.audio_seconds }
    }

    /// A total alone does not say how it splits into input and output.
    fn split_is_known(&self, input: Option<u64>, output: Option<u64>) -> bool {
        input.is_some() || output.is_some() || !self.counters.has(Field::Total)
    }
}

/// How such a snapshot relates to those before it: one rule for each dialect, with its source in `docs/usage.md`.
fn merge_of(staged: &Staged) -> Merge {
    match (staged.location, staged.kind) {
        (Some(UsageLocation::InvocationMetrics), _) => Merge::Conclude,
        (_, Kind::MessageStart | Kind::MessageDelta | Kind::Message) => Merge::MemberByMember,
        _ => Merge::Replace,
    }
}

/// Marks that one provider alone leaves, the first before the others.
const SIGNS: [Mark; 9] = [
    Mark::Azure,
    Mark::Groq,
    Mark::DeepSeek,
    Mark::XAi,
    Mark::Cohere,
    Mark::Bedrock,
    Mark::Google,
    Mark::HuggingFace,
    Mark::Predictions,
];
/// The provider of each.
const SIGNED: [Provider; 9] = [
    Provider::AzureOpenAi,
    Provider::Groq,
    Provider::DeepSeek,
    Provider::XAi,
    Provider::Cohere,
    Provider::Bedrock,
    Provider::Google,
    Provider::HuggingFace,
    Provider::Google,
];

/// The provider that sends such a document.
fn provider_of(staged: &Staged) -> Option<Provider> {
    if staged.marks.has_any(const { Marks::of(&SIGNS) }) {
        let sign = SIGNS.into_iter().zip(SIGNED).find(|(mark, _)| staged.marks.has(*mark));
        return sign.map(|(_, provider)| provider);
    }
    match staged.kind {
        Kind::MessageStart | Kind::MessageDelta | Kind::MessageStop | Kind::MessagePart | Kind::Message => {
            Some(Provider::Anthropic)
        }
        Kind::CohereEnd | Kind::CohereStreamEnd | Kind::CoherePart => Some(Provider::Cohere),
        Kind::ChatChunk | Kind::Completion if staged.marks.has(Mark::OpenRouter) => Some(Provider::OpenRouter),
        Kind::ResponseEnd | Kind::ResponsePart | Kind::ResponseRepeat | Kind::Response => Some(Provider::OpenAi),
        Kind::ChatChunk | Kind::Completion | Kind::List => Some(Provider::OpenAi),
        Kind::EventEnd | Kind::Event if staged.location.is_some() => Some(Provider::OpenAi),
        _ if staged.marks.has(Mark::Ollama) => Some(Provider::Ollama),
        _ if staged.marks.has(Mark::Choices) => Some(Provider::OpenAi),
        _ => None,
    }
}
