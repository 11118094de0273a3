//! Chat Completions to servers that speak it with differences: only fields that one refuses or ignores are listed, and
//! every other one is carried.
use super::{Field, Section, changed, clouds, dropped, unfit};
use crate::target::Server;

const NO_RECORDS: &str = "the server keeps no records that it could be about";
const HINT: &str = "it is about price and speed at OpenAI, and changes no answer";
const CACHING: &str = "it is about the price of the prompt at OpenAI, and changes no answer";
const IGNORES: &str = "the server ignores it";
const WHO: &str = "it names the user to OpenAI's own moderation";

const STORE: Field = dropped("store", NO_RECORDS).of(&["false"], "the answer could not be fetched again");
const SYSTEM: Field = changed("messages", "the role `developer` becomes `system`");
const AUDIO: Field = unfit("audio", "the server gives text only");
const MODALITIES: Field =
    dropped("modalities", "text is what the server gives").of(&["[\"text\"]"], "the server gives text only");
const MODERATION: Field = unfit("moderation", "OpenAI would run it");
const SEARCH: Field = unfit("web_search_options", "the search would be OpenAI's");
const VERBOSITY: Field = dropped("verbosity", "it is the default").of(&["\"medium\""], IGNORES);

pub(crate) static VLLM: Section = Section {
    name: "request",
    fields: &[
        SYSTEM,
        STORE,
        dropped("metadata", NO_RECORDS),
        dropped("service_tier", HINT),
        dropped("prediction", HINT),
        dropped("prompt_cache_key", CACHING),
        dropped("prompt_cache_options", CACHING),
        dropped("prompt_cache_retention", CACHING),
        dropped("safety_identifier", WHO),
        AUDIO,
        MODALITIES,
        MODERATION,
        SEARCH,
        VERBOSITY,
    ],
};

pub(crate) static MISTRAL: Section = Section {
    name: "request",
    fields: &[
        changed(
            "messages",
            "the role `developer` becomes `system`; ids of calls get the nine characters that Mistral demands",
        ),
        changed("max_completion_tokens", "`max_tokens`"),
        changed("seed", "`random_seed`"),
        dropped("stream_options", "Mistral's streams end with usage without being asked"),
        STORE,
        dropped("user", WHO),
        dropped("safety_identifier", WHO),
        dropped("metadata", NO_RECORDS),
        dropped("service_tier", HINT),
        dropped("prediction", HINT),
        dropped("prompt_cache_key", CACHING),
        dropped("prompt_cache_options", CACHING),
        dropped("prompt_cache_retention", CACHING),
        dropped("reasoning_effort", "Mistral's models decide how long they think"),
        dropped("logprobs", "it asks for none").of(&["false"], "Mistral tells no probabilities"),
        dropped("top_logprobs", "it asks for none").of(&["0"], "Mistral tells no probabilities"),
        dropped("logit_bias", "it is empty").of(&["{}"], "Mistral refuses it"),
        AUDIO,
        MODALITIES,
        MODERATION,
        SEARCH,
        VERBOSITY,
    ],
};

pub(crate) static OLLAMA: Section = Section {
    name: "request",
    fields: &[
        changed("messages", "the role `developer` becomes `system`")
            .except("a picture at a URL, which Ollama does not fetch"),
        changed("max_completion_tokens", "`max_tokens`"),
        dropped("n", "one answer is what Ollama gives").of(&["1"], "Ollama gives one answer"),
        dropped("tool_choice", "it is the default").of(&["\"auto\""], IGNORES),
        dropped("parallel_tool_calls", "it is the default").of(&["true"], IGNORES),
        dropped("logprobs", "it asks for none").of(&["false"], IGNORES),
        dropped("top_logprobs", "it asks for none").of(&["0"], IGNORES),
        dropped("logit_bias", "it is empty").of(&["{}"], IGNORES),
        STORE,
        dropped("user", WHO),
        dropped("safety_identifier", WHO),
        dropped("metadata", NO_RECORDS),
        dropped("service_tier", HINT),
        dropped("prediction", HINT),
        dropped("prompt_cache_key", CACHING),
        dropped("prompt_cache_options", CACHING),
        dropped("prompt_cache_retention", CACHING),
        AUDIO,
        MODALITIES,
        MODERATION,
        SEARCH,
        VERBOSITY,
    ],
};

pub(super) const VLLM_SECTIONS: &[&Section] = &[&VLLM];
pub(super) const MISTRAL_SECTIONS: &[&Section] = &[&MISTRAL];
pub(super) const OLLAMA_SECTIONS: &[&Section] = &[&OLLAMA];

/// What a server refuses or ignores; None for those that take everything that their dialect has.
pub(crate) fn rules_of(server: Server) -> Option<&'static Section> {
    match server {
        Server::OpenAi | Server::Anthropic => None,
        Server::VertexAnthropic => Some(&clouds::VERTEX),
        Server::BedrockAnthropic => Some(&clouds::BEDROCK),
        Server::Vllm => Some(&VLLM),
        Server::Mistral => Some(&MISTRAL),
        Server::Ollama => Some(&OLLAMA),
    }
}
