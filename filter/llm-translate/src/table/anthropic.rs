//! Messages to Chat Completions.
use super::{Field, Section, carried, changed, dropped, unfit};

const CACHING: Field = dropped("cache_control", "OpenAI and the servers like it cache prompts by themselves");
const NOT_SAID: &str = "Chat Completions has nothing that means the same";
const SERVER_TOOLS: &str = "the tool runs at Anthropic";
const FILES: &str = "the file is Anthropic's";
const CITATIONS: &str = "Chat Completions cites no documents";
const THOUGHTS: &str = "only the model that thought can read it";

pub(crate) static REQUEST: Section = Section {
    name: "request",
    fields: &[
        changed("model", "the target's name for its model"),
        changed("messages", "see below"),
        changed("system", "the first message, of the role `system`"),
        changed(
            "max_tokens",
            "`max_completion_tokens` (`max_tokens` for Mistral and Ollama), at most what the model writes",
        )
        .except("0"),
        carried("stream"),
        changed("stop_sequences", "`stop`").except("more than 4 for OpenAI"),
        changed("temperature", "left out for a model whose sampling cannot be set"),
        changed("top_p", "left out for a model whose sampling cannot be set"),
        changed("top_k", "carried for vLLM").except("for all other servers"),
        changed("tools", "see below"),
        changed("tool_choice", "see below"),
        changed(
            "thinking",
            "`reasoning_effort`: a budget up to 2,048 is `low`, up to 8,192 `medium`, else `high`; `disabled` is `none`; otherwise the model decides",
        ),
        changed("output_config", "see below"),
        changed("metadata", "see below"),
        dropped("service_tier", "it is about price and speed, and changes no answer"),
        dropped("speed", "it is about price and speed, and changes no answer"),
        dropped("diagnostics", "it asks Anthropic about its cache"),
        CACHING,
        unfit("container", SERVER_TOOLS),
        unfit("inference_geo", "another provider cannot promise where it computes"),
        unfit("mcp_servers", SERVER_TOOLS),
        unfit("context_management", "Anthropic would edit the conversation"),
    ],
};

pub(crate) static SYSTEM_MESSAGE: Section =
    Section { name: "messages[system]", fields: &[carried("role"), changed("content", "text")] };

pub(crate) static USER: Section = Section {
    name: "messages[user]",
    fields: &[
        carried("role"),
        changed("content", "`tool_result` blocks become `tool` messages in front; the other blocks are parts"),
    ],
};

pub(crate) static ASSISTANT: Section = Section {
    name: "messages[assistant]",
    fields: &[
        carried("role").except("the last message, whose beginning no Chat Completions model continues"),
        changed("content", "texts are `content`, `tool_use` blocks are `tool_calls`"),
    ],
};

pub(crate) static TEXT: Section = Section {
    name: "content[text]",
    fields: &[
        carried("type"),
        carried("text"),
        CACHING,
        dropped("citations", "they belong to an answer that the client sends back"),
    ],
};

pub(crate) static THINKING: Section = Section {
    name: "content[thinking]",
    fields: &[changed("type", "the block is left out"), dropped("thinking", THOUGHTS), dropped("signature", THOUGHTS)],
};

pub(crate) static REDACTED_THINKING: Section = Section {
    name: "content[redacted_thinking]",
    fields: &[changed("type", "the block is left out"), dropped("data", THOUGHTS)],
};

pub(crate) static IMAGE: Section = Section {
    name: "content[image]",
    fields: &[
        changed("type", "`image_url`"),
        changed("source", "`image_url.url`; data becomes a data URL").except("a file, and a URL for Ollama"),
        dropped("transformations", "other providers fit large pictures by themselves")
            .of(&["{}", "{\"oversized_image\":\"downsize\"}"], "no other provider promises to refuse a large picture"),
        CACHING,
    ],
};

pub(crate) static DOCUMENT: Section = Section {
    name: "content[document]",
    fields: &[
        changed("type", "`file` for a PDF, `text` for text"),
        changed("source", "`file.file_data`, or the text")
            .except("a URL or a file; a PDF for vLLM, Mistral and Ollama"),
        changed("title", "`file.filename`; the first line of a text"),
        changed("context", "a text in front"),
        dropped("citations", "they are not wanted").of(&["{}", "{\"enabled\":false}"], CITATIONS),
        CACHING,
    ],
};

