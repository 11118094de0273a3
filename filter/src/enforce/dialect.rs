//! How the APIs differ in what weir puts into a body.
//!
//! Each API takes the cap of the output under a name of its own and ignores, mostly, those of the others. So only its own
//! cap counts, for the plan and for a reservation: another API's cap is a decoy there.
use weir_llm_usage::bytes::is_name;

use crate::body::Document;
use crate::body::edit::{CapField, OtherCaps};
use crate::body::members::{MemberName, Scope};
use crate::classify;

/// The caps of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caps {
    /// Its fields; each must be there.
    pub(super) fields: &'static [CapField],
    /// How to treat caps under other names.
    pub(super) others: OtherCaps,
}

impl Caps {
    const fn of(fields: &'static [CapField]) -> Self {
        Caps { fields, others: OtherCaps::Remove }
    }

    /// Whether that member is one of the API's own.
    pub(super) fn take(&self, member: MemberName) -> bool {
        self.fields.iter().any(|field| field.takes(member))
    }
}

/// Path endings and the caps there. The first that fits counts.
const BY_ENDING: [(&[u8], Caps); 22] = [
    (b"/chat/completions", Caps::of(&[CHAT])),
    (b"/responses", Caps::of(&[RESPONSES])),
    (b"/responses/compact", Caps::of(&[RESPONSES])),
    (b"/messages", Caps::of(&[MAX_TOKENS])),
    (b":generatecontent", Caps::of(&[GEMINI])),
    (b":streamgeneratecontent", Caps::of(&[GEMINI])),
    (b":rawpredict", Caps::of(&[MAX_TOKENS])),
    (b":streamrawpredict", Caps::of(&[MAX_TOKENS])),
    (b":predict", Caps::of(&[VERTEX])),
    (b"/interactions", Caps::of(&[INTERACTIONS])),
    (b"/converse", Caps::of(&[CONVERSE])),
    (b"/converse-stream", Caps::of(&[CONVERSE])),
    (b"/runs", Caps::of(&[RUN])),
    (b"/api/chat", Caps::of(&[OLLAMA])),
    (b"/api/generate", Caps::of(&[OLLAMA])),
    (b"/v1/generate", Caps::of(&[MAX_TOKENS])),
    // Text generation inference and SGLang share a path, and each ignores what it does not know.
    (b"/generate", Caps::of(&[HUGGING_FACE, SGLANG])),
    (b"/generate_stream", Caps::of(&[HUGGING_FACE, SGLANG])),
    (b"/completions", Caps::of(&[MAX_TOKENS])),
    (b"/v1/chat", Caps::of(&[MAX_TOKENS])),
    (b"/v2/chat", Caps::of(&[MAX_TOKENS])),
    (b"/complete", Caps::of(&[SAMPLE])),
];

const MAX_TOKENS: CapField = root("max_tokens", &[]);
const CHAT: CapField = root("max_tokens", &[(Scope::Root, "max_completion_tokens")]);
const REASONING: CapField = root("max_completion_tokens", &[(Scope::Root, "max_tokens")]);
const RUN: CapField = root("max_completion_tokens", &[]);
const RESPONSES: CapField = root("max_output_tokens", &[]);
const SAMPLE: CapField = root("max_tokens_to_sample", &[]);
const LLAMA: CapField = root("max_gen_len", &[]);
const GEMINI: CapField = CapField {
    container: Some((Scope::GenerationConfig, "generationConfig")),
    name: "maxOutputTokens",
    aliases: &[(Scope::GenerationConfig, "max_output_tokens")],
};
const INTERACTIONS: CapField = CapField {
    container: Some((Scope::GenerationConfig, "generation_config")),
    name: "max_output_tokens",
    aliases: &[(Scope::GenerationConfig, "maxOutputTokens")],
};
const CONVERSE: CapField = within(Scope::InferenceConfig, "inferenceConfig", "maxTokens");
const NOVA: CapField = CapField { aliases: &[(Scope::InferenceConfig, "max_new_tokens")], ..CONVERSE };
const OLLAMA: CapField = within(Scope::Options, "options", "num_predict");
const HUGGING_FACE: CapField = within(Scope::Parameters, "parameters", "max_new_tokens");
const SGLANG: CapField = within(Scope::SamplingParams, "sampling_params", "max_new_tokens");
const VERTEX: CapField = within(Scope::Parameters, "parameters", "maxOutputTokens");
const TITAN: CapField = within(Scope::TextGenerationConfig, "textGenerationConfig", "maxTokenCount");

const fn root(name: &'static str, aliases: &'static [MemberName]) -> CapField {
    CapField { container: None, name, aliases }
}

const fn within(scope: Scope, container: &'static str, name: &'static str) -> CapField {
    CapField { container: Some((scope, container)), name, aliases: &[] }
}

/// The caps that the API of that path takes, and the model there.
pub(super) fn caps(path: &[u8], model: &str, document: &Document) -> Caps {
    let path = &*classify::plain(path);
    if ends_with(path, b"/chat/completions") && reasons(model) {
        return Caps::of(&[REASONING]);
    }
    if is_plain_by_model(path) {
        return of_bedrock(model, document);
    }
    // Every ending has four bytes and more, and their comparison is a single one.
    let end: Option<&[u8; 4]> = path.strip_suffix(b"/").unwrap_or(path).last_chunk();
    let is_end = |ending: &[u8]| ending.last_chunk() == end && ends_with(path, ending);
    let found = BY_ENDING.iter().find(|(ending, _)| is_end(ending)).map(|(_, caps)| *caps);
    found.unwrap_or(Caps { fields: &[CHAT], others: OtherCaps::Lower })
}

