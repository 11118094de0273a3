//! The members that weir governs, under the names that the APIs give them.
use weir_llm_usage::json::Unescaped;

use super::cursor::Cursor;

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
}

/// What a governed member is.
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
    /// What is asked; it shows the class.
    Content(Content),
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

/// Which members the root has.
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

/// Every governed member. APIs that accept two spellings (Gemini's protobuf JSON) have both.
const MEMBERS: [(Scope, &[u8], Role); 44] = [
    (Scope::Root, b"model", Role::Model),
    (Scope::Root, b"models", Role::OtherModels),
    (Scope::Root, b"fallbacks", Role::OtherModels),
    (Scope::Root, b"stream", Role::Stream),
    (Scope::Root, b"n", Role::Count),
    (Scope::Root, b"best_of", Role::Count),
    (Scope::Root, b"num_generations", Role::Count),
    (Scope::Root, b"max_tokens", Role::Cap),
    (Scope::Root, b"max_completion_tokens", Role::Cap),
    (Scope::Root, b"max_output_tokens", Role::Cap),
    (Scope::Root, b"max_tokens_to_sample", Role::Cap),
    (Scope::Root, b"max_gen_len", Role::Cap),
    (Scope::Root, b"maxTokens", Role::Cap),
    (Scope::Root, b"n_predict", Role::Cap),
    (Scope::Root, b"stream_options", Role::Enter(Scope::StreamOptions)),
    (Scope::Root, b"generationConfig", Role::Enter(Scope::GenerationConfig)),
    (Scope::Root, b"generation_config", Role::Enter(Scope::GenerationConfig)),
    (Scope::Root, b"inferenceConfig", Role::Enter(Scope::InferenceConfig)),
    (Scope::Root, b"textGenerationConfig", Role::Enter(Scope::TextGenerationConfig)),
    (Scope::Root, b"options", Role::Enter(Scope::Options)),
    (Scope::Root, b"parameters", Role::Enter(Scope::Parameters)),
    (Scope::Root, b"messages", Role::Content(Content::Messages)),
    (Scope::Root, b"contents", Role::Content(Content::Contents)),
    (Scope::Root, b"prompt", Role::Content(Content::Prompt)),
    (Scope::Root, b"input", Role::Content(Content::Input)),
    (Scope::Root, b"instructions", Role::Content(Content::Instructions)),
    (Scope::Root, b"query", Role::Content(Content::Query)),
    (Scope::Root, b"documents", Role::Content(Content::Documents)),
    (Scope::Root, b"tools", Role::Content(Content::Tools)),
    (Scope::Root, b"functions", Role::Content(Content::Tools)),
    (Scope::Root, b"jsonrpc", Role::Content(Content::JsonRpc)),
    (Scope::Root, b"method", Role::Content(Content::Method)),
    (Scope::StreamOptions, b"include_usage", Role::IncludeUsage),
    (Scope::GenerationConfig, b"maxOutputTokens", Role::Cap),
    (Scope::GenerationConfig, b"max_output_tokens", Role::Cap),
    (Scope::GenerationConfig, b"candidateCount", Role::Count),
    (Scope::GenerationConfig, b"candidate_count", Role::Count),
    (Scope::InferenceConfig, b"maxTokens", Role::Cap),
    (Scope::TextGenerationConfig, b"maxTokenCount", Role::Cap),
    (Scope::Options, b"num_predict", Role::Cap),
    (Scope::Parameters, b"max_new_tokens", Role::Cap),
    (Scope::Parameters, b"maxOutputTokens", Role::Cap),
    (Scope::Parameters, b"candidateCount", Role::Count),
    (Scope::Parameters, b"num_return_sequences", Role::Count),
];

/// The longest written name that can be one of these: the longest name with every letter escaped, in bytes.
const WRITTEN_MAX_BYTES: usize = 6 * 24;

/// A name that was found in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its index in the table, to detect a second one.
    pub(super) index: usize,
    pub(super) role: Role,
    /// The name is spelled as in the table; otherwise only a reader that ignores case takes it for that member.
    pub(super) exact: bool,
}

/// The governed member of `scope` that a name stands for. `raw`: the bytes between its quotes.
pub(super) fn find(scope: Scope, raw: &[u8]) -> Option<Found> {
    if raw.len() > WRITTEN_MAX_BYTES {
        return None;
    }
    if memchr::memchr(b'\\', raw).is_none() {
        return find_plain(scope, raw);
    }
    Unescaped::read(raw).and_then(|name| find_plain(scope, name.get()))
}

fn find_plain(scope: Scope, name: &[u8]) -> Option<Found> {
    let of_scope = || MEMBERS.iter().enumerate().filter(|(_, (found, ..))| *found == scope);
    if let Some((index, (_, _, role))) = of_scope().find(|(_, (_, known, _))| *known == name) {
        return Some(Found { index, role: *role, exact: true });
    }
    let (index, (_, _, role)) = of_scope().find(|(_, (_, known, _))| is_folded(name, known))?;
    Some(Found { index, role: *role, exact: false })
}

/// Whether two names are equal to a reader that ignores case, as Go's does: letters of ASCII, and the two others that
/// Unicode folds to them (U+017F to s, U+212A to k).
fn is_folded(name: &[u8], known: &[u8]) -> bool {
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

/// Whether a string is a data URL, which does not count as text.
pub(super) fn is_data(cursor: &Cursor<'_>, range: &std::ops::Range<usize>) -> bool {
    cursor.slice(range).starts_with(b"data:")
}
