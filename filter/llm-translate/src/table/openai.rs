//! Chat Completions to Messages.
use super::{Field, Section, carried, changed, dropped, unfit};

const SAMPLING: &str = "left out for a model whose sampling cannot be set";
const NOT_SAID: &str = "Messages has nothing that means the same";
const CACHING: &str = "it is about the price of the prompt at one provider, and changes no answer";
const AN_OUTPUT: &str = "part of an answer that the client sends back; it says nothing to the model";
const NAMES: &str = "Messages has no names of participants";

pub(crate) static REQUEST: Section = Section {
    name: "request",
    fields: &[
        changed("model", "the target's name for its model"),
        changed("messages", "see below; `system` and `developer` messages become `system`, in their order"),
        changed("max_completion_tokens", "`max_tokens`, at most what the model writes; absent: that"),
        changed("max_tokens", "`max_tokens`, if `max_completion_tokens` is absent"),
        carried("stream"),
        changed("stream_options", "kept for the answer: whether usage comes with it"),
        changed("temperature", SAMPLING).except("above 1, which Messages does not know"),
        changed("top_p", SAMPLING),
        changed("stop", "`stop_sequences`").except("a sequence of white space, which Messages refuses"),
        changed("tools", "see below"),
        changed("tool_choice", "`auto`, `none`; `required` is `any`; a function is `tool`")
            .except("`allowed_tools` and custom tools"),
        changed("parallel_tool_calls", "`tool_choice.disable_parallel_tool_use`"),
        changed("response_format", "see below"),
        changed(
            "reasoning_effort",
            "`output_config.effort`, or a budget of `thinking`; left out for a model that does not think",
        ),
        changed("user", "`metadata.user_id`, if `safety_identifier` is absent"),
        changed("safety_identifier", "`metadata.user_id`"),
        dropped("n", "one answer is what Messages gives").of(&["1"], "Messages gives one answer"),
        dropped("seed", "OpenAI promises no more than an attempt to repeat an answer"),
        dropped("metadata", "labels for OpenAI's own records"),
        dropped("store", "it says to store nothing").of(&["false"], "the answer could not be fetched again"),
        dropped("service_tier", "it is about price and speed, and changes no answer"),
        dropped("prediction", "it only makes an answer come faster"),
        dropped("prompt_cache_key", CACHING),
        dropped("prompt_cache_options", CACHING),
        dropped("prompt_cache_retention", CACHING),
        dropped("logprobs", "it asks for none").of(&["false"], "Messages tells no probabilities"),
        dropped("top_logprobs", "it asks for none").of(&["0"], "Messages tells no probabilities"),
        dropped("logit_bias", "it is empty").of(&["{}"], NOT_SAID),
        dropped("frequency_penalty", "zero does nothing").of(&["0"], NOT_SAID),
        dropped("presence_penalty", "zero does nothing").of(&["0"], NOT_SAID),
        dropped("verbosity", "it is the default").of(&["\"medium\""], NOT_SAID),
        dropped("modalities", "text is what Messages gives").of(&["[\"text\"]"], "Messages gives text only"),
        unfit("audio", "Messages gives text only"),
        unfit("moderation", NOT_SAID),
        unfit("web_search_options", "the search would be OpenAI's"),
        unfit("functions", "deprecated: only `tools` are translated"),
        unfit("function_call", "deprecated: only `tool_choice` is translated"),
    ],
};

pub(crate) static STREAM_OPTIONS: Section = Section {
    name: "stream_options",
    fields: &[
        changed("include_usage", "kept for the answer, whose last chunk then has the usage"),
        dropped("include_obfuscation", "it pads the chunks, and a translated stream has no padding"),
    ],
};

pub(crate) static SYSTEM: Section = Section {
    name: "messages[system, developer]",
    fields: &[
        changed("role", "it moves to `system`, in front of all turns"),
        changed("content", "text blocks"),
        unfit("name", NAMES),
    ],
};

pub(crate) static USER: Section = Section {
    name: "messages[user]",
    fields: &[
        changed("role", "neighbours of one role become one turn"),
        changed("content", "blocks; text of nothing but white space is left out, which Messages refuses"),
        unfit("name", NAMES),
    ],
};

pub(crate) static ASSISTANT: Section = Section {
    name: "messages[assistant]",
    fields: &[
        changed("role", "neighbours of one role become one turn")
            .except("the last message, which Messages would continue, and the first"),
        changed("content", "blocks; text of nothing but white space is left out, which Messages refuses"),
        changed("refusal", "a text block"),
        changed("tool_calls", "`tool_use` blocks"),
        dropped("annotations", AN_OUTPUT),
        dropped("reasoning_content", AN_OUTPUT),
        dropped("reasoning", AN_OUTPUT),
        unfit("audio", "Messages has no audio"),
        unfit("function_call", "deprecated: only `tool_calls` are translated"),
        unfit("name", NAMES),
    ],
};

