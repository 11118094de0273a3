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
    /// Anthropic.
    Anthropic,
    /// Anthropic's models at Google's [Vertex AI](https://docs.anthropic.com/en/api/claude-on-vertex-ai): the path names the model.
    VertexAnthropic,
    /// Anthropic's models at [Bedrock](https://docs.anthropic.com/en/api/claude-on-amazon-bedrock) (`InvokeModel`): the path names the
    /// model, and says whether the answer is a stream, which comes in frames of AWS and is not translated.
    BedrockAnthropic,
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
        match self {
            Server::Anthropic | Server::VertexAnthropic | Server::BedrockAnthropic => Dialect::Anthropic,
            Server::OpenAi | Server::Vllm | Server::Mistral | Server::Ollama => Dialect::OpenAi,
        }
    }

    /// Whether it is a cloud that serves models of others, and says by itself what goes wrong before a model is asked.
    #[must_use]
    pub fn is_cloud(self) -> bool {
        self.version_in_body().is_some()
    }

    /// The version of Messages that a body names where the path names the model; None where the body does.
    pub(crate) fn version_in_body(self) -> Option<&'static str> {
        match self {
            Server::VertexAnthropic => Some("vertex-2023-10-16"),
            Server::BedrockAnthropic => Some("bedrock-2023-05-31"),
            _ => None,
        }
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
