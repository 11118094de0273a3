//! The places in providers' documents where usage and other known values stand.
//!
//! A place is a chain of [`Node`]s from the root. A member that [`child`] does not know is passed over with everything
//! in it, so that text that looks like usage (in a message, in a tool's arguments, in an echoed prompt) can never be
//! taken for it: it does not stand at such a place.
use super::counters::Field;
use super::kind::Mark;
use super::name::Name;
use crate::json::Want::{self, Read, Stream};

/// A place in a document. Two bytes: a reader keeps a path of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Above the root.
    Top,
    /// An array at the root, whose elements are documents.
    Documents,
    Root,
    /// A usage object, with its place.
    Usage(UsageLocation),
    /// `prompt_tokens_details`, `input_tokens_details`
    InputDetails,
    /// `completion_tokens_details`, `output_tokens_details`
    OutputDetails,
    /// Any other object within usage: its whole numbers are details, under its own name and theirs.
    Members,
    /// Anthropic's `iterations`, and one of them: a request that compacts its context, or asks an advisor, samples more than
    /// once, and its own counts leave out all but its messages.
    Iterations,
    Iteration,
    /// Cohere's `billed_units`
    Billed,
    /// Cohere's `tokens`
    CohereTokens,
    /// Cohere's `meta`
    Meta,
    /// Gemini's `usageMetadata`
    GeminiUsage,
    /// Gemini's lists of tokens by modality, and their entries.
    Modalities(ModalityKind),
    Modality(ModalityKind),
    /// `message` of Anthropic's `message_start`; the answer itself for Cohere and Ollama.
    Message,
    /// `response` of OpenAI's `response.completed` and Cohere's `stream-end`; text for Ollama.
    Response,
    /// `delta` of Anthropic, Cohere and Bedrock; text for OpenAI's Responses.
    Delta,
    /// `contentBlockDelta` of Bedrock's Nova
    BlockDelta,
    XGroq,
    Choices,
    Choice,
    Candidates,
    Candidate,
    PromptFeedback,
    /// `output` of Bedrock Converse, OpenAI's Responses, Alibaba
    Output,
    /// `details` of text generation inference
    Generation,
    /// SGLang's `meta_info`
    MetaInfo,
    /// Bedrock's `amazon-bedrock-invocationMetrics`
    InvocationMetrics,
    /// Bedrock's Titan: `results`
    Results,
    Result,
    /// Vertex: `predictions[].embeddings.statistics.token_count`, `metadata.…`
    Predictions,
    Prediction,
    Embeddings,
    Statistics,
    VertexMetadata,
    TokenMetadata,
    TokenTotal(Field),
    /// The model's text, and the containers that hold it.
    Text,
    /// The model's text repeated at the end of a stream; in a body, the only text.
    WholeText,
    /// As `Text`, with all members below it: a tool's arguments as an object.
    AllText,
    /// A known count.
    Count(Field),
    /// A count that arrives in parts.
    Sum(Field),
    /// A count of one iteration, which is added once the iteration's kind is known.
    Part(Field),
    Detail,
    Modal,
    Word(Word),
    /// A mark that is set by any value except `null`.
    Sign(Mark),
    ChoiceIndex,
    Done,
    /// A sign, by being `true`.
    Flag(Mark),
}

/// The place of a usage object. If a document has several, the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UsageLocation {
    /// Counts directly at the root: Ollama, Llama and Titan on Bedrock.
    Loose,
    /// In a choice: Moonshot.
    Choice,
    XGroq,
    Message,
    Response,
    Delta,
    Meta,
    Generation,
    Predictions,
    InvocationMetrics,
    Root,
}

/// The counts that Gemini splits by modality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModalityKind {
    Input,
    Output,
    CacheRead,
    ToolUse,
}