pub(crate) static TOOL_MESSAGE: Section = Section {
    name: "messages[tool]",
    fields: &[
        changed("role", "a `tool_result` block of the user's turn, before its other blocks"),
        changed("content", "the block's `content`"),
        changed("tool_call_id", "`tool_use_id`; an id of other characters or of more than 40 gets another"),
        dropped("name", "the call's id says which tool it was"),
    ],
};

const BREAKPOINT: Field = dropped("prompt_cache_breakpoint", CACHING);

pub(crate) static TEXT: Section =
    Section { name: "content[text]", fields: &[carried("type"), carried("text"), BREAKPOINT] };

pub(crate) static REFUSAL: Section =
    Section { name: "content[refusal]", fields: &[changed("type", "`text`"), changed("refusal", "`text`")] };

pub(crate) static IMAGE: Section = Section {
    name: "content[image_url]",
    fields: &[changed("type", "`image`"), changed("image_url", "`source`"), BREAKPOINT],
};

pub(crate) static IMAGE_URL: Section = Section {
    name: "content[image_url].image_url",
    fields: &[
        changed("url", "a `base64` or a `url` source").except("data that is no JPEG, PNG, GIF or WebP in base64"),
        dropped("detail", "Messages takes a picture in the one resolution that it knows"),
    ],
};

pub(crate) static FILE: Section = Section {
    name: "content[file]",
    fields: &[changed("type", "`document`"), changed("file", "`source`"), BREAKPOINT],
};

pub(crate) static FILE_FILE: Section = Section {
    name: "content[file].file",
    fields: &[
        changed("file_data", "a `base64` source").except("data that is no PDF in base64"),
        changed("filename", "`title`"),
        unfit("file_id", "the file is OpenAI's"),
    ],
};

pub(crate) static TOOL_CALL: Section = Section {
    name: "tool_calls[]",
    fields: &[
        changed("id", "an id of other characters or of more than 40 gets another"),
        dropped("type", "calls of functions are all that Messages has")
            .of(&["\"function\""], "Messages knows no custom tools"),
        changed("function", "`name` and `input`"),
        unfit("custom", "Messages knows no custom tools"),
        dropped("index", AN_OUTPUT),
    ],
};

pub(crate) static TOOL_CALL_FUNCTION: Section = Section {
    name: "tool_calls[].function",
    fields: &[carried("name"), changed("arguments", "`input`; none is `{}`").except("text that is no JSON object")],
};

pub(crate) static TOOL: Section = Section {
    name: "tools[]",
    fields: &[
        dropped("type", "functions are all that Messages has").of(&["\"function\""], "Messages knows no custom tools"),
        changed("function", "the tool itself"),
        unfit("custom", "Messages knows no custom tools"),
    ],
};

pub(crate) static TOOL_FUNCTION: Section = Section {
    name: "tools[].function",
    fields: &[
        carried("name"),
        carried("description"),
        changed("parameters", "`input_schema`; none is a schema of no properties"),
        carried("strict"),
    ],
};

pub(crate) static TOOL_CHOICE: Section = Section {
    name: "tool_choice",
    fields: &[
        dropped("type", "functions are all that Messages has")
            .of(&["\"function\""], "Messages cannot choose among some tools"),
        changed("function", "`name`"),
        unfit("allowed_tools", "Messages cannot choose among some tools"),
        unfit("custom", "Messages knows no custom tools"),
    ],
};

pub(crate) static RESPONSE_FORMAT: Section = Section {
    name: "response_format",
    fields: &[
        changed("type", "`json_schema` is `output_config.format`; `json_object` is a tool that must be called, whose input becomes the answer's text; `text` is left out")
            .except("`json_object` beside tools or with thinking"),
        changed("json_schema", "`output_config.format`"),
    ],
};

pub(crate) static JSON_SCHEMA: Section = Section {
    name: "response_format.json_schema",
    fields: &[
        changed("schema", "`output_config.format.schema`"),
        dropped("name", "Messages has one schema and no name for it"),
        changed("strict", "left out: Messages keeps to every schema")
            .of(&["true"], "Messages takes strict schemas only"),
        unfit("description", "Messages has no place for it"),
    ],
};

pub(crate) const SECTIONS: &[&Section] = &[
    &REQUEST,
    &STREAM_OPTIONS,
    &SYSTEM,
    &USER,
    &ASSISTANT,
    &TOOL_MESSAGE,
    &TEXT,
    &REFUSAL,
    &IMAGE,
    &IMAGE_URL,
    &FILE,
    &FILE_FILE,
    &TOOL_CALL,
    &TOOL_CALL_FUNCTION,
    &TOOL,
    &TOOL_FUNCTION,
    &TOOL_CHOICE,
    &RESPONSE_FORMAT,
    &JSON_SCHEMA,
];
