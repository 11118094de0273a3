//! The members that weir governs, under the names that the APIs give them.
use weir_config::shared::Shared;
use weir_llm_usage::json::Unescaped;

use super::binary;
use super::cursor::Cursor;
use crate::initials::Initials;

/// An object whose members weir reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The body itself.
    Root,
    /// OpenAI's `stream_options`.
    StreamOptions,
    /// Gemini's `generationConfig`.
    GenerationConfig,
    /// Bedrock Converse's `inferenceConfig`.
    InferenceConfig,
    /// Bedrock Titan's `textGenerationConfig`.
    TextGenerationConfig,
    /// Ollama's `options`.
    Options,
    /// Hugging Face's and Vertex's `parameters`.
    Parameters,
    /// SGLang's `sampling_params`.
    SamplingParams,
    /// Converse's `additionalModelRequestFields`, which go on to the model as they are.
    AdditionalFields,
    /// `extra_body`, which proxies put into the body that they send.
    ExtraBody,
    /// Bedrock's images: `imageGenerationConfig`.
    ImageGenerationConfig,
}

/// A member by its place and its name.
pub type MemberName = (Scope, &'static str);

/// The meaning of a governed member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The model.
    Model,
    /// Further models for the upstream to choose from.
    OtherModels,
    /// Whether the answer is a stream.
    Stream,
    /// Whether a stream ends with its usage.
    IncludeUsage,
    /// How many answers.
    Count,
    /// The cap of the output.
    Cap,
    /// An object with governed members.
    Enter(Scope),
    /// Content of the request, which shows its class.
    Content(Content),
    /// The name of something that tenants share at the provider.
    Refers(Shared),
}

/// Members that show a body's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `messages`
    Messages,
    /// Gemini's `contents`
    Contents,
    /// `prompt`
    Prompt,
    /// `input`
    Input,
    /// `instructions`
    Instructions,
    /// `query`
    Query,
    /// `documents`
    Documents,
    /// `tools`, `functions`
    Tools,
    /// JSON-RPC's `jsonrpc`
    JsonRpc,
    /// JSON-RPC's `method`
    Method,
}

/// The members of the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the member of that name")]
pub struct Present {
    pub model: bool,
    pub messages: bool,
    pub contents: bool,
    pub prompt: bool,
    pub input: bool,
    pub instructions: bool,
    pub query: bool,
    pub documents: bool,
    pub jsonrpc: bool,
    pub method: bool,
    pub max_output: bool,
}

impl Present {
    pub(super) fn note(&mut self, content: Content) {
        let field = match content {
            Content::Messages => &mut self.messages,
            Content::Contents => &mut self.contents,
            Content::Prompt => &mut self.prompt,
            Content::Input => &mut self.input,
            Content::Instructions => &mut self.instructions,
            Content::Query => &mut self.query,
            Content::Documents => &mut self.documents,
            Content::JsonRpc => &mut self.jsonrpc,
            Content::Method => &mut self.method,
            Content::Tools => return,
        };
        *field = true;
    }
}

/// The governed members of one place. APIs that take two spellings (Gemini's protobuf JSON) have both.
type Members = &'static [(&'static str, Role)];

/// The longest media type and parameters of a `data:` URL, in bytes.
const DATA_HEAD_MAX_BYTES: usize = 128;

