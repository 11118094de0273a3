//! Messages to Anthropic's models at clouds: only what one takes otherwise, ignores or refuses is listed, and every other field is
//! carried. The section [`HEADER`] is about names in the header `anthropic-beta`: each cloud has a list of its own and refuses a request
//! with any other ([Bedrock's](https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html)).
use super::{Field, Section, carried, changed, dropped};
use crate::target::Server;

/// The name of the sections about `anthropic-beta`.
pub(crate) const HEADER: &str = "anthropic-beta";

const MODEL: Field = dropped("model", "the path names it");
const VERSION: Field = dropped("anthropic_version", "the body names the cloud's own");
const SOURCES: &str =
    "a picture or document at a URL or in Anthropic's store of files, also in Chat Completions: the cloud takes base64";

const IN_BODY: &str = "one of `anthropic_beta` in the body";
const GENERAL: &str = "all models have it by now";
const WHO: &str = "it names the client's program";
const FINE: &str = "it is about how soon a tool's input streams, and changes no answer";

pub(crate) static VERTEX: Section =
    Section { name: "request", fields: &[MODEL, VERSION, carried("messages").except(SOURCES)] };

pub(crate) static BEDROCK: Section = Section {
    name: "request",
    fields: &[
        MODEL,
        VERSION,
        dropped("stream", "the path says it").of(&["false"], "Bedrock streams in frames of AWS"),
        carried("messages").except(SOURCES),
    ],
};

pub(crate) static VERTEX_BETAS: Section = Section {
    name: HEADER,
    fields: &[
        carried("compact-2026-01-12"),
        carried("computer-use-2025-01-24"),
        carried("computer-use-2025-11-24"),
        carried("context-1m-2025-08-07"),
        carried("context-management-2025-06-27"),
        carried("interleaved-thinking-2025-05-14"),
        carried("tool-search-tool-2025-10-19"),
        carried("web-search-2025-03-05"),
        dropped("claude-code-20250219", WHO),
        dropped("fine-grained-tool-streaming-2025-05-14", FINE),
        dropped("pdfs-2024-09-25", GENERAL),
        dropped("prompt-caching-2024-07-31", GENERAL),
    ],
};

pub(crate) static BEDROCK_BETAS: Section = Section {
    name: HEADER,
    fields: &[
        changed("compact-2026-01-12", IN_BODY),
        changed("computer-use-2024-10-22", IN_BODY),
        changed("computer-use-2025-01-24", IN_BODY),
        changed("computer-use-2025-11-24", IN_BODY),
        changed("context-1m-2025-08-07", IN_BODY),
        changed("context-management-2025-06-27", IN_BODY),
        changed("dev-full-thinking-2025-05-14", IN_BODY),
        changed("effort-2025-11-24", IN_BODY),
        changed("interleaved-thinking-2025-05-14", IN_BODY),
        changed("output-128k-2025-02-19", IN_BODY),
        changed("token-efficient-tools-2025-02-19", IN_BODY),
        changed("tool-examples-2025-10-29", IN_BODY),
        changed("tool-search-tool-2025-10-19", IN_BODY),
        dropped("claude-code-20250219", WHO),
        dropped("fine-grained-tool-streaming-2025-05-14", FINE),
        dropped("pdfs-2024-09-25", GENERAL),
        dropped("prompt-caching-2024-07-31", GENERAL),
    ],
};

pub(super) const VERTEX_SECTIONS: &[&Section] = &[&VERTEX, &VERTEX_BETAS];
pub(super) const BEDROCK_SECTIONS: &[&Section] = &[&BEDROCK, &BEDROCK_BETAS];

/// Which names in `anthropic-beta` a server knows; None where it reads the header itself.
pub(crate) fn betas_of(server: Server) -> Option<&'static Section> {
    match server {
        Server::VertexAnthropic => Some(&VERTEX_BETAS),
        Server::BedrockAnthropic => Some(&BEDROCK_BETAS),
        Server::OpenAi | Server::Anthropic | Server::Vllm | Server::Mistral | Server::Ollama => None,
    }
}