impl ModalityKind {
    /// The part between a modality's name and `tokens` in the name of its detail.
    pub(crate) const fn infix(self) -> &'static str {
        match self {
            ModalityKind::Input => "_input_",
            ModalityKind::Output => "_output_",
            ModalityKind::CacheRead => "_cache_read_",
            ModalityKind::ToolUse => "_tool_use_input_",
        }
    }
}

/// A short string whose value matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Id,
    Model,
    Tier,
    /// `type`, `object` or `event_type` at the root
    Kind,
    Status,
    Finish,
    UsageType,
    Modality,
    IterationType,
}

/// Members of a place by name, each with its node and how to read it.
type Members = &'static [(&'static str, Node, Want)];

/// The place of the member `key` of `node`, and how to read it. `name` receives the name of a detail.
///
/// Uses tables instead of `match`, which took 25 KB of `weir.wasm`.
pub(crate) fn child(node: Node, key: &[u8], name: &mut Name) -> (Node, Want) {
    find(members(node), key).unwrap_or_else(|| others(node, key, name))
}

fn find(members: Members, key: &[u8]) -> Option<(Node, Want)> {
    let (_, node, want) = members.iter().find(|(name, ..)| name.as_bytes() == key)?;
    Some((*node, *want))
}

/// A member without a place of its own.
fn others(node: Node, key: &[u8], name: &mut Name) -> (Node, Want) {
    match node {
        Node::Message | Node::Delta | Node::Output => find(TEXT, key).unwrap_or(NOTHING),
        Node::AllText => (Node::AllText, Stream),
        Node::Usage(_) | Node::Members | Node::GeminiUsage | Node::Billed => detail(key, "", name),
        Node::InputDetails => detail(key, infix(key, "_input_"), name),
        Node::OutputDetails if matches!(key, b"accepted_prediction_tokens" | b"rejected_prediction_tokens") => {
            detail(key, "", name)
        }
        Node::OutputDetails => detail(key, infix(key, "_output_"), name),
        Node::VertexMetadata if key == b"billableCharacterCount" => detail(key, "", name),
        Node::TokenTotal(field) if key == b"totalTokens" => (Node::Count(field), Read),
        _ => NOTHING,
    }
}

/// The members of an object at `node`. Frequent members come first in each table, including skipped ones.
fn members(node: Node) -> Members {
    match node {
        Node::Root => ROOT,
        Node::Usage(_) => USAGE,
        Node::InputDetails => INPUT_DETAILS,
        Node::OutputDetails => OUTPUT_DETAILS,
        Node::GeminiUsage => GEMINI_USAGE,
        Node::Choice => CHOICE,
        Node::Text => TEXT,
        Node::Message => MESSAGE,
        Node::Response => RESPONSE,
        Node::Delta => DELTA,
        Node::Candidate => CANDIDATE,
        Node::Output => OUTPUT,
        Node::BlockDelta => BLOCK_DELTA,
        Node::XGroq => X_GROQ,
        Node::Meta => META,
        Node::Billed => BILLED,
        Node::CohereTokens => COHERE_TOKENS,
        Node::Modality(_) => MODALITY,
        Node::PromptFeedback => PROMPT_FEEDBACK,
        Node::Generation => GENERATION,
        Node::MetaInfo => META_INFO,
        Node::InvocationMetrics => INVOCATION_METRICS,
        Node::Iteration => ITERATION,
        Node::Result => RESULT,
        Node::Prediction => PREDICTION,
        Node::Embeddings => EMBEDDINGS,
        Node::Statistics => STATISTICS,
        Node::VertexMetadata => VERTEX_METADATA,
        Node::TokenMetadata => TOKEN_METADATA,
        _ => &[],
    }
}

/// The place of the elements of an array at `node`.
pub(crate) fn element(node: Node) -> (Node, Want) {
    match node {
        Node::Documents => (Node::Root, Read),
        Node::Choices => (Node::Choice, Read),
        Node::Candidates => (Node::Candidate, Read),
        Node::Predictions => (Node::Prediction, Read),
        Node::Results => (Node::Result, Read),
        Node::Iterations => (Node::Iteration, Read),
        Node::Modalities(of) => (Node::Modality(of), Read),
        Node::Text | Node::Output => (Node::Text, Stream),
        Node::AllText => (Node::AllText, Stream),
        _ => NOTHING,
    }
}

