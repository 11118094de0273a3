//! Where in a provider's document usage stands, and what else is looked at.
//!
//! A place is a chain of [`Node`]s from the root. A member that [`child`] does not know is passed over with everything
//! in it, so that text that looks like usage (in a message, in a tool's arguments, in an echoed prompt) can never be
//! taken for it: it does not stand at such a place.
use super::counters::{Field, Name};
use super::kind::Mark;
use crate::json::Want;

/// A place in a document. Two bytes: a reader keeps a path of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Above the root.
    Top,
    /// An array at the root: its elements are documents.
    Documents,
    Root,
    /// A usage object, by where it stands.
    Usage(Place),
    /// `prompt_tokens_details`, `input_tokens_details`
    InputDetails,
    /// `completion_tokens_details`, `output_tokens_details`
    OutputDetails,
    /// Any other object within usage: its whole numbers are details.
    Members,
    /// Anthropic's `iterations`, and one of them: a request that compacts its context, or asks an advisor, samples more than
    /// once, and its own counts leave that out.
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
    /// Gemini's lists of tokens by modality, and one entry of them.
    Modalities(Of),
    Modality(Of),
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
    /// The model's own words, and whatever holds them.
    Text,
    /// The model's words once more, at the end of a stream; the only ones in a body.
    WholeText,
    /// As `Text`, with every member of it: a tool's arguments as an object.
    AllText,
    /// One of the leaves below.
    Count(Field),
    /// A count that comes in parts.
    Sum(Field),
    Detail,
    Modal,
    Word(Word),
    /// A sign, by standing there with anything but `null`.
    Sign(Mark),
    ChoiceIndex,
    Done,
}

/// Where a usage object stands. Where a document holds several, the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Counts that stand at the root themselves: Ollama, Llama and Titan on Bedrock.
    Loose,
    /// Within a choice: Moonshot.
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

/// What Gemini counts by modality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Input,
    Output,
    CacheRead,
    ToolUse,
}

impl Of {
    /// What stands between a modality's name and `tokens` in the name of its detail.
    pub(super) const fn infix(self) -> &'static str {
        match self {
            Of::Input => "_input_",
            Of::Output => "_output_",
            Of::CacheRead => "_cache_read_",
            Of::ToolUse => "_tool_use_input_",
        }
    }
}

/// A short string that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Id,
    Model,
    Tier,
    /// `type`, `object` or `event_type` at the root
    Kind,
    Status,
    Finish,
    UsageType,
    Modality,
}

/// What stands at `key` within `node`: its place, and whether it is wanted. `name` receives the name of a detail.
pub(super) fn child(node: Node, key: &[u8], name: &mut Name) -> (Node, Want) {
    use Want::{Read, Stream};
    match node {
        Node::Root => root(key),
        Node::Usage(_) => usage(key, name),
        Node::InputDetails => input_detail(key, name),
        Node::OutputDetails => output_detail(key, name),
        Node::Members => detail(key, "", name),
        Node::GeminiUsage => gemini_usage(key, name),
        Node::Choice => choice(key),
        Node::Text => text(key),
        Node::AllText => (Node::AllText, Stream),
        Node::Message => match key {
            b"id" => word(Word::Id),
            b"model" => word(Word::Model),
            b"usage" => (Node::Usage(Place::Message), Read),
            _ => text(key),
        },
        Node::Response => response(key),
        Node::Delta => match key {
            b"usage" => (Node::Usage(Place::Delta), Read),
            b"stop_reason" => word(Word::Finish),
            _ => text(key),
        },
        Node::Candidate => match key {
            b"finishReason" => word(Word::Finish),
            b"content" => (Node::Text, Stream),
            _ => NOTHING,
        },
        Node::Output => match key {
            b"finish_reason" => word(Word::Finish),
            b"choices" => (Node::Choices, Read),
            _ => text(key),
        },
        _ => rare(node, key, name),
    }
}