/// Whether the model decides which cap an API takes: Bedrock's InvokeModel.
pub(super) fn is_by_model(path: &[u8]) -> bool {
    is_plain_by_model(&classify::plain(path))
}

fn is_plain_by_model(path: &[u8]) -> bool {
    ends_with(path, b"/invoke") || ends_with(path, b"/invoke-with-response-stream")
}

/// InvokeModel takes each model's own body. Bedrock refuses members that a model does not know, so that a name that says
/// nothing of the model (an application's inference profile) costs a request, and no tokens.
fn of_bedrock(model: &str, document: &Document) -> Caps {
    match () {
        () if model.contains("amazon.titan") => Caps::of(&[TITAN]),
        () if model.contains("amazon.nova") => Caps::of(&[NOVA]),
        () if model.contains("meta.llama") => Caps::of(&[LLAMA]),
        () if model.contains("anthropic.claude") && document.has.prompt && !document.has.messages => {
            Caps::of(&[SAMPLE])
        }
        () if model.contains("ai21.j2") => Caps::of(&[const { root("maxTokens", &[]) }]),
        () if model.contains("openai.gpt") => Caps::of(&[CHAT]),
        () => Caps::of(&[MAX_TOKENS]),
    }
}

/// OpenAI's reasoning models refuse `max_tokens`; older compatible servers accept nothing else.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    let o_series = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
    o_series || name.starts_with("gpt-5")
}

/// Whether the API of that path knows `stream_options`, however the path is spelt.
pub(super) fn has_stream_options(path: &[u8]) -> bool {
    let path = classify::plain(path);
    ends_with(&path, b"/chat/completions") || ends_with(&path, b"/completions")
}

/// Families of Mistral's own models, under the names that its own API and Azure give them.
const MISTRALS_MODELS: [&str; 10] = [
    "mistral-",
    "ministral-",
    "codestral-",
    "pixtral-",
    "magistral-",
    "devstral-",
    "voxtral-",
    "open-mistral-",
    "open-mixtral-",
    "open-codestral-",
];

/// Whether path or model are those of Mistral's own API. Others that serve its models name them with a prefix or a size.
pub(super) fn is_mistrals(path: &[u8], model: &str) -> bool {
    let path = classify::plain(path);
    let own_path = ends_with(&path, b"/fim/completions") || ends_with(&path, b"/agents/completions");
    let model = model.to_ascii_lowercase();
    let of_family = MISTRALS_MODELS.iter().any(|family| model.starts_with(family));
    let (_, version) = model.rsplit_once('-').unwrap_or_default();
    let is_version = version == "latest" || (version.len() == 4 && version.bytes().all(|digit| digit.is_ascii_digit()));
    own_path || (of_family && is_version)
}

fn ends_with(path: &[u8], ending: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let start = path.len().checked_sub(ending.len());
    start.and_then(|start| path.get(start..)).is_some_and(|found| is_name(found, ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistrals_own_api_is_known_by_path_and_by_its_models_names() {
        let chat = &b"/v1/chat/completions"[..];
        for model in ["mistral-large-latest", "codestral-2508", "Mistral-small-2503", "open-mistral-nemo-2407"] {
            assert!(is_mistrals(chat, model), "{model}");
        }
        for model in ["gpt-4o", "mistralai/mistral-large-latest", "mistral-7b-instruct", "mistral-saba-24b", "mistral"]
        {
            assert!(!is_mistrals(chat, model), "{model}");
        }
        assert!(is_mistrals(b"/v1/fim/completions", "x"));
    }

    #[test]
    fn another_spelling_of_a_path_is_asked_for_its_usage_too() {
        for path in ["/v1/chat/completions", "/v1/Chat/complet%69ons/", "/v1/chat/completions;x=1", "/v1/completions"] {
            assert!(has_stream_options(path.as_bytes()), "{path}");
        }
        assert!(!has_stream_options(b"/v1/messages"));
    }

    #[test]
    fn the_cap_is_put_in_under_the_apis_own_name() {
        let cases = [
            ("/v1/chat/completions", "gpt-4o", "max_tokens"),
            ("/v1/chat/completions", "o3-mini", "max_completion_tokens"),
            ("/v1/chat/completions", "openai/gpt-5-nano", "max_completion_tokens"),
            ("/v1/responses", "gpt-5", "max_output_tokens"),
            ("/v1/messages", "claude", "max_tokens"),
            ("/v1beta/models/g:streamGenerateContent", "g", "maxOutputTokens"),
            ("/v1beta/interactions", "g", "max_output_tokens"),
            ("/model/m/converse", "m", "maxTokens"),
            ("/model/m/invoke", "us.meta.llama3-70b", "max_gen_len"),
            ("/model/m/invoke", "arn:aws:bedrock:x:1:application-inference-profile/abc", "max_tokens"),
            ("/v1/threads/t/runs", "gpt-4o", "max_completion_tokens"),
            ("/api/chat/", "llama", "num_predict"),
            ("/v1beta/models/g:generateC%6Fntent", "g", "maxOutputTokens"),
            ("/v1/Respons%65s;x", "gpt-5", "max_output_tokens"),
            ("/generate", "", "max_new_tokens"),
            ("/v1/generate", "command", "max_tokens"),
        ];
        for (path, model, name) in cases {
            let caps = caps(path.as_bytes(), model, &Document::default());
            assert_eq!((caps.fields[0].name, caps.others), (name, OtherCaps::Remove), "{path} {model}");
        }
        let is_long_and_lower = |ending: &[u8]| ending.len() >= 4 && !ending.iter().any(u8::is_ascii_uppercase);
        assert!(BY_ENDING.iter().all(|(ending, _)| is_long_and_lower(ending)));
        assert_eq!(caps(b"/ask", "m", &Document::default()).others, OtherCaps::Lower);
    }
}
