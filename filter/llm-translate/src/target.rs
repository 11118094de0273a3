//! Dialects, and the servers that speak them.

/// A way to speak with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// [Chat Completions](https://platform.openai.com/docs/api-reference/chat).
    OpenAi,
    /// [Messages](https://docs.anthropic.com/en/api/messages).
    Anthropic,
}

/// Who serves. Servers of one dialect differ in which fields they refuse or ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// OpenAI, and OpenAI's models at Azure.
    OpenAi,
    /// Anthropic, and its Messages at Bedrock and Vertex AI.
    Anthropic,
    /// vLLM: ignores members that it does not know.
    Vllm,
    /// Mistral: refuses members that it does not know.
    Mistral,
    /// Ollama's OpenAI endpoint: ignores members that it does not know, and some that it ought to.
    Ollama,
}

impl Server {
    /// The dialect that it speaks.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        if self == Server::Anthropic { Dialect::Anthropic } else { Dialect::OpenAi }
    }
}

/// How a model is told to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thinking {
    /// It does not think.
    Never,
    /// By a number of tokens: Anthropic's `thinking.budget_tokens`.
    Budget,
    /// By an effort: `reasoning_effort`, `output_config.effort`.
    Effort,
}

/// The model that a request is translated for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// Who serves it.
    pub server: Server,
    /// The model's name there.
    pub model: &'t str,
    /// The most tokens that it writes. A request translated from another dialect has no higher cap.
    pub output_tokens_max: u64,
    /// How it is told to think.
    pub thinking: Thinking,
    /// Whether `temperature`, `top_p` and the like may be set. Models that think refuse them more and more.
    pub samples: bool,
}