/// What the elements of an array at `node` are.
pub(super) fn element(node: Node) -> (Node, Want) {
    match node {
        Node::Documents => (Node::Root, Want::Read),
        Node::Choices => (Node::Choice, Want::Read),
        Node::Candidates => (Node::Candidate, Want::Read),
        Node::Predictions => (Node::Prediction, Want::Read),
        Node::Results => (Node::Result, Want::Read),
        Node::Iterations => (Node::Iteration, Want::Read),
        Node::Modalities(of) => (Node::Modality(of), Want::Read),
        Node::Text | Node::Output => (Node::Text, Want::Stream),
        Node::AllText => (Node::AllText, Want::Stream),
        _ => NOTHING,
    }
}

const NOTHING: (Node, Want) = (Node::Top, Want::Skip);

const fn word(word: Word) -> (Node, Want) {
    (Node::Word(word), Want::Read)
}

const fn count(field: Field) -> (Node, Want) {
    (Node::Count(field), Want::Read)
}

fn detail(key: &[u8], infix: &str, name: &mut Name) -> (Node, Want) {
    *name = Name::new(key, infix);
    (Node::Detail, Want::Read)
}

fn root(key: &[u8]) -> (Node, Want) {
    use Want::{Read, Stream};
    match key {
        b"id" | b"responseId" | b"request_id" | b"generation_id" => word(Word::Id),
        b"object" | b"type" | b"event_type" => word(Word::Kind),
        b"model" | b"modelVersion" => word(Word::Model),
        b"choices" => (Node::Choices, Read),
        b"usage" => (Node::Usage(Place::Root), Read),
        b"service_tier" => word(Word::Tier),
        b"status" => word(Word::Status),
        b"delta" => (Node::Delta, Stream),
        b"message" => (Node::Message, Stream),
        b"response" => (Node::Response, Stream),
        b"content" | b"text" | b"outputText" | b"generation" | b"token" => (Node::Text, Stream),
        b"generated_text" => (Node::WholeText, Stream),
        b"output" => (Node::Output, Stream),
        b"candidates" => (Node::Candidates, Read),
        b"usageMetadata" => (Node::GeminiUsage, Read),
        _ => rare_root(key),
    }
}

fn rare_root(key: &[u8]) -> (Node, Want) {
    use Want::Read;
    match key {
        b"error" => (Node::Sign(Mark::Error), Read),
        b"meta" => (Node::Meta, Read),
        b"x_groq" => (Node::XGroq, Read),
        b"promptFeedback" => (Node::PromptFeedback, Read),
        b"predictions" => (Node::Predictions, Read),
        b"metadata" => (Node::VertexMetadata, Read),
        b"results" => (Node::Results, Read),
        b"details" => (Node::Generation, Read),
        b"meta_info" => (Node::MetaInfo, Read),
        b"usage_info" => (Node::Usage(Place::Generation), Read),
        b"amazon-bedrock-invocationMetrics" => (Node::InvocationMetrics, Read),
        b"prompt_eval_count" => (Node::Count(Field::Prompt), Read),
        b"eval_count" => (Node::Count(Field::Completion), Read),
        b"inputTextTokenCount" | b"prompt_token_count" => count(Field::Prompt),
        b"generation_token_count" | b"totalOutputTextTokenCount" => count(Field::Completion),
        b"done" => (Node::Done, Read),
        b"stopReason" => (Node::Sign(Mark::Bedrock), Read),
        b"contentBlockDelta" => (Node::BlockDelta, Read),
        b"prompt_filter_results" => (Node::Sign(Mark::Azure), Read),
        b"provider" => (Node::Sign(Mark::OpenRouter), Read),
        _ => NOTHING,
    }
}

