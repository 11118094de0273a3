//! How the APIs differ in what weir puts into a body.
use crate::body::edit::CapField;
use crate::body::members::Scope;

/// Path endings and the API's name for the output cap. The first match counts.
const CAP_FIELDS: [(&[u8], CapField); 11] = [
    (b"/responses", root("max_output_tokens")),
    (b":generatecontent", GEMINI),
    (b":streamgeneratecontent", GEMINI),
    (b"/converse", CONVERSE),
    (b"/converse-stream", CONVERSE),
    (b"/api/chat", OLLAMA),
    (b"/api/generate", OLLAMA),
    (b"/generate", HUGGING_FACE),
    (b"/chat/completions", root("max_tokens")),
    (b"/completions", root("max_tokens")),
    (b"/messages", root("max_tokens")),
];

const GEMINI: CapField = within(Scope::GenerationConfig, "generationConfig", "maxOutputTokens");
const CONVERSE: CapField = within(Scope::InferenceConfig, "inferenceConfig", "maxTokens");
const OLLAMA: CapField = within(Scope::Options, "options", "num_predict");
const HUGGING_FACE: CapField = within(Scope::Parameters, "parameters", "max_new_tokens");
const TITAN: CapField = within(Scope::TextGenerationConfig, "textGenerationConfig", "maxTokenCount");

const fn root(name: &'static str) -> CapField {
    CapField { container: None, name }
}

const fn within(scope: Scope, container: &'static str, name: &'static str) -> CapField {
    CapField { container: Some((scope, container)), name }
}

/// The name that the API of that path gives to the output cap, for that model.
pub(super) fn cap_field(path: &[u8], model: &str) -> CapField {
    if ends_with(path, b"/chat/completions") && reasons(model) {
        return root("max_completion_tokens");
    }
    if ends_with(path, b"/invoke") || ends_with(path, b"/invoke-with-response-stream") {
        return match () {
            () if model.contains("amazon.titan") => TITAN,
            () if model.contains("amazon.nova") => CONVERSE,
            () if model.contains("meta.llama") => root("max_gen_len"),
            () => root("max_tokens"),
        };
    }
    CAP_FIELDS.iter().find(|(ending, _)| ends_with(path, ending)).map_or(root("max_tokens"), |(_, field)| *field)
}

/// OpenAI's reasoning models refuse `max_tokens`; older compatible servers accept nothing else.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    let o_series = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
    o_series || name.starts_with("gpt-5")
}

/// Whether the API of that path knows `stream_options`.
pub(super) fn has_stream_options(path: &[u8]) -> bool {
    ends_with(path, b"/chat/completions") || ends_with(path, b"/completions")
}

fn ends_with(path: &[u8], ending: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let start = path.len().checked_sub(ending.len());
    start.and_then(|start| path.get(start..)).is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_put_in_under_the_apis_own_name() {
        let cases = [
            ("/v1/chat/completions", "gpt-4o", "max_tokens"),
            ("/v1/chat/completions", "o3-mini", "max_completion_tokens"),
            ("/v1/chat/completions", "openai/gpt-5-nano", "max_completion_tokens"),
            ("/v1/responses", "gpt-5", "max_output_tokens"),
            ("/v1/messages", "claude", "max_tokens"),
            ("/v1beta/models/g:streamGenerateContent", "g", "maxOutputTokens"),
            ("/model/m/converse", "m", "maxTokens"),
            ("/model/m/invoke", "us.meta.llama3-70b", "max_gen_len"),
            ("/api/chat/", "llama", "num_predict"),
        ];
        for (path, model, name) in cases {
            assert_eq!(cap_field(path.as_bytes(), model).name, name, "{path} {model}");
        }
    }
}