const NOTHING: (Node, Want) = (Node::Top, Want::Skip);

fn detail(key: &[u8], infix: &str, name: &mut Name) -> (Node, Want) {
    *name = Name::new(key, infix);
    (Node::Detail, Read)
}

/// Only token counts exist on both sides: `audio_tokens` becomes `audio_input_tokens` or `audio_output_tokens`.
fn infix(key: &[u8], side: &'static str) -> &'static str {
    if key.ends_with(b"_tokens") { side } else { "" }
}

const ROOT: Members = &[
    ("id", Node::Word(Word::Id), Read),
    ("object", Node::Word(Word::Kind), Read),
    ("created", Node::Top, Want::Skip),
    ("model", Node::Word(Word::Model), Read),
    ("choices", Node::Choices, Read),
    ("usage", Node::Usage(UsageLocation::Root), Read),
    ("type", Node::Word(Word::Kind), Read),
    ("delta", Node::Delta, Stream),
    ("service_tier", Node::Word(Word::Tier), Read),
    ("system_fingerprint", Node::Top, Want::Skip),
    ("obfuscation", Node::Top, Want::Skip),
    ("message", Node::Message, Stream),
    ("response", Node::Response, Stream),
    ("content", Node::Text, Stream),
    ("role", Node::Top, Want::Skip),
    ("candidates", Node::Candidates, Read),
    ("usageMetadata", Node::GeminiUsage, Read),
    ("modelVersion", Node::Word(Word::Model), Read),
    ("responseId", Node::Word(Word::Id), Read),
    ("status", Node::Word(Word::Status), Read),
    ("request_id", Node::Word(Word::Id), Read),
    ("generation_id", Node::Word(Word::Id), Read),
    ("event_type", Node::Word(Word::Kind), Read),
    ("text", Node::Text, Stream),
    ("outputText", Node::Text, Stream),
    ("generation", Node::Text, Stream),
    ("token", Node::Text, Stream),
    ("generated_text", Node::WholeText, Stream),
    ("output", Node::Output, Stream),
    ("error", Node::Sign(Mark::Error), Read),
    ("meta", Node::Meta, Read),
    ("x_groq", Node::XGroq, Read),
    ("promptFeedback", Node::PromptFeedback, Read),
    ("predictions", Node::Predictions, Read),
    ("metadata", Node::VertexMetadata, Read),
    ("results", Node::Results, Read),
    ("details", Node::Generation, Read),
    ("meta_info", Node::MetaInfo, Read),
    ("usage_info", Node::Usage(UsageLocation::Generation), Read),
    ("amazon-bedrock-invocationMetrics", Node::InvocationMetrics, Read),
    ("prompt_eval_count", Node::Count(Field::Prompt), Read),
    ("prompt_eval_cached_count", Node::Count(Field::CacheRead), Read),
    ("eval_count", Node::Count(Field::Completion), Read),
    ("inputTextTokenCount", Node::Count(Field::Prompt), Read),
    ("prompt_token_count", Node::Count(Field::Prompt), Read),
    ("generation_token_count", Node::Count(Field::Completion), Read),
    ("totalOutputTextTokenCount", Node::Count(Field::Completion), Read),
    ("done", Node::Done, Read),
    ("stopReason", Node::Sign(Mark::Bedrock), Read),
    ("contentBlockDelta", Node::BlockDelta, Read),
    ("prompt_filter_results", Node::Sign(Mark::Azure), Read),
    ("provider", Node::Sign(Mark::OpenRouter), Read),
    ("interaction", Node::Response, Stream),
    ("background", Node::Flag(Mark::Background), Read),
    ("last_error", Node::Sign(Mark::Error), Read),
    ("data", Node::Sign(Mark::Listed), Read),
    ("embeddings", Node::Sign(Mark::Listed), Read),
    ("embedding", Node::Sign(Mark::Listed), Read),
    ("steps", Node::Text, Stream),
    ("outputs", Node::Text, Stream),
];

const USAGE: Members = &[
    ("prompt_tokens", Node::Count(Field::Prompt), Read),
    ("completion_tokens", Node::Count(Field::Completion), Read),
    ("total_tokens", Node::Count(Field::Total), Read),
    ("totalTokens", Node::Count(Field::Total), Read),
    ("input_tokens", Node::Count(Field::Input), Read),
    ("inputTokens", Node::Count(Field::InputBeside), Read),
    ("output_tokens", Node::Count(Field::Output), Read),
    ("outputTokens", Node::Count(Field::Output), Read),
    ("cached_tokens", Node::Count(Field::CacheRead), Read),
    ("num_cached_tokens", Node::Count(Field::CacheRead), Read),
    ("prompt_cache_hit_tokens", Node::Count(Field::CacheRead), Read),
    ("reasoning_tokens", Node::Count(Field::Reasoning), Read),
    ("cache_read_input_tokens", Node::Count(Field::CacheReadApart), Read),
    ("cacheReadInputTokens", Node::Count(Field::CacheReadApart), Read),
    ("cacheReadInputTokenCount", Node::Count(Field::CacheReadApart), Read),
    ("cache_creation_input_tokens", Node::Count(Field::CacheWriteApart), Read),
    ("cacheWriteInputTokens", Node::Count(Field::CacheWriteApart), Read),
    ("cacheWriteInputTokenCount", Node::Count(Field::CacheWriteApart), Read),
    ("prompt_tokens_details", Node::InputDetails, Read),
    ("prompt_token_details", Node::InputDetails, Read),
    ("input_tokens_details", Node::InputDetails, Read),
    ("input_token_details", Node::InputDetails, Read),
    ("completion_tokens_details", Node::OutputDetails, Read),
    ("completion_token_details", Node::OutputDetails, Read),
    ("output_tokens_details", Node::OutputDetails, Read),
    ("output_token_details", Node::OutputDetails, Read),
    ("service_tier", Node::Word(Word::Tier), Read),
    ("type", Node::Word(Word::UsageType), Read),
    ("billed_units", Node::Billed, Read),
    ("tokens", Node::CohereTokens, Read),
    ("iterations", Node::Iterations, Read),
    ("total_input_tokens", Node::Count(Field::Prompt), Read),
    ("totalInputTokens", Node::Count(Field::Prompt), Read),
    ("total_output_tokens", Node::Count(Field::Completion), Read),
    ("totalOutputTokens", Node::Count(Field::Completion), Read),
    ("total_thought_tokens", Node::Count(Field::Thoughts), Read),
    ("totalThoughtTokens", Node::Count(Field::Thoughts), Read),
    ("total_tool_use_tokens", Node::Count(Field::ToolPrompt), Read),
    ("totalToolUseTokens", Node::Count(Field::ToolPrompt), Read),
    ("total_cached_tokens", Node::Count(Field::CacheRead), Read),
    ("totalCachedTokens", Node::Count(Field::CacheRead), Read),
    ("input_tokens_by_modality", Node::Modalities(ModalityKind::Input), Read),
    ("output_tokens_by_modality", Node::Modalities(ModalityKind::Output), Read),
    ("cached_tokens_by_modality", Node::Modalities(ModalityKind::CacheRead), Read),
    ("tool_use_tokens_by_modality", Node::Modalities(ModalityKind::ToolUse), Read),
    ("guardrails_tokens", Node::Count(Field::Guard), Read),
    ("guardrail_tokens", Node::Count(Field::Guard), Read),
    ("guard_tokens", Node::Count(Field::Guard), Read),
];

const INPUT_DETAILS: Members = &[
    ("cached_tokens", Node::Count(Field::CacheRead), Read),
    ("cache_write_tokens", Node::Count(Field::CacheWrite), Read),
    ("cache_creation_tokens", Node::Count(Field::CacheWrite), Read),
];

const OUTPUT_DETAILS: Members = &[
    ("reasoning_tokens", Node::Count(Field::Reasoning), Read),
    ("thinking_tokens", Node::Count(Field::Reasoning), Read),
];

const GEMINI_USAGE: Members = &[
    ("promptTokenCount", Node::Count(Field::Prompt), Read),
    ("candidatesTokenCount", Node::Count(Field::Completion), Read),
    ("thoughtsTokenCount", Node::Count(Field::Thoughts), Read),
    ("toolUsePromptTokenCount", Node::Count(Field::ToolPrompt), Read),
    ("cachedContentTokenCount", Node::Count(Field::CacheRead), Read),
    ("totalTokenCount", Node::Count(Field::Total), Read),
    ("promptTokensDetails", Node::Modalities(ModalityKind::Input), Read),
    ("candidatesTokensDetails", Node::Modalities(ModalityKind::Output), Read),
    ("cacheTokensDetails", Node::Modalities(ModalityKind::CacheRead), Read),
    ("toolUsePromptTokensDetails", Node::Modalities(ModalityKind::ToolUse), Read),
    ("trafficType", Node::Word(Word::Tier), Read),
];

const CHOICE: Members = &[
    ("index", Node::ChoiceIndex, Read),
    ("delta", Node::Text, Stream),
    ("message", Node::Text, Stream),
    ("finish_reason", Node::Word(Word::Finish), Read),
    ("logprobs", Node::Top, Want::Skip),
    ("text", Node::Text, Stream),
    ("usage", Node::Usage(UsageLocation::Choice), Read),
    ("content_filter_results", Node::Sign(Mark::Azure), Read),
];

/// The members that contain the model's text, for all providers.
const TEXT: Members = &[
    ("role", Node::Top, Want::Skip),
    ("content", Node::Text, Stream),
    ("text", Node::Text, Stream),
    ("type", Node::Top, Want::Skip),
    ("parts", Node::Text, Stream),
    ("message", Node::Text, Stream),
    ("reasoning_content", Node::Text, Stream),
    ("reasoning", Node::Text, Stream),
    ("refusal", Node::Text, Stream),
    ("thinking", Node::Text, Stream),
    ("tool_calls", Node::Text, Stream),
    ("function", Node::Text, Stream),
    ("arguments", Node::Text, Stream),
    ("partial_json", Node::Text, Stream),
    ("functionCall", Node::Text, Stream),
    ("toolUse", Node::Text, Stream),
    ("reasoningContent", Node::Text, Stream),
    ("reasoningText", Node::Text, Stream),
    ("summary", Node::Text, Stream),
    ("tool_plan", Node::Text, Stream),
    ("outputText", Node::Text, Stream),
    ("transcript", Node::Text, Stream),
    ("value", Node::Text, Stream),
    ("audio", Node::Text, Stream),
    ("name", Node::Text, Stream),
    ("input", Node::AllText, Stream),
    ("args", Node::AllText, Stream),
];

const MESSAGE: Members = &[
    ("id", Node::Word(Word::Id), Read),
    ("model", Node::Word(Word::Model), Read),
    ("usage", Node::Usage(UsageLocation::Message), Read),
];

const RESPONSE: Members = &[
    ("usage", Node::Usage(UsageLocation::Response), Read),
    ("id", Node::Word(Word::Id), Read),
    ("generation_id", Node::Word(Word::Id), Read),
    ("model", Node::Word(Word::Model), Read),
    ("service_tier", Node::Word(Word::Tier), Read),
    ("meta", Node::Meta, Read),
    ("status", Node::Word(Word::Status), Read),
    ("error", Node::Sign(Mark::Error), Read),
    ("background", Node::Flag(Mark::Background), Read),
];

const DELTA: Members = &[
    ("usage", Node::Usage(UsageLocation::Delta), Read),
    ("stop_reason", Node::Word(Word::Finish), Read),
    ("error", Node::Sign(Mark::Error), Read),
];

const CANDIDATE: Members = &[("finishReason", Node::Word(Word::Finish), Read), ("content", Node::Text, Stream)];

const OUTPUT: Members = &[("finish_reason", Node::Word(Word::Finish), Read), ("choices", Node::Choices, Read)];

const BLOCK_DELTA: Members = &[("delta", Node::Text, Stream)];

const X_GROQ: Members = &[("usage", Node::Usage(UsageLocation::XGroq), Read), ("id", Node::Word(Word::Id), Read)];

const META: Members = &[
    ("billed_units", Node::Billed, Read),
    ("tokens", Node::CohereTokens, Read),
    ("cached_tokens", Node::Count(Field::CacheRead), Read),
];

const BILLED: Members = &[
    ("input_tokens", Node::Count(Field::BilledInput), Read),
    ("output_tokens", Node::Count(Field::BilledOutput), Read),
];

const COHERE_TOKENS: Members =
    &[("input_tokens", Node::Count(Field::Prompt), Read), ("output_tokens", Node::Count(Field::Completion), Read)];

const MODALITY: Members =
    &[("modality", Node::Word(Word::Modality), Read), ("tokenCount", Node::Modal, Read), ("tokens", Node::Modal, Read)];

const PROMPT_FEEDBACK: Members = &[("blockReason", Node::Word(Word::Finish), Read)];

const GENERATION: Members = &[
    ("finish_reason", Node::Word(Word::Finish), Read),
    ("generated_tokens", Node::Count(Field::Completion), Read),
    ("input_length", Node::Count(Field::Prompt), Read),
];

const META_INFO: Members = &[
    ("id", Node::Word(Word::Id), Read),
    ("finish_reason", Node::Sign(Mark::Finish), Read),
    ("prompt_tokens", Node::Count(Field::Prompt), Read),
    ("completion_tokens", Node::Count(Field::Completion), Read),
    ("cached_tokens", Node::Count(Field::CacheRead), Read),
];

const INVOCATION_METRICS: Members = &[
    ("inputTokenCount", Node::Count(Field::InputBeside), Read),
    ("outputTokenCount", Node::Count(Field::Output), Read),
    ("cacheReadInputTokenCount", Node::Count(Field::CacheReadApart), Read),
    ("cacheWriteInputTokenCount", Node::Count(Field::CacheWriteApart), Read),
];

const ITERATION: Members = &[
    ("type", Node::Word(Word::IterationType), Read),
    ("input_tokens", Node::Part(Field::IterationsInput), Read),
    ("output_tokens", Node::Part(Field::IterationsOutput), Read),
    ("cache_read_input_tokens", Node::Part(Field::IterationsCacheRead), Read),
    ("cache_creation_input_tokens", Node::Part(Field::IterationsCacheWrite), Read),
];

const RESULT: Members = &[("tokenCount", Node::Sum(Field::Completion), Read), ("outputText", Node::Text, Stream)];

const PREDICTION: Members = &[("content", Node::Text, Stream), ("embeddings", Node::Embeddings, Read)];

const EMBEDDINGS: Members = &[("statistics", Node::Statistics, Read)];

const STATISTICS: Members = &[("token_count", Node::Sum(Field::Prompt), Read)];

const VERTEX_METADATA: Members = &[("tokenMetadata", Node::TokenMetadata, Read)];

const TOKEN_METADATA: Members = &[
    ("inputTokenCount", Node::TokenTotal(Field::Prompt), Read),
    ("outputTokenCount", Node::TokenTotal(Field::Completion), Read),
];