fn usage(key: &[u8], name: &mut Name) -> (Node, Want) {
    use Want::Read;
    match key {
        b"prompt_tokens" => count(Field::Prompt),
        b"completion_tokens" => count(Field::Completion),
        b"total_tokens" | b"totalTokens" => count(Field::Total),
        b"input_tokens" | b"inputTokens" => count(Field::Input),
        b"output_tokens" | b"outputTokens" => count(Field::Output),
        b"cached_tokens" | b"prompt_cache_hit_tokens" => count(Field::CacheRead),
        b"reasoning_tokens" => count(Field::Reasoning),
        b"cache_read_input_tokens" | b"cacheReadInputTokens" | b"cacheReadInputTokenCount" => {
            count(Field::CacheReadApart)
        }
        b"cache_creation_input_tokens" | b"cacheWriteInputTokens" | b"cacheWriteInputTokenCount" => {
            count(Field::CacheWriteApart)
        }
        b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => (Node::InputDetails, Read),
        b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
            (Node::OutputDetails, Read)
        }
        b"service_tier" => word(Word::Tier),
        b"type" => word(Word::UsageType),
        b"billed_units" => (Node::Billed, Read),
        b"tokens" => (Node::CohereTokens, Read),
        b"iterations" => (Node::Iterations, Read),
        _ => detail(key, "", name),
    }
}

fn input_detail(key: &[u8], name: &mut Name) -> (Node, Want) {
    match key {
        b"cached_tokens" => count(Field::CacheRead),
        b"cache_write_tokens" | b"cache_creation_tokens" => count(Field::CacheWrite),
        _ => detail(key, infix(key, "_input_"), name),
    }
}

fn output_detail(key: &[u8], name: &mut Name) -> (Node, Want) {
    match key {
        b"reasoning_tokens" => count(Field::Reasoning),
        b"accepted_prediction_tokens" | b"rejected_prediction_tokens" => detail(key, "", name),
        _ => detail(key, infix(key, "_output_"), name),
    }
}

