//! What a document says of itself, beside its numbers.

/// What kind of document it is, by its own word: `type`, `object` or `event_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It does not say, or says something unknown.
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
    /// OpenAI Responses: an event that repeats what the ones before it said: `response.output_text.done`
    ResponseRepeat,
    /// OpenAI Responses: a whole `response`
    Response,
    /// `chat.completion.chunk`
    ChatChunk,
    /// `chat.completion`, `text_completion`
    Completion,
    /// `list`: embeddings, rerankings
    List,
    /// Another event of a stream that ends something: `transcript.text.done`, `image_generation.completed`
    EventEnd,
    /// Another event of a stream.
    Event,
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
            b"response" => Kind::Response,
            b"chat.completion" | b"text_completion" => Kind::Completion,
            b"list" => Kind::List,
            _ if word.starts_with(b"response.") => Kind::response_part(word),
            _ if word.ends_with(b".done") || word.ends_with(b".completed") => Kind::EventEnd,
            _ if word.contains(&b'.') => Kind::Event,
            _ => Kind::Unknown,
        }
    }

    /// Parts that repeat the text of the parts before them are told from those that bring it.
    fn response_part(word: &[u8]) -> Self {
        if word.ends_with(b".done") { Kind::ResponseRepeat } else { Kind::ResponsePart }
    }

    /// Whether the text in such a document has not been there before.
    pub(crate) const fn brings_text(self) -> bool {
        !matches!(
            self,
            Kind::ResponseEnd | Kind::ResponseRepeat | Kind::EventEnd | Kind::CohereStreamEnd | Kind::MessageStart
        )
    }
}

/// Something seen in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `choices` is there.
    Choices,
    /// … and not empty.
    SomeChoice,
    /// … with a second one.
    SecondChoice,
    /// The model says why it stopped.
    Finish,
    /// Ollama: `"done": true`
    Done,
    /// Ollama: `"done": false`
    NotDone,
    /// `status` is one that lasts: `completed`, `incomplete`, `failed`, `cancelled`.
    Terminal,
    /// `status` is one that passes: `queued`, `in_progress`.
    Underway,
    /// `error` is there and not null.
    Error,
    /// A known count that is none of the tokens: seconds of audio, search units, pages.
    OtherUnit,
    /// Usage of type `duration`: seconds instead of tokens.
    Duration,
    /// Vertex: `predictions`
    Predictions,
    /// Signs of providers.
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

    pub(crate) const fn has(self, mark: Mark) -> bool {
        self.0 & (1 << (mark as u32)) != 0
    }
}