const ROOT: Members = &[
    ("model", Role::Model),
    ("messages", Role::Content(Content::Messages)),
    ("stream", Role::Stream),
    ("max_tokens", Role::Cap),
    ("max_completion_tokens", Role::Cap),
    ("max_output_tokens", Role::Cap),
    ("max_tokens_to_sample", Role::Cap),
    ("max_new_tokens", Role::Cap),
    ("max_gen_len", Role::Cap),
    ("maxTokens", Role::Cap),
    ("maxOutputTokens", Role::Cap),
    ("n_predict", Role::Cap),
    ("num_predict", Role::Cap),
    ("n", Role::Count),
    ("best_of", Role::Count),
    ("num_generations", Role::Count),
    ("num_return_sequences", Role::Count),
    ("numResults", Role::Count),
    ("candidateCount", Role::Count),
    ("stream_options", Role::Enter(Scope::StreamOptions)),
    ("generationConfig", Role::Enter(Scope::GenerationConfig)),
    ("generation_config", Role::Enter(Scope::GenerationConfig)),
    ("inferenceConfig", Role::Enter(Scope::InferenceConfig)),
    ("textGenerationConfig", Role::Enter(Scope::TextGenerationConfig)),
    ("options", Role::Enter(Scope::Options)),
    ("parameters", Role::Enter(Scope::Parameters)),
    ("sampling_params", Role::Enter(Scope::SamplingParams)),
    ("additionalModelRequestFields", Role::Enter(Scope::AdditionalFields)),
    ("extra_body", Role::Enter(Scope::ExtraBody)),
    ("imageGenerationConfig", Role::Enter(Scope::ImageGenerationConfig)),
    ("contents", Role::Content(Content::Contents)),
    ("prompt", Role::Content(Content::Prompt)),
    ("input", Role::Content(Content::Input)),
    ("instructions", Role::Content(Content::Instructions)),
    ("query", Role::Content(Content::Query)),
    ("documents", Role::Content(Content::Documents)),
    ("tools", Role::Content(Content::Tools)),
    ("functions", Role::Content(Content::Tools)),
    ("jsonrpc", Role::Content(Content::JsonRpc)),
    ("method", Role::Content(Content::Method)),
    ("models", Role::OtherModels),
    ("fallbacks", Role::OtherModels),
    ("model_id", Role::OtherModels),
    ("modelId", Role::OtherModels),
    ("engine", Role::OtherModels),
    ("previous_response_id", Role::Refers(Shared::StoredResponses)),
    ("previous_interaction_id", Role::Refers(Shared::StoredResponses)),
    ("conversation", Role::Refers(Shared::Assistants)),
    ("conversation_id", Role::Refers(Shared::Assistants)),
    ("assistant_id", Role::Refers(Shared::Assistants)),
    ("thread_id", Role::Refers(Shared::Assistants)),
    ("agent_id", Role::Refers(Shared::Assistants)),
    ("cachedContent", Role::Refers(Shared::VectorStores)),
    ("cached_content", Role::Refers(Shared::VectorStores)),
    ("container", Role::Refers(Shared::Files)),
    ("agent", Role::Refers(Shared::Assistants)),
    // Azure reads them with the account's own identity, Cohere with the account's keys.
    ("data_sources", Role::Refers(Shared::VectorStores)),
    ("dataSources", Role::Refers(Shared::VectorStores)),
    ("connectors", Role::Refers(Shared::VectorStores)),
];
const ROOT_INITIALS: Initials = Initials::of(ROOT);
const STREAM_OPTIONS: Members = &[("include_usage", Role::IncludeUsage)];
const GENERATION_CONFIG: Members = &[
    ("maxOutputTokens", Role::Cap),
    ("max_output_tokens", Role::Cap),
    ("candidateCount", Role::Count),
    ("candidate_count", Role::Count),
];
const INFERENCE_CONFIG: Members = &[("maxTokens", Role::Cap), ("max_new_tokens", Role::Cap)];
const TEXT_GENERATION_CONFIG: Members = &[("maxTokenCount", Role::Cap)];
const OPTIONS: Members = &[("num_predict", Role::Cap)];
const PARAMETERS: Members = &[
    ("max_new_tokens", Role::Cap),
    ("maxOutputTokens", Role::Cap),
    ("max_tokens", Role::Cap),
    ("maxTokens", Role::Cap),
    ("max_length", Role::Cap),
    ("candidateCount", Role::Count),
    ("sampleCount", Role::Count),
    ("num_return_sequences", Role::Count),
];
const SAMPLING_PARAMS: Members = &[("max_new_tokens", Role::Cap), ("max_tokens", Role::Cap), ("n", Role::Count)];
/// The governed members of all APIs, since a model or a server behind a proxy may take any of them.
const PASSED_ON: Members = &[
    ("max_tokens", Role::Cap),
    ("max_completion_tokens", Role::Cap),
    ("max_output_tokens", Role::Cap),
    ("max_new_tokens", Role::Cap),
    ("max_gen_len", Role::Cap),
    ("maxTokens", Role::Cap),
    ("n_predict", Role::Cap),
    ("n", Role::Count),
    ("best_of", Role::Count),
    ("model", Role::OtherModels),
    ("models", Role::OtherModels),
    ("fallbacks", Role::OtherModels),
    ("previous_response_id", Role::Refers(Shared::StoredResponses)),
    ("previous_interaction_id", Role::Refers(Shared::StoredResponses)),
    ("conversation", Role::Refers(Shared::Assistants)),
    ("conversation_id", Role::Refers(Shared::Assistants)),
    ("assistant_id", Role::Refers(Shared::Assistants)),
    ("thread_id", Role::Refers(Shared::Assistants)),
    ("agent_id", Role::Refers(Shared::Assistants)),
    ("cachedContent", Role::Refers(Shared::VectorStores)),
    ("cached_content", Role::Refers(Shared::VectorStores)),
    ("container", Role::Refers(Shared::Files)),
    ("agent", Role::Refers(Shared::Assistants)),
    // Azure reads them with the account's own identity, Cohere with the account's keys.
    ("data_sources", Role::Refers(Shared::VectorStores)),
    ("dataSources", Role::Refers(Shared::VectorStores)),
    ("connectors", Role::Refers(Shared::VectorStores)),
];
const IMAGE_GENERATION_CONFIG: Members = &[("numberOfImages", Role::Count)];