/// Only token counts are told apart by side: `audio_tokens` is `audio_input_tokens` there and `audio_output_tokens` here.
fn infix(key: &[u8], side: &'static str) -> &'static str {
    if key.ends_with(b"_tokens") { side } else { "" }
}

fn gemini_usage(key: &[u8], name: &mut Name) -> (Node, Want) {
    let modalities = |of| (Node::Modalities(of), Want::Read);
    match key {
        b"promptTokenCount" => count(Field::Prompt),
        b"candidatesTokenCount" => count(Field::Completion),
        b"thoughtsTokenCount" => count(Field::Thoughts),
        b"toolUsePromptTokenCount" => count(Field::ToolPrompt),
        b"cachedContentTokenCount" => count(Field::CacheRead),
        b"totalTokenCount" => count(Field::Total),
        b"promptTokensDetails" => modalities(Of::Input),
        b"candidatesTokensDetails" => modalities(Of::Output),
        b"cacheTokensDetails" => modalities(Of::CacheRead),
        b"toolUsePromptTokensDetails" => modalities(Of::ToolUse),
        b"trafficType" => word(Word::Tier),
        _ => detail(key, "", name),
    }
}

fn choice(key: &[u8]) -> (Node, Want) {
    match key {
        b"delta" | b"message" | b"text" => (Node::Text, Want::Stream),
        b"finish_reason" => word(Word::Finish),
        b"index" => (Node::ChoiceIndex, Want::Read),
        b"usage" => (Node::Usage(Place::Choice), Want::Read),
        b"content_filter_results" => (Node::Sign(Mark::Azure), Want::Read),
        _ => NOTHING,
    }
}

/// The members that hold the model's words, in every provider's answers.
fn text(key: &[u8]) -> (Node, Want) {
    match key {
        b"content" | b"text" | b"parts" | b"message" | b"reasoning_content" | b"reasoning" | b"refusal"
        | b"thinking" | b"tool_calls" | b"function" | b"arguments" | b"partial_json" | b"functionCall" | b"toolUse"
        | b"reasoningContent" | b"reasoningText" | b"summary" | b"tool_plan" | b"outputText" | b"transcript"
        | b"audio" | b"name" => (Node::Text, Want::Stream),
        b"input" | b"args" => (Node::AllText, Want::Stream),
        _ => NOTHING,
    }
}

fn response(key: &[u8]) -> (Node, Want) {
    match key {
        b"usage" => (Node::Usage(Place::Response), Want::Read),
        b"id" | b"generation_id" => word(Word::Id),
        b"model" => word(Word::Model),
        b"service_tier" => word(Word::Tier),
        b"meta" => (Node::Meta, Want::Read),
        _ => NOTHING,
    }
}

fn rare(node: Node, key: &[u8], name: &mut Name) -> (Node, Want) {
    use Want::{Read, Stream};
    match (node, key) {
        (Node::BlockDelta, b"delta") => (Node::Text, Stream),
        (Node::XGroq, b"usage") => (Node::Usage(Place::XGroq), Read),
        (Node::XGroq, b"id") => word(Word::Id),
        (Node::Meta, b"billed_units") => (Node::Billed, Read),
        (Node::Meta, b"tokens") => (Node::CohereTokens, Read),
        (Node::Meta, b"cached_tokens") => count(Field::CacheRead),
        (Node::Billed, b"input_tokens") => count(Field::BilledInput),
        (Node::Billed, b"output_tokens") => count(Field::BilledOutput),
        (Node::Billed, _) => detail(key, "", name),
        (Node::CohereTokens, b"input_tokens") => count(Field::Prompt),
        (Node::CohereTokens, b"output_tokens") => count(Field::Completion),
        (Node::Modality(_), b"modality") => word(Word::Modality),
        (Node::Modality(_), b"tokenCount") => (Node::Modal, Read),
        (Node::PromptFeedback, b"blockReason") => word(Word::Finish),
        (Node::Generation, b"finish_reason") => word(Word::Finish),
        (Node::Generation, b"generated_tokens") => count(Field::Completion),
        (Node::Generation, b"input_length") => count(Field::Prompt),
        (Node::MetaInfo, b"id") => word(Word::Id),
        (Node::MetaInfo, b"finish_reason") => (Node::Sign(Mark::Finish), Read),
        (Node::MetaInfo, b"prompt_tokens") => count(Field::Prompt),
        (Node::MetaInfo, b"completion_tokens") => count(Field::Completion),
        (Node::MetaInfo, b"cached_tokens") => count(Field::CacheRead),
        (Node::InvocationMetrics, b"inputTokenCount") => count(Field::Input),
        (Node::InvocationMetrics, b"outputTokenCount") => count(Field::Output),
        (Node::InvocationMetrics, b"cacheReadInputTokenCount") => count(Field::CacheReadApart),
        (Node::InvocationMetrics, b"cacheWriteInputTokenCount") => count(Field::CacheWriteApart),
        (Node::Iteration, b"input_tokens") => (Node::Sum(Field::IterationsInput), Read),
        (Node::Iteration, b"output_tokens") => (Node::Sum(Field::IterationsOutput), Read),
        (Node::Iteration, b"cache_read_input_tokens") => (Node::Sum(Field::IterationsCacheRead), Read),
        (Node::Iteration, b"cache_creation_input_tokens") => (Node::Sum(Field::IterationsCacheWrite), Read),
        (Node::Result, b"tokenCount") => (Node::Sum(Field::Completion), Read),
        (Node::Result, b"outputText") => (Node::Text, Stream),
        _ => vertex(node, key, name),
    }
}

fn vertex(node: Node, key: &[u8], name: &mut Name) -> (Node, Want) {
    use Want::Read;
    match (node, key) {
        (Node::Prediction, b"content") => (Node::Text, Want::Stream),
        (Node::Prediction, b"embeddings") => (Node::Embeddings, Read),
        (Node::Embeddings, b"statistics") => (Node::Statistics, Read),
        (Node::Statistics, b"token_count") => (Node::Sum(Field::Prompt), Read),
        (Node::VertexMetadata, b"billableCharacterCount") => detail(key, "", name),
        (Node::VertexMetadata, b"tokenMetadata") => (Node::TokenMetadata, Read),
        (Node::TokenMetadata, b"inputTokenCount") => (Node::TokenTotal(Field::Prompt), Read),
        (Node::TokenMetadata, b"outputTokenCount") => (Node::TokenTotal(Field::Completion), Read),
        (Node::TokenTotal(field), b"totalTokens") => count(field),
        _ => NOTHING,
    }
}