pub(crate) static SOURCE: Section = Section {
    name: "source",
    fields: &[
        changed("type", "see `image` and `document`"),
        carried("data"),
        changed("media_type", "part of the data URL"),
        carried("url"),
        changed("content", "text").except("blocks other than text"),
        unfit("file_id", FILES),
    ],
};

pub(crate) static TOOL_USE: Section = Section {
    name: "content[tool_use]",
    fields: &[
        changed("type", "`function`"),
        changed("id", "another for Mistral, and for more than 40 characters"),
        carried("name"),
        changed("input", "`function.arguments`, the same JSON as text"),
        dropped("caller", "a call that the model made itself")
            .of(&["{\"type\":\"direct\"}"], "code at Anthropic made the call"),
        CACHING,
        unfit("toolset_name", SERVER_TOOLS),
    ],
};

pub(crate) static TOOL_RESULT: Section = Section {
    name: "content[tool_result]",
    fields: &[
        changed("type", "a message of the role `tool`"),
        changed("tool_use_id", "`tool_call_id`"),
        changed("content", "text; pictures follow in the user's message").except("blocks other than text and pictures"),
        changed("is_error", "the text begins with `Error: `"),
        CACHING,
        unfit("toolset_name", SERVER_TOOLS),
    ],
};

pub(crate) static TOOL: Section = Section {
    name: "tools[]",
    fields: &[
        dropped("type", "functions are all that Chat Completions has").of(&["\"custom\""], SERVER_TOOLS),
        carried("name"),
        carried("description"),
        changed("input_schema", "`parameters`"),
        carried("strict"),
        CACHING,
        dropped("eager_input_streaming", "it is about the pieces in which arguments come"),
        dropped("allowed_callers", "the model calls it itself")
            .of(&["[\"direct\"]"], "code at Anthropic would call it"),
        dropped("defer_loading", "it is not deferred").of(&["false"], "Chat Completions cannot defer tools"),
        dropped("input_examples", "there are none").of(&["[]"], "Chat Completions has no place for them"),
    ],
};

pub(crate) static TOOL_CHOICE: Section = Section {
    name: "tool_choice",
    fields: &[
        changed("type", "`auto`, `none`; `any` is `required`; `tool` is a function")
            .except("`any` and `tool` for Ollama, which ignores them"),
        changed("name", "`function.name`"),
        changed("disable_parallel_tool_use", "`parallel_tool_calls`"),
    ],
};

pub(crate) static THINKING_CONFIG: Section = Section {
    name: "thinking",
    fields: &[
        changed("type", "see `thinking` of the request"),
        changed("budget_tokens", "see `thinking` of the request"),
        dropped("display", "it is about how thoughts are shown"),
    ],
};

pub(crate) static OUTPUT_CONFIG: Section = Section {
    name: "output_config",
    fields: &[
        changed("effort", "`reasoning_effort`; left out for a model that does not think"),
        changed("format", "`response_format`, a strict `json_schema`"),
    ],
};

pub(crate) static FORMAT: Section = Section {
    name: "output_config.format",
    fields: &[
        dropped("type", "it is the only one").of(&["\"json_schema\""], NOT_SAID),
        changed("schema", "`json_schema.schema`"),
    ],
};

pub(crate) static METADATA: Section = Section {
    name: "metadata",
    fields: &[changed(
        "user_id",
        "`user`, if it has up to 64 characters; a longer one, and one for Mistral, is left out: it names the user to the provider's own moderation",
    )],
};

pub(crate) const SECTIONS: &[&Section] = &[
    &REQUEST,
    &SYSTEM_MESSAGE,
    &USER,
    &ASSISTANT,
    &TEXT,
    &THINKING,
    &REDACTED_THINKING,
    &IMAGE,
    &DOCUMENT,
    &SOURCE,
    &TOOL_USE,
    &TOOL_RESULT,
    &TOOL,
    &TOOL_CHOICE,
    &THINKING_CONFIG,
    &OUTPUT_CONFIG,
    &FORMAT,
    &METADATA,
];