impl Scope {
    const fn members(self) -> Members {
        match self {
            Scope::Root => ROOT,
            Scope::StreamOptions => STREAM_OPTIONS,
            Scope::GenerationConfig => GENERATION_CONFIG,
            Scope::InferenceConfig => INFERENCE_CONFIG,
            Scope::TextGenerationConfig => TEXT_GENERATION_CONFIG,
            Scope::Options => OPTIONS,
            Scope::Parameters => PARAMETERS,
            Scope::SamplingParams => SAMPLING_PARAMS,
            Scope::AdditionalFields | Scope::ExtraBody => PASSED_ON,
            Scope::ImageGenerationConfig => IMAGE_GENERATION_CONFIG,
        }
    }
}

/// The longest name as written that can be one of these: every letter of the longest escaped.
const WRITTEN_MAX_BYTES: usize = 6 * 28;

/// A name that was found in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// Its place in the table, to tell a second one.
    pub(super) index: usize,
    pub(super) role: Role,
    /// The name is spelled as in the table; otherwise only a reader that ignores case takes it for that member.
    pub(super) exact: bool,
}

/// The governed member of `scope` that a name stands for. `raw`: the bytes between its quotes, among them escapes or not.
pub(super) fn find(scope: Scope, raw: &[u8], is_escaped: bool) -> Option<Found> {
    if raw.len() > WRITTEN_MAX_BYTES {
        return None;
    }
    if !is_escaped {
        return find_plain(scope, raw);
    }
    Unescaped::read(raw).and_then(|name| find_plain(scope, name.get()))
}

fn find_plain(scope: Scope, name: &[u8]) -> Option<Found> {
    if scope == Scope::Root && !ROOT_INITIALS.may_have(name) && name.is_ascii() {
        return None;
    }
    let members = || scope.members().iter().enumerate();
    let found = |exact: bool| {
        move |(index, (name, role)): (usize, &(&'static str, Role))| Found { name, index, role: *role, exact }
    };
    let exact = members().find(|(_, (known, _))| known.as_bytes() == name).map(found(true));
    exact.or_else(|| members().find(|(_, (known, _))| is_folded(name, known.as_bytes())).map(found(false)))
}

/// Whether two names are equal to a reader that ignores case, as Go's does: letters of ASCII, and the two others that
/// Unicode folds to them (U+017F to s, U+212A to k).
fn is_folded(name: &[u8], known: &[u8]) -> bool {
    // Folding makes a letter at most three bytes; most names differ in their first.
    if name.len() < known.len() || !name.first().is_some_and(|first| *first >= 0x80 || starts_alike(*first, known)) {
        return false;
    }
    let (mut name, mut known) = (name, known);
    loop {
        match (name, known) {
            ([], []) => return true,
            ([0xC5, 0xBF, rest @ ..], [b's' | b'S', tail @ ..])
            | ([0xE2, 0x84, 0xAA, rest @ ..], [b'k' | b'K', tail @ ..]) => (name, known) = (rest, tail),
            ([a, rest @ ..], [b, tail @ ..]) if a.eq_ignore_ascii_case(b) => (name, known) = (rest, tail),
            _ => return false,
        }
    }
}

fn starts_alike(first: u8, known: &[u8]) -> bool {
    known.first().is_some_and(|known| known.eq_ignore_ascii_case(&first))
}

/// Whether a string is a `data:` URL (RFC 2397) of binary data, which weighs nothing as text.
pub(super) fn is_data(cursor: &Cursor<'_>, range: &std::ops::Range<usize>) -> bool {
    let Some(url) = cursor.slice(range).strip_prefix(b"data:") else { return false };
    let head = url.get(..DATA_HEAD_MAX_BYTES).unwrap_or(url);
    memchr::memmem::find(head, b";base64,").is_some_and(|at| {
        let data = url.get(at..).and_then(|rest| rest.get(8..)).unwrap_or_default();
        data.iter().all(|byte| binary::is_digit(*byte))
    })
}
