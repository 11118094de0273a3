//! The kind of a document, and marks seen in it, beside its counts.

/// The kind that a document states in `type`, `object` or `event_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None stated, or an unknown one.
    #[default]
    Unknown,
    /// Anthropic: `message_start`
    MessageStart,
    /// Anthropic: `message_delta`
    MessageDelta,
    /// Anthropic: `message_stop`
    MessageStop,
    /// Anthropic: the other events of a stream
    MessagePart,
    /// Anthropic: a whole `message`
    Message,
    /// Cohere v2: `message-end`
    CohereEnd,
    /// Cohere v1: `stream-end`
    CohereStreamEnd,
    /// Cohere: the other events of a stream
    CoherePart,
    /// OpenAI Responses: `response.completed`, `.incomplete`, `.failed`
    ResponseEnd,
    /// OpenAI Responses: the other events of a stream
    ResponsePart,
    /// OpenAI Responses: an event that repeats the text of earlier ones: `response.output_text.done`
    ResponseRepeat,
    /// OpenAI Responses: a whole `response`
    Response,
    /// `chat.completion.chunk`
    ChatChunk,
    /// `chat.completion`, `text_completion`
    Completion,
    /// `list`: embeddings, rerankings
    List,
    /// Another event that ends a stream: `transcript.text.done`, `image_generation.completed`
    EventEnd,
    /// Another event of a stream.
    Event,
    /// `error`: the provider failed
    Error,
    /// Jobs that are polled: `thread.run`, `batch`
    Job,
    /// `thread.run.step`: its usage is a part of the run's
    JobStep,
}

impl Kind {
    pub(crate) fn read(word: &[u8]) -> Self {
        match word {
            b"chat.completion.chunk" => Kind::ChatChunk,
            b"message_start" => Kind::MessageStart,
            b"message_delta" => Kind::MessageDelta,
            b"message_stop" => Kind::MessageStop,
            b"content_block_start" | b"content_block_delta" | b"content_block_stop" | b"ping" => Kind::MessagePart,
            b"message" => Kind::Message,
            b"message-end" => Kind::CohereEnd,
            b"stream-end" => Kind::CohereStreamEnd,
            b"message-start" | b"content-delta" | b"stream-start" | b"text-generation" => Kind::CoherePart,
            b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.cancelled" => {
                Kind::ResponseEnd
            }
            b"response" | b"response.compaction" | b"interaction" => Kind::Response,
            b"interaction.completed" | b"interaction.complete" | b"interaction.failed" => Kind::ResponseEnd,
            b"error" => Kind::Error,
            b"thread.run" | b"batch" => Kind::Job,
            b"thread.run.step" => Kind::JobStep,
            b"chat.completion" | b"text_completion" => Kind::Completion,
            b"list" => Kind::List,
            _ if word.starts_with(b"response.") || word.starts_with(b"interaction.") => Kind::response_part(word),
            _ if word.ends_with(b".done") || word.ends_with(b".completed") => Kind::EventEnd,
            _ if word.contains(&b'.') => Kind::Event,
            _ => Kind::Unknown,
        }
    }

    /// Distinguishes parts that repeat the text of earlier parts from those that bring new text.
    fn response_part(word: &[u8]) -> Self {
        if word.ends_with(b".done") { Kind::ResponseRepeat } else { Kind::ResponsePart }
    }

    /// Returns true if the text in such a document is new.
    pub(crate) const fn brings_text(self) -> bool {
        !matches!(
            self,
            Kind::ResponseEnd | Kind::ResponseRepeat | Kind::EventEnd | Kind::CohereStreamEnd | Kind::MessageStart
        )
    }
}

/// A mark seen in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `choices` is present.
    Choices,
    /// `choices` is not empty.
    SomeChoice,
    /// ... that of the document itself, which is then not the event that [`crate::strip`] drops.
    SomeRootChoice,
    /// `choices` has a second element.
    SecondChoice,
    /// The model gives its reason for stopping.
    Finish,
    /// Ollama: `"done": true`
    Done,
    /// Ollama: `"done": false`
    NotDone,
    /// `status` is final: `completed`, `incomplete`, `failed`, `cancelled`.
    Terminal,
    /// `status` is one that passes: `queued`, `in_progress`, `requires_action`.
    Underway,
    /// `status` is `failed`.
    Failed,
    /// `background` is true: the provider keeps the answer, and it may be read more than once.
    Background,
    /// `data`, `embeddings`, `results`: what is listed is no model's words.
    Listed,
    /// The prompt had audio, of which only the seconds are told.
    AudioSeconds,
    /// `error` is there and not null.
    Error,
    /// A known count in another unit than tokens: seconds of audio, search units, pages.
    OtherUnit,
    /// Usage of type `duration`: seconds instead of tokens.
    Duration,
    /// Vertex: `predictions`
    Predictions,
    /// Marks that reveal the provider; the following ones, too.
    Azure,
    Groq,
    DeepSeek,
    XAi,
    OpenRouter,
    Google,
    Bedrock,
    Cohere,
    HuggingFace,
    Ollama,
}

/// A set of [`Mark`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u32);

impl Marks {
    pub(crate) fn set(&mut self, mark: Mark) {
        self.0 |= 1 << (mark as u32);
    }

    /// The set of these.
    pub(crate) const fn of(mut marks: &[Mark]) -> Self {
        let mut set = Marks(0);
        while let [mark, rest @ ..] = marks {
            set.0 |= 1 << (*mark as u32);
            marks = rest;
        }
        set
    }

    /// Whether one of `marks` is in it.
    pub(crate) const fn has_any(self, marks: Marks) -> bool {
        self.0 & marks.0 != 0
    }

    pub(crate) const fn has(self, mark: Mark) -> bool {
        self.0 & (1 << (mark as u32)) != 0
    }
}
